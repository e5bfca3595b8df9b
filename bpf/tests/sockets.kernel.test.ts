// The programs on sockets, with real ones: who connects to a service reaches a backend and sees the service, of both families and of both in one.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  NODE_ADDR_HOST_PORTS,
  NODE_ADDR_NODE_PORTS,
  SERVICE_HOST_PORT,
  SERVICE_NOT_NODE,
  SERVICE_SOURCE_RANGES,
} from '../src/layouts.ts'
import { type Asker, addresses, BACKEND_PORT, SocketWorld } from './socket-world.ts'

const SLOW_MS = 300_000
const services = { 4: '10.96.0.10', 6: 'fd00:96::10' } as const
const PORT = 80
const NOBODY_PORT = 81
const NODE_PORT = 30_080
const HOST_PORT = 9080

let world: SocketWorld
let pod: Asker
let node: Asker
/** Started before the programs were attached, with an open socket. */
let early: Asker
let outside: Asker

beforeAll(async () => {
  world = await SocketWorld.up()
  world.detach()
  early = await world.asker('pod')
  await early.do('udp 1 4')
  await world.attach()
  pod = await world.asker('pod')
  node = await world.asker('node')
  outside = await world.asker('pod', { isOutside: true })
}, SLOW_MS)
afterAll(() => world?.close())

/** How a process names an address, and by what kind of socket it asks. */
const ways = [
  { way: 'IPv4', family: 4, socket: 4, prefix: '', id: 100 },
  { way: 'IPv6', family: 6, socket: 6, prefix: '', id: 200 },
  { way: 'IPv4 in IPv6', family: 4, socket: 6, prefix: '::ffff:', id: 300 },
] as const

/** The backend that has said its name, after what the process saw; the socket's answer is the service's. */
function saidBy(answer: string, address: string, port: number): string {
  const start = `${address} ${port} `
  expect(answer.slice(0, start.length)).toBe(start)
  return answer.slice(start.length)
}

