// Routes on a real kernel: both families, other people's routes, many of them, and lists that change while they are read.
import { describe, expect, test } from 'vitest'
import {
  inside,
  ipJson,
  skipReason,
  testNamespace,
  testNetlink,
  upVeth,
} from '../../testing/namespace.ts'
import { type NetworkNamespace, RouteNetlink } from '../index.ts'
import { NetlinkSocket, type Transport } from '../socket.ts'
import { NETLINK_ROUTE } from '../socket-constants.ts'

const OURS = 91

async function connected(netns: NetworkNamespace) {
  const netlink = testNetlink(netns)
  const index = await upVeth(netlink)
  await netlink.addresses.replace({ index, address: '10.1.0.1', prefixLen: 24 })
  await netlink.addresses.replace({ index, address: 'fd01::1', prefixLen: 64, flags: ['nodad'] })
  return { netlink, index }
}

describe.skipIf(skipReason)('routes', () => {
  test('of both families say what ip says of them', async () => {
    const netns = testNamespace()
    const { netlink, index } = await connected(netns)
    const protocol = OURS
    await netlink.routes.add({
      dst: '10.244.1.0/24',
      via: '10.1.0.2',
      index,
      protocol,
      mtu: 1400,
      metric: 5,
    })
    await netlink.routes.add({
      dst: '10.244.2.0/24',
      via: '10.244.2.0',
      index,
      protocol,
      onlink: true,
    })
    await netlink.routes.add({ dst: '10.9.0.0/16', via: 'fd01::2', index, protocol })
    await netlink.routes.add({ dst: '10.8.0.1/32', index, protocol, prefsrc: '10.1.0.1' })
    await netlink.routes.add({ dst: '192.0.2.0/24', type: 'blackhole', protocol })
    await netlink.routes.add({ dst: 'fd02::/64', via: 'fd01::2', protocol })
    await netlink.routes.add({ dst: 'default', via: 'fd01::2', protocol, metric: 9 })
    expect(await netlink.routes.list({ protocol })).toMatchObject([
      { dst: '10.8.0.1/32', family: 4, index, prefsrc: '10.1.0.1', scope: 'link' },
      { dst: '10.9.0.0/16', family: 4, via: 'fd01::2', viaFamily: 6, index },
      { dst: '10.244.1.0/24', via: '10.1.0.2', viaFamily: 4, index, mtu: 1400, metric: 5 },
      { dst: '10.244.2.0/24', via: '10.244.2.0', onlink: true },
      { dst: '192.0.2.0/24', type: 'blackhole', table: 254 },
      { dst: 'fd02::/64', family: 6, via: 'fd01::2', metric: 1024 },
      { dst: 'default', family: 6, via: 'fd01::2', metric: 9, scope: 'global' },
    ])
    expect(ipJson(netns, '-4', 'route', 'show', 'proto', '91')).toMatchObject([
      { dst: '10.8.0.1', dev: 'veth0', scope: 'link', prefsrc: '10.1.0.1' },
      { dst: '10.9.0.0/16', via: { family: 'inet6', host: 'fd01::2' } },
      { dst: '10.244.1.0/24', gateway: '10.1.0.2', metric: 5, metrics: [{ mtu: 1400 }] },
      { dst: '10.244.2.0/24', gateway: '10.244.2.0', flags: ['onlink'] },
      { dst: '192.0.2.0/24', type: 'blackhole' },
    ])
    expect(ipJson(netns, '-6', 'route', 'show', 'proto', '91')).toMatchObject([
      { dst: 'fd02::/64', gateway: 'fd01::2', metric: 1024 },
      { dst: 'default', gateway: 'fd01::2', metric: 9 },
    ])
  })

  test('several ways are one route', async () => {
    const netns = testNamespace()
    const { netlink, index } = await connected(netns)
    for (const [dst, first, second] of [
      ['10.10.0.0/16', '10.1.0.2', '10.1.0.3'],
      ['fd10::/64', 'fd01::2', 'fd01::3'],
    ] as const) {
      const nextHops = [
        { index, via: first, weight: 3 },
        { index, via: second, weight: 1 },
      ]
      await netlink.routes.replace({ dst, nextHops, protocol: OURS })
      const [route] = (await netlink.routes.list({ protocol: OURS })).filter(
        (one) => one.dst === dst,
      )
      expect(route?.nextHops).toEqual(nextHops)
      expect(await netlink.routes.list({ index, protocol: OURS })).toContainEqual(route)
    }
    expect(ipJson(netns, 'route', 'show', 'proto', '91')).toMatchObject([
      {
        nexthops: [
          { gateway: '10.1.0.2', weight: 3 },
          { gateway: '10.1.0.3', weight: 1 },
        ],
      },
    ])
  })

  test('replace() changes in place, add() is EEXIST', async () => {
    const { netlink, index } = await connected(testNamespace())
    const route = { dst: '10.244.1.0/24', index, protocol: OURS }
    await netlink.routes.replace({ ...route, via: '10.1.0.2' })
    await netlink.routes.replace({ ...route, via: '10.1.0.3' })
    expect(await netlink.routes.list({ protocol: OURS })).toMatchObject([{ via: '10.1.0.3' }])
    await expect(netlink.routes.add({ ...route, via: '10.1.0.4' })).rejects.toMatchObject({
      code: 'EEXIST',
    })
  })

  test('foreign routes survive: only what carries our protocol is listed and deleted', async () => {
    const netns = testNamespace()
    const { netlink, index } = await connected(netns)
    inside(
      netns,
      'ip',
      'route',
      'add',
      '10.244.1.0/24',
      'via',
      '10.1.0.9',
      'proto',
      'static',
      'metric',
      '50',
    )
    await netlink.routes.add({ dst: '10.244.1.0/24', via: '10.1.0.2', index, protocol: OURS })
    await netlink.routes.add({ dst: 'fd02::/64', via: 'fd01::2', index, protocol: OURS })
    inside(
      netns,
      'ip',
      '-6',
      'route',
      'add',
      'fd02::/64',
      'via',
      'fd01::9',
      'proto',
      'static',
      'metric',
      '50',
    )
    for (const route of await netlink.routes.list({ protocol: OURS })) {
      expect(await netlink.routes.del(route)).toBe(true)
      expect(await netlink.routes.del({ dst: route.dst, protocol: OURS })).toBe(false)
    }
    expect(await netlink.routes.list({ protocol: 4 })).toMatchObject([
      { dst: '10.244.1.0/24', via: '10.1.0.9' },
      { dst: 'fd02::/64', via: 'fd01::9' },
    ])
  })

  test('tables over 255 are numbers like any other', async () => {
    const { netlink, index } = await connected(testNamespace())
    const dst = '10.244.0.0/16'
    await netlink.routes.add({ dst, index, table: 100_000 })
    expect(await netlink.routes.list({ table: 100_000 })).toMatchObject([{ dst, table: 100_000 }])
    expect(await netlink.routes.list({ table: 100_001 })).toEqual([])
    expect(await netlink.routes.del({ dst })).toBe(false)
    expect(await netlink.routes.del({ dst, table: 100_000 })).toBe(true)
  })

  test('get() is the way a packet takes; without one it is an error', async () => {
    const { netlink, index } = await connected(testNamespace())
    await netlink.routes.add({ dst: '10.244.1.0/24', via: '10.1.0.2', index, mtu: 1400 })
    expect(await netlink.routes.get('10.244.1.7')).toMatchObject({
      via: '10.1.0.2',
      index,
      prefsrc: '10.1.0.1',
      mtu: 1400,
    })
    expect(await netlink.routes.get('fd01::2')).toMatchObject({ index, prefsrc: 'fd01::1' })
    await expect(netlink.routes.get('192.0.2.1')).rejects.toMatchObject({
      code: 'ENETUNREACH',
      op: 'RTM_GETROUTE',
    })
  })

  test('refusals come in the words of the kernel', async () => {
    const { netlink } = await connected(testNamespace())
    await expect(
      netlink.routes.add({ dst: '10.2.0.0/16', via: '192.0.2.1' }),
    ).rejects.toMatchObject({
      code: 'ENETUNREACH',
      message: 'RTM_NEWROUTE route 10.2.0.0/16: ENETUNREACH: Nexthop has invalid gateway',
    })
    await expect(netlink.routes.add({ dst: '10.2.0.1/16', via: '10.1.0.2' })).rejects.toThrow(
      'has bits set after the first 16',
    )
    await expect(netlink.routes.add({ dst: 'default', index: 1 })).rejects.toThrow('needs a family')
  })

  test('5,000 routes are added, listed whole and deleted', async () => {
    const netns = testNamespace()
    const { netlink, index } = await connected(netns)
    const all = Array.from({ length: 5000 }, (_, at) => `10.${100 + (at >> 8)}.${at & 255}.0/24`)
    await Promise.all(
      all.map((dst) => netlink.routes.add({ dst, via: '10.1.0.2', index, protocol: OURS })),
    )
    const listed = await netlink.routes.list({ protocol: OURS })
    expect(listed.map(({ dst }) => dst)).toEqual(all)
    expect(listed.every((route) => route.via === '10.1.0.2' && route.index === index)).toBe(true)
    expect(ipJson(netns, 'route', 'show', 'proto', '91')).toHaveLength(5000)
    for (const { dst } of listed) await netlink.routes.del({ dst, protocol: OURS })
    expect(await netlink.routes.list({ protocol: OURS })).toEqual([])
  })

  test('a list that changes while it is read is read again', async () => {
    const netns = testNamespace()
    const { netlink: other } = await connected(netns)
    for (let at = 0; at < 20; at++) await upVeth(other, `v${at}`)
    let received = 0
    const transport = interrupting(netns, () => {
      received++
      // In the middle of the first list a device appears.
      if (received === 3) inside(netns, 'ip', 'link', 'add', 'late0', 'type', 'bridge')
    })
    const netlink = RouteNetlink.over(transport, { listBytes: 4096 })
    const names = (await netlink.links.list()).map(({ name }) => name)
    netlink.close()
    expect(names).toContain('late0')
    expect(new Set(names).size).toBe(names.length)
    expect(names).toHaveLength(1 + 2 + 40 + 1)
    // Over one reading of about 1.2 KiB per device: it was read twice.
    expect(received).toBeGreaterThan(18)
  })
})

/** A socket that does something else before each datagram. */
function interrupting(netns: NetworkNamespace, beforeReceive: () => void): Transport {
  const socket = new NetlinkSocket({ protocol: NETLINK_ROUTE, netns })
  return {
    send: (message, length) => socket.send(message, length),
    receive(into) {
      beforeReceive()
      return socket.receive(into)
    },
    readable: (signal) => socket.readable(signal),
    another: (options) => socket.another(options),
    get isClosed() {
      return socket.isClosed
    },
    close: () => socket.close(),
  }
}
