// Addresses and neighbours on a real kernel, and seen by iproute2 as we mean them.
import { describe, expect, test } from 'vitest'
import {
  inside,
  ipJson,
  skipReason,
  testNamespace,
  testNetlink,
  upVeth,
} from '../../testing/namespace.ts'

describe.skipIf(skipReason)('addresses', () => {
  test('of both families are there at once, as ip shows them', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const index = await upVeth(netlink)
    await netlink.addresses.replace({
      index,
      address: '10.1.0.1',
      prefixLen: 24,
      flags: ['noprefixroute'],
      label: 'veth0:a',
    })
    await netlink.addresses.replace({
      index,
      address: 'FD01::0:1',
      prefixLen: 64,
      flags: ['nodad', 'noprefixroute'],
      protocol: 91,
    })
    const list = await netlink.addresses.list({ index })
    expect(list).toMatchObject([
      { address: '10.1.0.1', prefixLen: 24, family: 4, scope: 'global', label: 'veth0:a' },
      { address: 'fd01::1', prefixLen: 64, family: 6, protocol: 91 },
    ])
    // Not tentative: usable without waiting for duplicate address detection.
    expect(list[1]?.flags).toEqual(['nodad', 'permanent', 'noprefixroute'])
    expect(ipJson(netns, 'addr', 'show', 'dev', 'veth0')).toMatchObject([
      {
        addr_info: [
          {
            local: '10.1.0.1',
            prefixlen: 24,
            noprefixroute: true,
            label: 'veth0:a',
            scope: 'global',
          },
          { local: 'fd01::1', prefixlen: 64, nodad: true, noprefixroute: true },
        ],
      },
    ])
    expect(await netlink.routes.list({ index, table: 254 })).toEqual([])
  })

  test('replace() changes flags and lifetimes of the one that is there', async () => {
    const netlink = testNetlink(testNamespace())
    const index = await upVeth(netlink)
    const address = { index, address: 'fd01::1', prefixLen: 64 }
    await netlink.addresses.replace({ ...address, flags: ['nodad'] })
    await netlink.addresses.replace({
      ...address,
      flags: ['nodad'],
      validSec: 1000,
      preferredSec: 0,
    })
    const list = await netlink.addresses.list({ index, family: 6 })
    expect(list).toHaveLength(1)
    expect(list[0]).toMatchObject({ preferredSec: 0, validSec: expect.any(Number) })
    expect(list[0]?.flags).toContain('deprecated')
  })

  test('point-to-point addresses have a peer', async () => {
    const netlink = testNetlink(testNamespace())
    const index = await upVeth(netlink)
    const pair = { index, address: '10.0.0.1', peer: '10.0.0.2', prefixLen: 32 }
    await netlink.addresses.replace(pair)
    expect(await netlink.addresses.list({ index, family: 4 })).toMatchObject([pair])
    expect(await netlink.addresses.del(pair)).toBe(true)
    expect(await netlink.addresses.list({ index, family: 4 })).toEqual([])
  })

  test('del() of what is not there is false', async () => {
    const netlink = testNetlink(testNamespace())
    const index = await upVeth(netlink)
    for (const address of ['10.1.0.1', 'fd01::1']) {
      const key = { index, address, prefixLen: 28 }
      expect(await netlink.addresses.del(key)).toBe(false)
      await netlink.addresses.replace(key)
      expect(await netlink.addresses.del(key)).toBe(true)
      expect(await netlink.addresses.del(key)).toBe(false)
      expect(await netlink.addresses.del({ ...key, index: 9999 })).toBe(false)
    }
  })

  test('list() is empty for a device that is gone, and all of them without a filter', async () => {
    const netlink = testNetlink(testNamespace())
    await netlink.links.set({ name: 'lo' }, { isUp: true })
    expect(await netlink.addresses.list({ index: 9999 })).toEqual([])
    expect((await netlink.addresses.list()).map(({ address, scope }) => [address, scope])).toEqual([
      ['127.0.0.1', 'host'],
      ['::1', 'host'],
    ])
  })

  test('refuses what is no address before the kernel sees it', async () => {
    const netlink = testNetlink(testNamespace())
    const bad = (address: string, prefixLen: number) =>
      netlink.addresses.replace({ index: 1, address, prefixLen })
    await expect(bad('10.0.0', 24)).rejects.toThrow('not an IPv4 or IPv6 address')
    await expect(bad('10.0.0.1', 33)).rejects.toThrow('prefix length 33')
  })
})