describe.each(ways)('$way', ({ family, socket, prefix, id }) => {
  const { node: nodeAddress, backends } = addresses[family]
  const address = services[family]
  const seen = `${prefix}${address}`
  const loopback = family === 4 ? '127.0.0.1' : '::1'
  const any = family === 4 ? '0.0.0.0' : '::'

  beforeAll(() => {
    world.own(address)
    for (const [at, proto] of (['tcp', 'udp'] as const).entries()) {
      world.serve({ id: id + at, address, port: PORT, proto, backends })
      world.serve({ id: id + 10 + at, address: any, port: NODE_PORT, proto, backends })
      world.serve({ id: id + 20 + at, address, port: 82, proto, backends: [] })
      world.serve({ id: id + 30 + at, address, port: 83, proto, backends: [loopback] })
    }
    for (const own of [nodeAddress, loopback]) world.setNodeAddress(own, NODE_ADDR_NODE_PORTS)
  })

  test('TCP: every backend answers some, and the peer is the service', async () => {
    const before = world.count('PASS_SERVICE')
    const said = new Set<string>()
    for (let i = 0; i < 40; i++) {
      said.add(saidBy(await pod.do(`tcp ${socket} ${seen} ${PORT}`), seen, PORT))
    }
    expect([...said].sort()).toEqual([...backends].sort())
    expect(world.count('PASS_SERVICE') - before).toBe(40)
  })

  test('TCP whose first data connects', async () => {
    const answer = await pod.do(`fast ${socket} ${seen} ${PORT}`)
    expect(backends).toContain(saidBy(answer, seen, PORT))
  })

  test('a TCP socket that connects again forgets what it asked before', async () => {
    const [backend] = backends
    const to = `${prefix}${backend}`
    for (let i = 0; i < 12; i++) {
      const answer = await pod.do(`again ${socket} ${seen} ${PORT} ${to} ${BACKEND_PORT}`)
      expect(answer).toBe(`${to} ${BACKEND_PORT} ${backend}`)
    }
  })

  test.each([
    ['a service without backends', 82],
    ['a backend on the loopback', 83],
  ])('refused: %s', async (_what, port) => {
    const before = world.count('PASS_REFUSED')
    expect(await pod.do(`tcp ${socket} ${seen} ${port}`)).toBe('ECONNREFUSED')
    await pod.do(`udp 1 ${socket}`)
    expect(await pod.do(`connect 1 ${seen} ${port}`)).toBe('ECONNREFUSED')
    expect(await pod.do(`ask 1 ${seen} ${port}`)).toBe('ECONNREFUSED')
    expect(world.count('PASS_REFUSED') - before).toBe(3)
  })

  test("a port that nobody has of a service's address: refused, but for connecting UDP", async () => {
    const before = world.count('PASS_REFUSED')
    expect(await pod.do(`tcp ${socket} ${seen} ${NOBODY_PORT}`)).toBe('ECONNREFUSED')
    await pod.do(`udp 1 ${socket}`)
    expect(await pod.do(`ask 1 ${seen} ${NOBODY_PORT}`)).toBe('ECONNREFUSED')
    expect(world.count('PASS_REFUSED') - before).toBe(2)
    // Without a route there it is not our refusal.
    expect(await pod.do(`connect 1 ${seen} ${NOBODY_PORT}`)).toBe('ENETUNREACH')
    expect(world.count('PASS_REFUSED') - before).toBe(2)
  })

  test('a node port: of an address of the node, for pods and the node', async () => {
    for (const [asker, to] of [
      [pod, nodeAddress],
      [node, nodeAddress],
      [node, loopback],
    ] as const) {
      const named = `${prefix}${to}`
      const answer = await asker.do(`tcp ${socket} ${named} ${NODE_PORT}`)
      expect(backends).toContain(saidBy(answer, named, NODE_PORT))
      await asker.do(`udp 1 ${socket}`)
      const heard = await asker.do(`ask 1 ${named} ${NODE_PORT}`)
      expect(backends).toContain(saidBy(heard, named, NODE_PORT))
    }
  })

  test("an address that is not the node's has no node ports", async () => {
    const [backend] = backends
    expect(await node.do(`tcp ${socket} ${prefix}${backend} ${NODE_PORT}`)).toBe('ECONNREFUSED')
  })

  test("a pod's loopback is its own", async () => {
    const before = [world.count('PASS_SERVICE'), world.count('PASS_REFUSED')]
    const named = `${prefix}${loopback}`
    expect(await pod.do(`tcp ${socket} ${named} ${NODE_PORT}`)).toBe('ECONNREFUSED')
    expect(await pod.do(`tcp ${socket} ${prefix}${any} ${NODE_PORT}`)).toBe('ECONNREFUSED')
    await pod.do(`udp 1 ${socket}`)
    const heard = await pod.do(`ask 1 ${named} ${BACKEND_PORT}`)
    expect(heard).toBe(`${named} ${BACKEND_PORT} ${loopback}`)
    expect([world.count('PASS_SERVICE'), world.count('PASS_REFUSED')]).toEqual(before)
  })

  test("any address is the node's loopback, to the node", async () => {
    const named = `${prefix}${loopback}`
    const answer = await node.do(`tcp ${socket} ${prefix}${any} ${NODE_PORT}`)
    expect(backends).toContain(saidBy(answer, named, NODE_PORT))
  })

  test('a host port is served where host ports are', async () => {
    const spec = { id: id + 40, address: any, port: HOST_PORT, proto: 'tcp', backends } as const
    world.serve({ ...spec, flags: SERVICE_HOST_PORT })
    const ask = () => pod.do(`tcp ${socket} ${prefix}${nodeAddress} ${HOST_PORT}`)
    expect(await ask()).toBe('ECONNREFUSED')
    world.setNodeAddress(nodeAddress, NODE_ADDR_NODE_PORTS | NODE_ADDR_HOST_PORTS)
    expect(backends).toContain(saidBy(await ask(), `${prefix}${nodeAddress}`, HOST_PORT))
  })

  test('a process outside of the cgroup is left alone', async () => {
    expect(await outside.do(`tcp ${socket} ${seen} ${PORT}`)).toBe('ENETUNREACH')
  })

  test('a service for some sources only: a pod’s packets are asked, and its sockets left alone', async () => {
    const port = 85
    const spec = { id: id + 60, address, port, proto: 'tcp', flags: SERVICE_SOURCE_RANGES } as const
    world.serve({ ...spec, backends })
    // Without a route there it is not our refusal.
    expect(await pod.do(`tcp ${socket} ${seen} ${port}`)).toBe('ENETUNREACH')
  })

  test('a service for some sources only: the node by its own address, or by the one that a socket is bound to', async () => {
    const [first, second] = backends
    for (const [at, proto] of (['tcp', 'udp'] as const).entries()) {
      const spec = { id: id + 70 + at, address, port: 86, proto, backends } as const
      world.admit(spec.id, first)
      const ask = async (from?: string) => {
        if (proto === 'tcp') return await node.do(`tcp ${socket} ${seen} 86`)
        await node.do(`udp 1 ${socket}`)
        if (from !== undefined) await node.do(`bind 1 ${prefix}${from} 0`)
        return await node.do(`ask 1 ${seen} 86`)
      }
      world.serve({ ...spec, flags: SERVICE_SOURCE_RANGES })
      expect(backends).toContain(saidBy(await ask(), seen, 86))
      world.serve({ ...spec, flags: SERVICE_SOURCE_RANGES | SERVICE_NOT_NODE })
      expect(await ask()).toBe('ECONNREFUSED')
      if (proto === 'tcp') continue
      expect(backends).toContain(saidBy(await ask(first), seen, 86))
      expect(await ask(second)).toBe('ECONNREFUSED')
      expect(await node.do(`connect 1 ${seen} 86`)).toBe('ECONNREFUSED')
    }
  })

  test('affinity: a namespace keeps its backend, each its own', async () => {
    const port = 84
    const spec = { id: id + 50, address, port, proto: 'tcp', affinitySec: 3600 } as const
    world.serve({ ...spec, backends })
    const ask = async (asker: Asker) =>
      saidBy(await asker.do(`tcp ${socket} ${seen} ${port}`), seen, port)
    const first = await ask(pod)
    for (let i = 0; i < 10; i++) expect(await ask(pod)).toBe(first)
    await ask(node)
    const mine = () => world.affinities.filter(([key]) => key.service === spec.id)
    expect(mine()).toHaveLength(2)
    // It went: another one, and that for good.
    world.serve({ ...spec, backends: backends.filter((one) => one !== first) })
    const second = await ask(pod)
    expect(second).not.toBe(first)
    world.serve({ ...spec, backends })
    for (let i = 0; i < 10; i++) expect(await ask(pod)).toBe(second)
    expect(mine()).toHaveLength(2)
  })

  test('affinity: as long as the service says, and one anew after that', async () => {
    const port = 87
    const [first = '', second = ''] = backends
    const spec = { id: id + 51, address, port, proto: 'tcp', affinitySec: 3600 } as const
    const ask = async () => saidBy(await pod.do(`tcp ${socket} ${seen} ${port}`), seen, port)
    world.serve({ ...spec, backends: [second] })
    expect(await ask()).toBe(second)
    world.serve({ ...spec, backends: [first, second] })
    world.drawFirst(spec.id)
    // In ticks: less than that time for the slowest clock that there is, and as much for the fastest.
    world.age(spec.id, 1300)
    expect(await ask()).toBe(second)
    world.age(spec.id, 14_063)
    expect(await ask()).toBe(first)
  })
})

test('a socket that was open before the programs came', async () => {
  const address = services[4]
  const answer = await early.do(`ask 1 ${address} ${PORT}`)
  expect(addresses[4].backends).toContain(saidBy(answer, address, PORT))
})

test('a socket for IPv6 alone does not reach IPv4', async () => {
  await pod.do('udp 1 66')
  expect(await pod.do(`connect 1 ::ffff:${services[4]} ${PORT}`)).toBe('ENETUNREACH')
  expect(await pod.do(`ask 1 ::ffff:${services[4]} ${PORT}`)).toBe('ENETUNREACH')
})
