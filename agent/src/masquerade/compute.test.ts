// Who is masqueraded towards whom.
import { expect, test } from 'vitest'
import { computeRuleSet } from './compute.ts'
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
const settings = { nodeName: 'a', clusterCIDRs: [], keepsTowardsNodes: false, tunnelPort: 8472 }

test('computeRuleSet() takes the own ranges as senders and all ranges as kept', () => {
  expect(computeRuleSet(nodes, settings)).toEqual({
    pods: ['10.244.1.0/24', 'fd00:1::/64'],
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
