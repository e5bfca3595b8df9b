// Addresses as they are shown: by range and number, with their owners, and those that are kept from everybody.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Ipam } from '../ipam/ipam.ts'
import { silentLog } from '../runtime/log.ts'
import { FakeClock } from '../runtime/testing/fake-clock.ts'
import { describeAddresses } from './addresses.ts'

test('describeAddresses() is in the order of ranges and numbers, earlier ranges last', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sinabro-addresses-'))
  try {
    const open = () => Ipam.open({ dir, clock: new FakeClock(), log: silentLog })
    const before = await open()
    const request = (containerId: string, ...addresses: string[]) => ({
      key: { network: 'n', containerId, ifname: 'eth0' },
      netns: '/n',
      podName: `pod-${containerId}`,
      addresses,
    })
    before.setRanges(['10.9.0.0/24'])
    await before.allocate(request('old'))
    before.setRanges(['10.1.0.0/24', 'fd00:1::/64'])
    await before.allocate(request('ten', '10.1.0.10'))
    await before.allocate(request('nine', '10.1.0.9'))
    await before.allocate(request('hurt'))
    const folder = join(dir, 'allocations')
    const hurt = readdirSync(folder).find((name) => name.includes('10.1.0.2+')) ?? ''
    writeFileSync(join(folder, hurt), 'x')

    const ipam = await open()
    ipam.setRanges(['10.1.0.0/24', 'fd00:1::/64'])
    const view = describeAddresses({ ipam })
    expect(view.ranges).toEqual([
      { range: '10.1.0.0/24', nodeAddress: '10.1.0.1', used: 3, capacity: 253 },
      { range: 'fd00:1::/64', nodeAddress: 'fd00:1::1', used: 3, capacity: 65_534 },
    ])
    expect(view.addresses.map(({ address, pod }) => `${address} ${pod.name}`)).toEqual([
      '10.1.0.9 pod-nine',
      '10.1.0.10 pod-ten',
      'fd00:1::2 pod-ten',
      'fd00:1::3 pod-nine',
      '10.9.0.2 pod-old',
    ])
    expect(view.addresses.at(-1)).not.toHaveProperty('range')
    expect(view.keptOutOfUse).toMatchObject([{ addresses: ['10.1.0.2', 'fd00:1::4'] }])
  } finally {
    rmSync(dir, { recursive: true })
  }
})
