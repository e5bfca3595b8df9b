// What is said of pools that run out and of uplinks that speak under no address.
import { expect, test } from 'vitest'
import { poolFindings, uplinkFindings } from './masquerade.ts'

const pool = {
  ...{ address: '192.0.2.1', to: '198.51.100.1', port: 443, protocol: 'tcp' },
  ...{ capacity: 100, failed: 0 },
}

test('a pool is named from four fifths on, and is an error once somebody got no port', () => {
  expect(poolFindings({ pools: [{ ...pool, used: 80 }] })).toEqual([])
  expect(poolFindings({ pools: [{ ...pool, used: 81 }] })).toMatchObject([
    { level: 'warning', found: expect.stringContaining('81 of 100 ports of 192.0.2.1') },
  ])
  expect(poolFindings({ pools: [{ ...pool, used: 100, failed: 7 }] })).toMatchObject([
    { level: 'error', found: expect.stringContaining('7 new connections') },
  ])
})

test('an uplink without an address of a family that pods have is named, unless it is down', () => {
  const uplink = {
    name: 'eth1',
    index: 2,
    mtu: 1500,
    isUp: true,
    isL3: false,
    source4: '192.0.2.1',
  }
  const both = new Set([4, 6] as const)
  expect(uplinkFindings({ uplinks: [uplink] }, both)).toMatchObject([
    { level: 'warning', found: expect.stringContaining('eth1 has no IPv6 address') },
  ])
  expect(uplinkFindings({ uplinks: [uplink] }, new Set([4] as const))).toEqual([])
  expect(uplinkFindings({ uplinks: [{ ...uplink, isUp: false }] }, both)).toEqual([])
})
