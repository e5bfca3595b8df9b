// Next hop objects on a real kernel: alone, in groups, in routes and in a vxlan FDB.
import { describe, expect, test } from 'vitest'
import { ipJson, skipReason, testNamespace, testNetlink, upVeth } from '../../testing/namespace.ts'

const OURS = 91

async function connected() {
  const netns = testNamespace()
  const netlink = testNetlink(netns)
  const index = await upVeth(netlink)
  await netlink.links.set({ name: 'lo' }, { isUp: true })
  await netlink.addresses.replace({ index, address: '10.1.0.1', prefixLen: 24 })
  await netlink.addresses.replace({ index, address: 'fd01::1', prefixLen: 64, flags: ['nodad'] })
  return { netns, netlink, index }
}

describe.skipIf(skipReason)('nexthops', () => {
  test('of every sort are what ip says of them', async () => {
    const { netns, netlink, index } = await connected()
    const { nexthops } = netlink
    await nexthops.add({ id: 1, index, via: '10.1.0.2', protocol: OURS })
    await nexthops.add({ id: 2, index, via: '192.0.2.1', onlink: true, protocol: OURS })
    await nexthops.add({ id: 3, index, family: 6, protocol: OURS })
    await nexthops.add({ id: 4, blackhole: true, protocol: OURS })
    await nexthops.add({ id: 5, via: '192.0.2.7', fdb: true, protocol: OURS })
    await nexthops.add({ id: 8, group: [{ id: 1, weight: 3 }, { id: 2 }], protocol: OURS })
    await nexthops.add({
      id: 9,
      group: [{ id: 1 }],
      resilient: { buckets: 8, idleCs: 6000 },
      protocol: OURS,
    })
    expect(await nexthops.list()).toMatchObject([
      { id: 1, family: 4, index, via: '10.1.0.2', isBlackhole: false, onlink: false },
      { id: 2, via: '192.0.2.1', onlink: true, protocol: OURS },
      { id: 3, family: 6, index },
      { id: 4, isBlackhole: true },
      { id: 5, isFdb: true, via: '192.0.2.7' },
      {
        id: 8,
        group: [
          { id: 1, weight: 3 },
          { id: 2, weight: 1 },
        ],
      },
      { id: 9, group: [{ id: 1, weight: 1 }], resilient: { buckets: 8, idleCs: 6000 } },
    ])
    expect(ipJson(netns, '-N', 'nexthop', 'show')).toMatchObject([
      { id: 1, gateway: '10.1.0.2', dev: 'veth0', protocol: '91' },
      { id: 2, gateway: '192.0.2.1', flags: ['onlink'] },
      { id: 3, dev: 'veth0' },
      { id: 4, blackhole: null },
      { id: 5, gateway: '192.0.2.7', fdb: null },
      { id: 8, group: [{ id: 1, weight: 3 }, { id: 2 }] },
      { id: 9, group: [{ id: 1 }], type: 'resilient', resilient_args: { buckets: 8 } },
    ])
    const ids = async (filter: Parameters<typeof nexthops.list>[0]) =>
      (await nexthops.list(filter)).map(({ id }) => id)
    expect(await ids({ index })).toEqual([1, 2, 3])
    expect(await ids({ isGroup: true })).toEqual([8, 9])
    expect(await ids({ isGroup: false, isFdb: true })).toEqual([5])
    expect(await ids({ protocol: 4 })).toEqual([])
  })

  test('routes name one, and follow when it is replaced', async () => {
    const { netns, netlink, index } = await connected()
    await netlink.nexthops.add({ id: 1, index, via: '10.1.0.2' })
    await netlink.nexthops.add({ id: 2, index, via: 'fd01::2' })
    for (const dst of ['10.244.1.0/24', '10.244.2.0/24']) {
      await netlink.routes.add({ dst, nextHopId: 1, protocol: OURS })
    }
    await netlink.routes.add({ dst: 'fd02::/64', nextHopId: 2, protocol: OURS })
    expect(await netlink.routes.list({ protocol: OURS })).toMatchObject([
      { dst: '10.244.1.0/24', nextHopId: 1, via: '10.1.0.2', index },
      { nextHopId: 1 },
      { dst: 'fd02::/64', nextHopId: 2, via: 'fd01::2' },
    ])
    await netlink.nexthops.replace({ id: 1, index, via: '10.1.0.9' })
    expect(await netlink.routes.get('10.244.2.7')).toMatchObject({ via: '10.1.0.9' })
    expect(ipJson(netns, 'route', 'show', 'proto', '91')).toMatchObject([
      { nhid: 1, gateway: '10.1.0.9' },
      { nhid: 1, gateway: '10.1.0.9' },
    ])
    expect(await netlink.nexthops.del(1)).toBe(true)
    expect(await netlink.routes.list({ protocol: OURS, family: 4 })).toEqual([])
  })

  test('routes over a group are listed with its ways', async () => {
    const { netlink, index } = await connected()
    await netlink.nexthops.add({ id: 1, index, via: '10.1.0.2' })
    await netlink.nexthops.add({ id: 2, index, via: '10.1.0.3' })
    await netlink.nexthops.add({ id: 9, group: [{ id: 1, weight: 2 }, { id: 2 }] })
    await netlink.routes.add({ dst: '10.244.0.0/16', nextHopId: 9, protocol: OURS })
    expect(await netlink.routes.list({ protocol: OURS })).toMatchObject([
      {
        nextHopId: 9,
        nextHops: [
          { index, via: '10.1.0.2', weight: 2 },
          { index, via: '10.1.0.3', weight: 1 },
        ],
      },
    ])
    const [route] = await netlink.routes.list({ protocol: OURS })
    if (route) expect(await netlink.routes.del(route)).toBe(true)
  })

  test('get() of what is not there is undefined, del() false, add() of what is EEXIST', async () => {
    const { netlink, index } = await connected()
    expect(await netlink.nexthops.get(1)).toBeUndefined()
    expect(await netlink.nexthops.del(1)).toBe(false)
    await netlink.nexthops.add({ id: 1, index, via: '10.1.0.2' })
    expect(await netlink.nexthops.get(1)).toMatchObject({ id: 1, via: '10.1.0.2' })
    await expect(netlink.nexthops.add({ id: 1, index, via: '10.1.0.3' })).rejects.toMatchObject({
      code: 'EEXIST',
      op: 'RTM_NEWNEXTHOP',
    })
    await expect(netlink.nexthops.add({ id: 0, blackhole: true })).rejects.toThrow(
      '0 is not the id',
    )
  })
})
