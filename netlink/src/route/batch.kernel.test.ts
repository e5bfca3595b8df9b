// Many changes at once, lists one by one and requests given up, on a real kernel.
import { describe, expect, test } from 'vitest'
import { ipJson, skipReason, testNamespace, testNetlink, upVeth } from '../../testing/namespace.ts'
import {
  isCode,
  NetlinkClient,
  NetlinkSocket,
  type NetworkNamespace,
  RouteNetlink,
  type Transport,
  type Writer,
} from '../index.ts'
import { NETLINK_ROUTE } from '../socket-constants.ts'
import { decodeLink } from './link-message.ts'

const OURS = 91
const COUNT = 3000
const destinations = Array.from(
  { length: COUNT },
  (_, at) => `10.${100 + (at >> 8)}.${at & 255}.0/24`,
)

async function connected(netns: NetworkNamespace) {
  const netlink = testNetlink(netns)
  const index = await upVeth(netlink)
  await netlink.addresses.replace({ index, address: '10.1.0.1', prefixLen: 24 })
  return { netlink, index }
}

/** Counts what is sent and received. */
function counting(netns: NetworkNamespace): { transport: Transport; sent: () => number } {
  const socket = new NetlinkSocket({ protocol: NETLINK_ROUTE, netns })
  let sent = 0
  const transport: Transport = {
    send(message, length) {
      sent++
      socket.send(message, length)
    },
    receive: (into) => socket.receive(into),
    readable: (signal) => socket.readable(signal),
    another: (options) => socket.another(options),
    get isClosed() {
      return socket.isClosed
    },
    close: () => socket.close(),
  }
  return { transport, sent: () => sent }
}

