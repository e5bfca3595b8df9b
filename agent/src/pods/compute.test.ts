// The wiring derived from an allocation: names, MACs and the alias that we find devices by.
import { expect, test } from 'vitest'
import { computePod, formatAlias, pairMacs, parseAlias } from './compute.ts'
import type { PodIdentity } from './rows.ts'

const web: PodIdentity = {
  addresses: ['10.244.1.5', 'fd00:10:244:1::5'],
  endpointId: 7,
  incarnation: 3,
  hostDevice: 'sbabcdefghijklm',
  ifname: 'eth0',
  podNamespace: 'default',
  podName: 'web-0',
}

test('computePod() gives each family its host prefix and its link-local gateway', () => {
  expect(computePod(web, 1450)).toMatchObject({
    mtu: 1450,
    addresses: [
      { family: 4, address: '10.244.1.5', prefixLen: 32, gateway: '169.254.1.1' },
      { family: 6, address: 'fd00:10:244:1::5', prefixLen: 128, gateway: 'fe80::1' },
    ],
  })
})

test('computePod() of the same allocation is the same after a restart', () => {
  expect(computePod(structuredClone(web), 1450)).toEqual(computePod(web, 1450))
})

test('pairMacs() are unicast, locally administered, alike but for the first byte', () => {
  const { podMac, hostMac } = pairMacs('sbabcdefghijklm', 3)
  expect(podMac).toMatch(/^02(:[0-9a-f]{2}){5}$/)
  expect(hostMac).toBe(`06${podMac.slice(2)}`)
})

test('pairMacs() differ between devices and between incarnations', () => {
  const macs = [pairMacs('sba', 1), pairMacs('sbb', 1), pairMacs('sba', 2)].map((m) => m.podMac)
  expect(new Set(macs).size).toBe(3)
})

test('formatAlias() names the pod, and parseAlias() reads back what identifies it', () => {
  expect(formatAlias(web)).toBe('sinabro:pod/7/3/default/web-0/eth0')
  expect(parseAlias(formatAlias(web))).toEqual({ endpointId: 7, incarnation: 3 })
})

test('formatAlias() survives a caller without Kubernetes and with hostile names', () => {
  const bare = { ...web, podNamespace: undefined, podName: undefined }
  expect(formatAlias(bare)).toBe('sinabro:pod/7/3///eth0')
  expect(formatAlias({ ...web, podName: 'a\u001b[2J/b' })).toBe(
    'sinabro:pod/7/3/default/a??2J?b/eth0',
  )
  const long = formatAlias({ ...web, podName: 'x'.repeat(253) })
  expect(Buffer.byteLength(long)).toBe(255)
  expect(parseAlias(long)).toEqual({ endpointId: 7, incarnation: 3 })
})

test.each([undefined, '', 'sinabro:overlay', 'sinabro:pod/', 'sinabro:pod/x/1/', 'other:pod/1/1/'])(
  'parseAlias() takes %j for foreign',
  (alias) => expect(parseAlias(alias)).toBeUndefined(),
)

test('computePod() gives the pod the MAC that was asked for, and the host its own', () => {
  const { podMac, hostMac } = computePod({ ...web, mac: '02:00:0a:01:00:04' }, 1450)
  expect(podMac).toBe('02:00:0a:01:00:04')
  expect(hostMac).toBe(computePod(web, 1450).hostMac)
})
