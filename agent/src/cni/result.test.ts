// The shape of ADD's answer, member by member, as the CNI specification asks for it.
import { expect, test } from 'vitest'
import { computePod } from '../pods/compute.ts'
import { computeResult } from './result.ts'

const pod = computePod(
  {
    addresses: ['10.244.1.5', 'fd00:10:244:1::5'],
    endpointId: 7,
    incarnation: 3,
    hostDevice: 'sbabcdefghijklm',
    ifname: 'eth0',
  },
  1450,
)

test('computeResult() lists both ends, and points each address to the container end', () => {
  expect(computeResult(pod, '/var/run/netns/cni-1')).toEqual({
    interfaces: [
      { name: 'sbabcdefghijklm', mac: pod.hostMac, mtu: 1450 },
      { name: 'eth0', mac: pod.podMac, mtu: 1450, sandbox: '/var/run/netns/cni-1' },
    ],
    ips: [
      { address: '10.244.1.5/32', gateway: '169.254.1.1', interface: 1 },
      { address: 'fd00:10:244:1::5/128', gateway: 'fe80::1', interface: 1 },
    ],
    routes: [
      { dst: '0.0.0.0/0', gw: '169.254.1.1' },
      { dst: '::/0', gw: 'fe80::1' },
    ],
  })
})