describe.skipIf(skipReason)('batch()', () => {
  test('makes thousands of routes with few datagrams, and unmakes them', async () => {
    const netns = testNamespace()
    const { index } = await connected(netns)
    const { transport, sent } = counting(netns)
    const netlink = RouteNetlink.over(transport)
    const added = await netlink.batch(({ routes }) =>
      destinations.map((dst) => routes.add({ dst, via: '10.1.0.2', index, protocol: OURS })),
    )
    expect(added.every(({ status }) => status === 'fulfilled')).toBe(true)
    expect(sent()).toBe(Math.ceil(COUNT / 128))
    expect(ipJson(netns, 'route', 'show', 'proto', '91')).toHaveLength(COUNT)
    const removed = await netlink.batch(({ routes }) =>
      destinations.map((dst) => routes.del({ dst, protocol: OURS })),
    )
    expect(removed.every((result) => result.status === 'fulfilled' && result.value)).toBe(true)
    expect(await netlink.routes.list({ protocol: OURS })).toEqual([])
    netlink.close()
  })

  test('each has its own outcome, in the words of the kernel, and does not stop the next', async () => {
    const { netlink, index } = await connected(testNamespace())
    const route = { dst: '10.244.1.0/24', via: '10.1.0.2', index, protocol: OURS }
    const results = await netlink.batch<unknown>(({ routes, links }) => [
      routes.add(route),
      routes.add(route),
      routes.add({ dst: '10.244.2.0/24', via: '192.0.2.1' }),
      routes.add({ dst: 'nonsense' }),
      routes.del({ dst: '10.99.0.0/24', protocol: OURS }),
      links.set(index, { mtu: 1400 }),
    ])
    expect(results).toMatchObject([
      { status: 'fulfilled' },
      { reason: { code: 'EEXIST', message: expect.stringContaining('route 10.244.1.0/24') } },
      { reason: { code: 'ENETUNREACH', extAck: { message: 'Nexthop has invalid gateway' } } },
      { reason: { code: 'parse' } },
      { status: 'fulfilled', value: false },
      { status: 'fulfilled' },
    ])
    expect((await netlink.links.get(index))?.mtu).toBe(1400)
    expect(await netlink.routes.list({ protocol: OURS })).toHaveLength(1)
  })

  test('thousands of errors do not overrun the receive buffer', async () => {
    const { netlink } = await connected(testNamespace())
    const results = await netlink.batch(({ routes }) =>
      destinations.map((dst) => routes.add({ dst, via: '192.0.2.1', protocol: OURS })),
    )
    expect(
      results.every(
        ({ status, ...rest }) => 'reason' in rest && isCode(rest.reason, 'ENETUNREACH'),
      ),
    ).toBe(true)
  })

  test('verbs of several requests take part: a device with an alias, a removed device', async () => {
    const { netlink } = await connected(testNamespace())
    const results = await netlink.batch<unknown>(({ links }) => [
      links.add({ kind: 'bridge', name: 'br0', alias: 'one', isUp: true }),
      links.del({ name: 'veth0' }),
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
    expect(await netlink.links.get({ name: 'br0' })).toMatchObject({ alias: 'one', isUp: true })
    expect(await netlink.links.get({ name: 'veth0' })).toBeUndefined()
  })
})

/** SINABRO_ROUTES: fewer, where the kernel is emulated. */
const MANY = Number(process.env.SINABRO_ROUTES ?? 100_000)

describe.skipIf(skipReason)(`${MANY} routes`, () => {
  test('are added, listed, read one by one and deleted', async () => {
    const { netlink, index } = await connected(testNamespace())
    const count = MANY
    const all = Array.from({ length: count }, (_, at) => ({
      dst: `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}/32`,
      via: '10.1.0.2',
      index,
      table: 1000,
      protocol: OURS,
      // A gateway within the routes themselves could be taken for one that is not on the link.
      onlink: true,
    }))
    const inParts = async (change: 'add' | 'del') => {
      for (let from = 0; from < count; from += 10_000) {
        const results = await netlink.batch<unknown>(({ routes }) =>
          all.slice(from, from + 10_000).map((route) => routes[change](route)),
        )
        expect(results.filter(({ status }) => status === 'rejected')).toEqual([])
      }
    }
    await inParts('add')
    const listed = await netlink.routes.list({ table: 1000 })
    expect(listed).toHaveLength(count)
    expect(listed.map(({ dst }) => dst)).toEqual(all.map(({ dst }) => dst))
    // Whether a decoder was compiled in between shows in nothing.
    expect(listed[count - 1]).toEqual({ ...listed[0], dst: all.at(-1)?.dst })
    let at = 0
    for await (const { dst } of netlink.routes.stream({ table: 1000 })) {
      if (dst !== all[at++]?.dst) break
    }
    expect(at).toBe(count)
    await inParts('del')
    expect(await netlink.routes.list({ table: 1000 })).toEqual([])
  })
})

describe.skipIf(skipReason)('stream()', () => {
  async function withRoutes() {
    const netns = testNamespace()
    const { netlink, index } = await connected(netns)
    await netlink.batch(({ routes }) =>
      destinations.map((dst) => routes.add({ dst, via: '10.1.0.2', index, protocol: OURS })),
    )
    return { netns, netlink, index }
  }

  test('gives what list() gives', async () => {
    const { netlink, index } = await withRoutes()
    // The rest goes on changing: IPv6 has multicast routes and neighbours for a device as soon as it is ready.
    const main = { table: 254 }
    const those = { index, family: 4 } as const
    for (let n = 2; n < 10; n++) {
      const mac = `02:00:00:00:00:0${n}`
      await netlink.neighbours.replace({ index, address: `10.1.0.${n}`, mac })
    }
    const listed = await netlink.routes.list(main)
    expect(listed.length).toBeGreaterThan(COUNT)
    expect(await Array.fromAsync(netlink.routes.stream(main))).toEqual(listed)
    expect(await Array.fromAsync(netlink.routes.stream({ table: 4711 }))).toEqual([])
    const neighbours = await netlink.neighbours.list(those)
    expect(neighbours).toHaveLength(8)
    const addresses = neighbours.map(({ address }) => address)
    const streamed = netlink.neighbours.stream(those)
    expect(await Array.fromAsync(streamed, ({ address }) => address)).toEqual(addresses)
  })

  test('other requests may be made from inside the loop, over the same client', async () => {
    const { netlink } = await withRoutes()
    const routes: string[] = []
    for await (const { dst } of netlink.routes.stream({ protocol: OURS, family: 4 })) {
      if (routes.length % 500 === 0) await netlink.links.get({ name: 'veth0' })
      routes.push(dst)
    }
    expect(routes).toEqual(destinations)
  })

  test('may be left at any time, and again', async () => {
    const { netlink } = await withRoutes()
    for (let round = 0; round < 50; round++) {
      let count = 0
      for await (const route of netlink.routes.stream({ protocol: OURS })) {
        expect(route.protocol).toBe(OURS)
        if (++count === round) break
      }
    }
    expect(await netlink.routes.list({ protocol: OURS })).toHaveLength(COUNT)
  })

  test('is EINTR when what it reads changes underneath', async () => {
    const netns = testNamespace()
    const { netlink } = await connected(netns)
    for (let at = 0; at < 20; at++) await upVeth(netlink, `v${at}`)
    const client = new NetlinkClient(new NetlinkSocket({ protocol: NETLINK_ROUTE, netns }), {
      listBytes: 4096,
    })
    const request = { type: 18, op: 'RTM_GETLINK', encode: (writer: Writer) => writer.zeros(16) }
    const stream = client.stream(request, (_, payload) => decodeLink(payload))
    expect((await stream.next()).value).toMatchObject({ name: 'lo' })
    await netlink.links.add({ kind: 'bridge', name: 'late0' })
    await expect(Array.fromAsync(stream)).rejects.toMatchObject({ code: 'EINTR' })
    client.close()
  })
})

describe.skipIf(skipReason)('withSignal()', () => {
  test('gives up a list, and the client goes on', async () => {
    const { netlink, index } = await connected(testNamespace())
    await netlink.batch(({ routes }) =>
      destinations.map((dst) => routes.add({ dst, via: '10.1.0.2', index, protocol: OURS })),
    )
    const stop = new AbortController()
    const given = netlink.withSignal(stop.signal)
    const list = given.routes.list()
    const waiting = given.routes.del({ dst: '10.100.0.0/24' })
    stop.abort(new Error('enough'))
    await expect(list).rejects.toThrow('enough')
    await expect(waiting).rejects.toThrow('enough')
    await expect(given.links.list()).rejects.toThrow('enough')
    expect(await netlink.routes.list({ protocol: OURS })).toHaveLength(COUNT)
  })
})