describe.skipIf(skipReason)('neighbours', () => {
  test('replace() makes a permanent entry and then gives it another MAC', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const index = await upVeth(netlink)
    await netlink.neighbours.replace({ index, address: '10.1.0.2', mac: '02:00:00:00:00:02' })
    await netlink.neighbours.replace({
      index,
      address: '10.1.0.2',
      mac: '02:00:00:00:00:03',
      protocol: 91,
      flags: ['extern-learn'],
    })
    expect(await netlink.neighbours.list({ index, family: 4 })).toMatchObject([
      {
        address: '10.1.0.2',
        family: 4,
        mac: '02:00:00:00:00:03',
        state: 'permanent',
        protocol: 91,
        flags: ['extern-learn'],
      },
    ])
    expect(ipJson(netns, '-4', 'neigh', 'show', 'dev', 'veth0')).toMatchObject([
      { dst: '10.1.0.2', lladdr: '02:00:00:00:00:03', state: ['PERMANENT'], protocol: '91' },
    ])
  })

  test('list() filters by device and by family', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const first = await upVeth(netlink)
    const second = await upVeth(netlink, 'other')
    const mac = '02:00:00:00:00:02'
    await netlink.neighbours.replace({ index: first, address: '10.1.0.2', mac })
    await netlink.neighbours.replace({ index: second, address: '10.1.0.2', mac })
    await netlink.neighbours.replace({ index: second, address: 'fd01::2', mac })
    const addresses = async (filter: { index?: number; family?: 4 | 6 }) =>
      (await netlink.neighbours.list(filter))
        .filter(({ state }) => state === 'permanent')
        .map(({ index, address }) => [index, address])
    expect(await addresses({ index: first })).toEqual([[first, '10.1.0.2']])
    expect(await addresses({ index: second, family: 6 })).toEqual([[second, 'fd01::2']])
    expect(await addresses({})).toHaveLength(3)
  })

  test('proxy entries are a table of their own', async () => {
    const netlink = testNetlink(testNamespace())
    const index = await upVeth(netlink)
    const proxy = { index, address: '10.1.0.9', flags: ['proxy'] as const }
    await netlink.neighbours.replace(proxy)
    expect(await netlink.neighbours.list({ isProxy: true })).toMatchObject([
      { address: '10.1.0.9', flags: ['proxy'] },
    ])
    expect(await netlink.neighbours.del({ index, address: '10.1.0.9' })).toBe(false)
    expect(await netlink.neighbours.del(proxy)).toBe(true)
  })

  test('del() of what is not there is false', async () => {
    const netlink = testNetlink(testNamespace())
    const index = await upVeth(netlink)
    for (const address of ['10.1.0.2', 'fd01::2']) {
      expect(await netlink.neighbours.del({ index, address })).toBe(false)
      await netlink.neighbours.replace({ index, address, mac: '02:00:00:00:00:02' })
      expect(await netlink.neighbours.del({ index, address })).toBe(true)
      expect(await netlink.neighbours.del({ index, address })).toBe(false)
      expect(await netlink.neighbours.del({ index: 9999, address })).toBe(false)
    }
  })

  test('what the kernel learned is listed with its state', async () => {
    const netns = testNamespace()
    const netlink = testNetlink(netns)
    const index = await upVeth(netlink)
    inside(
      netns,
      'ip',
      'neigh',
      'add',
      '10.1.0.5',
      'lladdr',
      '02:00:00:00:00:05',
      'dev',
      'veth0',
      'nud',
      'stale',
    )
    expect(await netlink.neighbours.list({ index, family: 4 })).toMatchObject([{ state: 'stale' }])
  })
})
