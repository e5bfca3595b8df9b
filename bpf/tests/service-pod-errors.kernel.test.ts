// ICMP errors about pods' flows to services, by packet vectors, both ways: the pod reads the service in it, the backend itself.
import { afterAll, beforeAll, describe, test } from 'vitest'
import {
  ip,
  type Layer,
  packet,
  payload,
  portUnreachable,
  tcp,
  timeExceeded,
  tooBig,
  udp,
} from '../testing/index.ts'
import { summing } from './masquerade-rows.ts'
import { Outside } from './outside.ts'
import { links, type Ports, type Route } from './packets.ts'
import {
  answered,
  asked,
  BACKEND,
  kindsOf,
  pairOf,
  type Served,
  standing,
  TCP,
  UDP,
} from './service-flows.ts'
import {
  counted,
  families,
  IFINDEX_B,
  IFINDEX_HERE,
  IFINDEX_OVERLAY,
  loadWorld,
  podA,
  podB,
  type Redirect,
  type World,
} from './world.ts'

/** The pod's port in the backend's eyes. */
const PORT = 50_000

let outside: Outside
let world: World
let check: ReturnType<typeof summing>
beforeAll(async () => {
  outside = await Outside.open()
  world = await loadWorld({ netns: outside.netns })
  check = summing(world)
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const unplugged = { uplink: 0, uplinks: [] } as unknown as Outside
const there = { sport: PORT, dport: BACKEND }
const back = { sport: BACKEND, dport: PORT }
const toA = { kind: 'peer', ifindex: IFINDEX_HERE } as const
const errors = [
  ['too big', tooBig({ mtu: 1400 })],
  ['time exceeded', timeExceeded()],
  ['port unreachable', portUnreachable()],
] as const
const protocols = [
  ['TCP', TCP, (ports: Ports): Layer => tcp({ ...ports, seq: 7 })],
  ['UDP', UDP, (ports: Ports): Layer => udp(ports)],
] as const
const cases = errors.flatMap(([what, error]) =>
  protocols.map(([name, proto, transport]) => ({ what, error, name, proto, transport })),
)

describe.each(families)('IPv$family', (actors) => {
  const { family, a, b, c, own2, node1, stranger, service: address } = actors
  const router = family === 4 ? '203.0.113.1' : '2001:db8:cafe::1'
  const names = kindsOf(actors, unplugged).map(({ kind }) => kind)
  const served = (name: string): Served => {
    const one = kindsOf(actors, outside).find((each) => each.kind === name)
    if (one === undefined) throw new RangeError(name)
    return one
  }
  const bHere = {
    sb_endpoints: [
      [a, podA],
      [b, { ...podB, ifindex: IFINDEX_HERE }],
    ],
  } as const
  const inside = (route: Route, transport: Layer) =>
    [ip({ ttl: 3, ...route }), transport, payload(9)] as const

  describe.each(cases)('$what, about $name', ({ error, proto, transport }) => {
    test.each(names)('from the backend to the pod: %s', (name) => {
      const now = served(name)
      const { answer, backend, source } = now
      // What leaves the stack is an error for the pod's address.
      const isStack = now.backRow.kind === 'stack'
      const sent = [error, ...inside({ src: source, dst: backend }, transport(there))] as const
      const read = [error, ...inside({ src: a, dst: address }, transport(asked))] as const
      check({
        what: name,
        program: answer.program,
        maps: {
          ...now.node(),
          ...(answer.place === 'from_pod' && backend === b ? bHere : {}),
          sb_flows: standing(pairOf(actors, now, proto, PORT)),
        },
        packet: packet(answer.link, ip({ src: backend, dst: source }), ...sent),
        expect: {
          ...goes(answer.redirect),
          packetOut: packet(
            answer.linkOut,
            ip({ src: address, dst: a, ttl: answer.hops }),
            ...read,
          ),
          maps: {
            sb_flows: {},
            sb_counters: counted(answer.place, isStack ? 'PASS_STACK_ERROR' : 'PASS_LOCAL'),
          },
        },
      })
    })

    test('of a router that a packet to a host outside met, which keeps its name', () => {
      const now = served('a host outside')
      const sent = inside({ src: node1, dst: stranger }, transport(there))
      const read = inside({ src: a, dst: address }, transport(asked))
      check({
        what: 'router → node',
        program: 'sb_from_uplink',
        maps: { ...now.node(), sb_flows: standing(pairOf(actors, now, proto, PORT)) },
        packet: packet(links.wire, ip({ src: router, dst: node1 }), error, ...sent),
        expect: {
          ...goes(toA),
          packetOut: packet(links.toA, ip({ src: router, dst: a, ttl: 63 }), error, ...read),
          maps: { sb_flows: {}, sb_counters: counted('from_uplink', 'PASS_LOCAL') },
        },
      })
    })

    test('of another node’s kernel, likewise', () => {
      const now = served('a pod of another node')
      const sent = inside({ src: a, dst: c }, transport(there))
      const read = inside({ src: a, dst: address }, transport(asked))
      check({
        what: 'node 2 → a',
        program: 'vector_from_overlay',
        maps: { ...now.node(), sb_flows: standing(pairOf(actors, now, proto, PORT)) },
        packet: packet(links.in, ip({ src: own2, dst: a }), error, ...sent),
        expect: {
          ...goes(toA),
          packetOut: packet(links.toA, ip({ src: own2, dst: a, ttl: 63 }), error, ...read),
          maps: { sb_flows: {}, sb_counters: counted('from_overlay', 'PASS_LOCAL') },
        },
      })
    })

    test('of the node’s own kernel about what the short way could not carry', () => {
      const now = served('a pod of another node')
      const sent = inside({ src: a, dst: c }, transport(there))
      const read = inside({ src: a, dst: address }, transport(asked))
      check({
        what: 'node → a',
        program: 'sb_to_pod',
        maps: { ...now.node(), sb_flows: standing(pairOf(actors, now, proto, PORT)) },
        packet: packet(links.toA, ip({ src: node1, dst: a }), error, ...sent),
        expect: {
          verdict: 'next',
          packetOut: packet(links.toA, ip({ src: node1, dst: a }), error, ...read),
          maps: { sb_flows: {}, sb_counters: counted('to_pod', 'PASS_STACK_ERROR') },
        },
      })
    })

    test.each([
      ['a pod of this node', { kind: 'peer', ifindex: IFINDEX_B }, 'PASS_LOCAL'],
      ['a pod of another node', { kind: 'device', ifindex: IFINDEX_OVERLAY }, 'PASS_NODE'],
      ['this node', undefined, 'PASS_STACK_ERROR'],
      ['a host outside', 'uplink', 'PASS_OUT'],
      ['a host outside that the stack masquerades for', undefined, 'PASS_STACK_ERROR'],
    ] as const)('from the pod, about an answer of %s', (name, redirect, outcome) => {
      const now = served(name)
      const { leaves, source, backend } = now
      const out =
        redirect === 'uplink' ? { kind: 'neighbour' as const, ifindex: outside.uplink } : redirect
      const sent = inside({ src: address, dst: a }, transport(answered))
      const read = inside({ src: backend, dst: source }, transport(back))
      world.check({
        what: name,
        program: 'sb_from_pod',
        maps: { ...now.node(), sb_flows: standing(pairOf(actors, now, proto, PORT)) },
        packet: packet(links.fromA, ip({ src: a, dst: address }), error, ...sent),
        expect: {
          ...goes(out),
          ctx: { mark: leaves.mark },
          packetOut: packet(
            leaves.link,
            ip({ src: source, dst: backend, ttl: leaves.hops }),
            error,
            ...read,
          ),
          maps: { sb_flows: {}, sb_counters: counted('from_pod', outcome) },
        },
      })
    })
  })

  test('cut short behind the ports it is translated as far as it goes', () => {
    const now = served('a pod of another node')
    const headers = family === 4 ? 20 : 40
    const cut = (route: Route, ports: Ports) =>
      payload(packet(ip({ ttl: 3, ...route }), tcp({ ...ports, seq: 7 })).slice(0, headers + 8))
    world.check({
      what: 'c → a',
      program: 'vector_from_overlay',
      maps: { ...now.node(), sb_flows: standing(pairOf(actors, now, TCP, PORT)) },
      packet: packet(
        links.in,
        ip({ src: c, dst: a }),
        timeExceeded(),
        cut({ src: a, dst: c }, there),
      ),
      expect: {
        ...goes(toA),
        packetOut: packet(
          links.toA,
          ip({ src: address, dst: a, ttl: 63 }),
          timeExceeded(),
          cut({ src: a, dst: address }, asked),
        ),
        maps: { sb_flows: {}, sb_counters: counted('from_overlay', 'PASS_LOCAL') },
      },
    })
  })

  test('from the wire about a flow in the tunnel nobody believes it', () => {
    const now = served('a pod of another node')
    world.check({
      what: 'router → a',
      program: 'sb_from_uplink',
      maps: { ...now.node(), sb_flows: standing(pairOf(actors, now, UDP, PORT)) },
      packet: packet(
        links.wire,
        ip({ src: router, dst: a }),
        tooBig({ mtu: 600 }),
        ...inside({ src: a, dst: c }, udp(there)),
      ),
      expect: {
        verdict: 'shot',
        maps: { sb_flows: {}, sb_counters: counted('from_uplink', 'DROP_NATIVE_TARGET') },
      },
    })
  })

  test('about a packet that another pod had sent it stays as it is', () => {
    const now = served('a pod of another node')
    const pair = pairOf(actors, now, UDP, PORT)
    const [row, [key, answers]] = standing(pair)
    world.check({
      what: 'node → a',
      program: 'sb_to_pod',
      maps: {
        ...now.node(),
        sb_flows: [row, [key, { ...answers, targetIncarnation: 99 }]],
      },
      packet: packet(
        links.toA,
        ip({ src: own2, dst: a }),
        tooBig({ mtu: 1400 }),
        ...inside({ src: a, dst: c }, udp(there)),
      ),
      expect: {
        verdict: 'next',
        maps: { sb_flows: {}, sb_counters: counted('to_pod', 'PASS_STACK_ERROR') },
      },
    })
  })
})

const goes = (redirect: Redirect | undefined) =>
  redirect === undefined
    ? ({ verdict: 'next' } as const)
    : ({ verdict: 'redirect', redirect } as const)
