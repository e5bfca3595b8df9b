// Who is masqueraded towards whom.
import { expect, test } from 'vitest'
import { computeKeeps, computeRuleSet } from './compute.ts'
import { formatRuleSet } from './ruleset.ts'

const nodes = [
  {
    name: 'a',
    podCIDRs: ['10.244.1.0/24', 'fd00:1::/64'],
    internalIPs: ['192.0.2.1', '2001:db8::1'],
  },
  {
    name: 'b',
    podCIDRs: ['10.244.2.0/24', 'fd00:2::/64'],
    internalIPs: ['192.0.2.2', '2001:db8::2'],
  },
]
const settings = {
  nodeName: 'a',
  clusterCIDRs: [],
  nonMasqueradeCIDRs: [],
  serviceCIDRs: [],
  keepsTowardsNodes: false,
  tunnelPort: 8472,
}

test('computeRuleSet() takes the own ranges as senders and all ranges as kept', () => {
  expect(computeRuleSet(nodes, settings)).toEqual({
    pods: ['10.244.1.0/24', 'fd00:1::/64'],
    exempt: [],
    keep: ['10.244.1.0/24', '10.244.2.0/24', 'fd00:1::/64', 'fd00:2::/64'],
    tunnelPort: 8472,
  })
})

test('computeRuleSet() keeps pod addresses towards nodes in routed networks only', () => {
  const rules = computeRuleSet(nodes, { ...settings, keepsTowardsNodes: true })
  expect(rules?.keep).toContain('192.0.2.2/32')
  expect(rules?.keep).toContain('2001:db8::2/128')
})

test('computeRuleSet() adds the cluster ranges of the settings, once', () => {
  const clusterCIDRs = ['10.244.0.0/16', '10.244.1.0/24']
  expect(computeRuleSet(nodes, { ...settings, clusterCIDRs })?.keep).toEqual([
    '10.244.0.0/16',
    '10.244.1.0/24',
    '10.244.2.0/24',
    'fd00:1::/64',
    'fd00:2::/64',
  ])
})

test('computeRuleSet() is undefined while this node is unknown or has no range', () => {
  expect(computeRuleSet(nodes, { ...settings, nodeName: 'c' })).toBeUndefined()
  expect(computeRuleSet([{ name: 'a', podCIDRs: [], internalIPs: [] }], settings)).toBeUndefined()
})

test('formatRuleSet() guards the port of the tunnel, if there is one', () => {
  const { tunnelPort: _none, ...routed } = settings
  const withTunnel = computeRuleSet(nodes, settings)
  const without = computeRuleSet(nodes, routed)
  if (withTunnel === undefined || without === undefined) throw new TypeError('rules')
  expect(formatRuleSet('t', withTunnel).match(/udp dport 8472/g)).toHaveLength(4)
  expect(formatRuleSet('t', without)).not.toContain('udp dport')
})

test('formatRuleSet() takes ports below those of our programs, and leaves exempt pods alone', () => {
  const text = formatRuleSet('t', { pods: ['10.1.0.0/24'], exempt: ['10.1.0.7'], keep: [] })
  expect(text.match(/masquerade to :1024-29999 /g)).toHaveLength(2)
  expect(text).toContain(
    'set exempt4 { type ipv4_addr; flags interval; auto-merge; elements = { 10.1.0.7 }; }',
  )
})

test('computeKeeps() is what settings and Services say, whole addresses as prefixes', () => {
  const keeps = computeKeeps(nodes, ['10.96.0.10', 'fd96::a'], {
    ...settings,
    clusterCIDRs: ['10.244.0.0/16'],
    nonMasqueradeCIDRs: ['10.0.0.0/8'],
    serviceCIDRs: ['fd96::/112'],
  })
  expect(keeps.map(({ prefix }) => prefix)).toEqual([
    '10.0.0.0/8',
    '10.244.0.0/16',
    '10.96.0.10/32',
    'fd96::/112',
    'fd96::a/128',
  ])
})

test('computeKeeps() writes nothing into a pod range, whatever a Service or a setting claims there', () => {
  const clusterCIDRs = ['10.244.1.0/24', '10.244.2.128/25']
  expect(computeKeeps(nodes, ['10.244.2.5', 'fd00:2::5'], { ...settings, clusterCIDRs })).toEqual(
    [],
  )
})

test('computeKeeps() leaves IPv4 alone when IPv6 is kept as a whole', () => {
  const prefixes = computeKeeps([], [], { ...settings, nonMasqueradeCIDRs: ['::/0'] })
  expect(prefixes.map(({ prefix }) => prefix)).toEqual(['2000::/3', 'fc00::/7'])
})
