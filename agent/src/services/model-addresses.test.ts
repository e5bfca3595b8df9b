// Which addresses from outside are refused, of both families and both kinds, as nodes and ranges come and go.
import { expect, test } from 'vitest'
import { AddressRules } from './model-addresses.ts'

const NODE = {
  internalIPs: ['192.0.2.1', '2001:db8::1', '198.51.100.1'],
  externalIPs: ['203.0.113.9', '2001:db8::9', '198.51.100.9', '2001:db8:51::9'],
  podCIDRs: ['198.51.100.128/26', '2001:db8:51:244::/64'],
}

function rules(): AddressRules {
  const allowed = ['198.51.100.0/24', '2001:db8:51::/48']
  const made = new AddressRules({ externalIPCIDRs: allowed, clusterCIDRs: ['10.200.0.0/16'] })
  made.setServiceRanges(['10.96.0.0/12', '198.51.100.192/26', '2001:db8:51:96::/112'])
  made.changeNode(undefined, NODE)
  return made
}

const BEYOND = 'it is outside of what --external-ip-cidrs allows'
const NODES = 'it is an address of a node'
const NOBODYS = 'it is no address that a host could have'

/** As load balancer address, and as external one where that differs. */
test.each<[address: string, balanced: string | undefined, external?: string]>([
  ['198.51.100.7', undefined],
  ['2001:db8:51::7', undefined],
  ['203.0.113.7', undefined, BEYOND],
  ['2001:db8::7', undefined, BEYOND],
  ['192.0.2.1', NODES, BEYOND],
  ['198.51.100.1', NODES],
  ['2001:db8::1', NODES, BEYOND],
  ['203.0.113.9', NODES, BEYOND],
  ['198.51.100.9', NODES],
  ['2001:db8:51::9', NODES],
  ['10.200.3.4', 'it is in the pod range 10.200.0.0/16', BEYOND],
  ['198.51.100.130', 'it is in the pod range 198.51.100.128/26'],
  ['2001:db8:51:244::5', 'it is in the pod range 2001:db8:51:244::/64'],
  ['198.51.100.200', 'it is in the service range 198.51.100.192/26'],
  ['2001:db8:51:96::5', 'it is in the service range 2001:db8:51:96::/112'],
  ['127.0.0.1', NOBODYS],
  ['224.0.0.1', NOBODYS],
  ['::1', NOBODYS],
  ['fe80::1', NOBODYS],
  ['ff02::1', NOBODYS],
  ['::ffff:203.0.113.7', NOBODYS],
])('%s: %s', (address, balanced, external = balanced) => {
  const refusal = (kind: 'LoadBalancer' | 'ExternalIP') =>
    rules().refusal({ kind, address, port: 80 })
  expect([refusal('LoadBalancer'), refusal('ExternalIP')]).toEqual([balanced, external])
})

test('changeNode() says for which ranges the answer may be another now', () => {
  const made = rules()
  const refused = (address: string) =>
    made.refusal({ kind: 'LoadBalancer', address, port: 80 }) !== undefined
  const { externalIPs, ...rest } = NODE
  const gone = ['203.0.113.9/32', '2001:db8::9/128', '198.51.100.9/32', '2001:db8:51::9/128']
  expect(made.changeNode(NODE, rest)).toEqual(gone)
  expect(externalIPs.map(refused)).toEqual([false, false, false, false])
  // Of one node both, as where nothing lies between it and the network outside.
  const both = { ...rest, externalIPs: ['192.0.2.1'] }
  expect(made.changeNode(rest, both)).toEqual([])
  expect(made.changeNode(both, { ...both, internalIPs: [] })).toEqual([
    '2001:db8::1/128',
    '198.51.100.1/32',
  ])
  expect(refused('192.0.2.1')).toBe(true)
})
