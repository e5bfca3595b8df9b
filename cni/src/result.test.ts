// Results between versions, and ours merged behind those of earlier plug-ins.
import { expect, test } from 'vitest'
import { formatResult, mergeResults, parseResult } from './result.ts'
import { versions } from './verbs.ts'

const whole = {
  interfaces: [
    { name: 'sb01', mac: '02:00:00:00:00:01', mtu: 1450 },
    { name: 'eth0', mac: '02:00:00:00:00:02', mtu: 1450, sandbox: '/run/netns/x' },
  ],
  ips: [
    { address: '10.244.1.5/32', gateway: '169.254.1.1', interface: 1 },
    { address: 'fd00::5/128', interface: 1 },
  ],
  routes: [{ dst: '::/0', gw: 'fe80::1', mtu: 1400, priority: 5 }],
  dns: { nameservers: ['10.96.0.10'] },
}

test.each(versions)(
  'a result survives being written in %s and read again, less what that version lacks',
  (version) => {
    const text = formatResult(whole, version)
    expect(JSON.parse(text).cniVersion).toBe(version)
    const bare = {
      ...whole,
      interfaces: whole.interfaces.map(({ mtu: _, ...rest }) => rest),
      routes: [{ dst: '::/0', gw: 'fe80::1' }],
    }
    expect(parseResult(JSON.parse(text), 'result')).toEqual(version >= '1.1.0' ? whole : bare)
  },
)

test.each(versions)('in %s an address names its family exactly up to 0.4.0', (version) => {
  const { ips } = JSON.parse(formatResult(whole, version))
  const families = ips.map((ip: { version?: string }) => ip.version)
  expect(families).toEqual(version <= '0.4.0' ? ['4', '6'] : [undefined, undefined])
})

test('parseResult() takes null for an empty list and for no index', () => {
  const ips = [{ address: '10.0.0.1/8', interface: null, version: '4' }]
  expect(parseResult({ interfaces: null, ips, routes: null, dns: null }, 'x')).toEqual({
    interfaces: [],
    ips: [{ address: '10.0.0.1/8' }],
    routes: [],
  })
})

test('mergeResults() shifts our indexes only, and the configured dns wins', () => {
  const previous = {
    interfaces: [{ name: 'lo' }],
    ips: [{ address: '::1/128', interface: 0 }],
    dns: { domain: 'a' },
  }
  const merged = mergeResults(previous, whole, { domain: 'b' })
  expect(merged.ips?.map((ip) => ip.interface)).toEqual([0, 2, 2])
  expect(merged.interfaces?.map(({ name }) => name)).toEqual(['lo', 'sb01', 'eth0'])
  expect(merged.dns).toEqual({ domain: 'b' })
  expect(mergeResults(previous, { ips: [] }, undefined).dns).toEqual({ domain: 'a' })
  expect(mergeResults(undefined, {}, undefined)).toEqual({
    interfaces: [],
    ips: [],
    routes: [],
    dns: {},
  })
})
