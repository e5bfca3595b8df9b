// When the rows of a pod's flow to a service hold, by packet vectors: backends that go, generations, halves that are lost, ports that are taken.
import { afterAll, beforeAll, describe, test } from 'vitest'
import {
  encodeWay,
  FLOW_FIN,
  FLOW_FIN_REPLY,
  FLOW_SEEN,
  type Flow,
  type FlowKey,
  type WayKind,
} from '../src/layouts.ts'
import { Outside } from './outside.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import {
  asked,
  BACKEND,
  begun,
  CLIENT,
  kindsOf,
  pairOf,
  type Served,
  service,
  standing,
  TCP,
  UDP,
} from './service-flows.ts'
import {
  counted,
  families,
  GENERATION,
  IFINDEX_B,
  IFINDEX_HERE,
  IFINDEX_OVERLAY,
  INCARNATION_A,
  INCARNATION_B,
  keyOf,
  loadWorld,
  NODE_2,
  podA,
  podB,
  type Redirect,
  reverse,
  type World,
} from './world.ts'

const CLOSED = FLOW_SEEN | FLOW_FIN | FLOW_FIN_REPLY

let outside: Outside
let world: World
beforeAll(async () => {
  outside = await Outside.open()
  world = await loadWorld({ netns: outside.netns })
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const unplugged = { uplink: 0, uplinks: [] } as unknown as Outside
const toB = { kind: 'peer', ifindex: IFINDEX_B } as const
const overlay = { kind: 'device', ifindex: IFINDEX_OVERLAY } as const

describe.each(families)('IPv$family', (actors) => {
  const { a, b, c, service: address } = actors
  const route = { src: a, dst: address }
  const served = (kind: string): Served => {
    const one = kindsOf(actors, outside).find((each) => each.kind === kind)
    if (one === undefined) throw new RangeError(kind)
    return one
  }
  const pod = () => served('a pod of this node')
  const remote = () => served('a pod of another node')
  const datagram = udpPacket(links.fromA, route, asked)
  const part = (flags: readonly ('syn' | 'ack')[]) => tcpPacket(links.fromA, route, asked, flags)

  describe('a backend that is gone', () => {
    const gone = { sb_endpoints: [[b, { ...podB, incarnation: INCARNATION_B + 1 }]] } as const

    test('resets the connection', () => {
      const pair = pairOf(actors, pod(), TCP)
      world.check({
        what: 'a → service',
        program: 'sb_from_pod',
        maps: { ...service(actors, [c]), ...pod().node(), ...gone, sb_flows: standing(pair) },
        packet: part(['ack']),
        expect: {
          verdict: 'next',
          ctx: { mark: 0x40_0000 },
          maps: {
            sb_flows: { removed: [keyOf(pair.out), keyOf(reverse(pair.seen))] },
            sb_counters: counted('from_pod', 'PASS_REFUSED'),
          },
        },
      })
    })

    test('is another one for the next datagram', () => {
      const pair = pairOf(actors, pod(), UDP)
      const next = pairOf(actors, remote(), UDP)
      const rows = begun(next)
      world.check({
        what: 'a → service',
        program: 'sb_from_pod',
        maps: { ...service(actors, [c]), ...pod().node(), ...gone, sb_flows: standing(pair) },
        packet: datagram,
        expect: {
          verdict: 'redirect',
          redirect: overlay,
          packetOut: udpPacket(
            links.out,
            { src: a, dst: c, ttl: 63 },
            { sport: CLIENT, dport: BACKEND },
          ),
          maps: {
            sb_flows: {
              changed: [rows[0]],
              added: [rows[1]],
              removed: [keyOf(reverse(pair.seen))],
            },
            sb_counters: counted('from_pod', 'PASS_NODE'),
          },
        },
      })
    })

    test('does not get the answers of who had the client’s address', () => {
      const pair = pairOf(actors, pod(), UDP)
      const nextA = { ...podA, incarnation: INCARNATION_A + 1 }
      world.check({
        what: 'b → a, which is another pod by now',
        program: 'sb_from_pod',
        maps: {
          ...pod().node(),
          sb_endpoints: [
            [a, nextA],
            [b, { ...podB, ifindex: IFINDEX_HERE }],
          ],
          sb_flows: standing(pair),
        },
        packet: tcpPacket(links.fromB, { src: b, dst: a }, { sport: BACKEND, dport: CLIENT }, [
          'ack',
        ]),
        expect: {
          verdict: 'next',
          packetOut: 'any',
          maps: {
            sb_counters: counted('from_pod', 'PASS_STACK'),
            sb_flows: {
              added: [
                [keyOf({ ...reverse(pair.seen), proto: TCP }), {}],
                [keyOf({ ...pair.seen, proto: TCP }), {}],
              ],
            },
          },
        },
      })
    })
  })

  test('a connection that has ended gives its port to the next one, whoever answers that', () => {
    const before = pairOf(actors, pod(), TCP)
    const after = pairOf(actors, remote(), TCP)
    const rows = begun(after)
    world.check({
      what: 'SYN',
      program: 'sb_from_pod',
      maps: {
        ...service(actors, [c]),
        ...remote().node(),
        sb_flows: standing(before, CLOSED),
      },
      packet: part(['syn']),
      expect: {
        verdict: 'redirect',
        redirect: overlay,
        packetOut: 'any',
        maps: {
          sb_flows: {
            changed: [rows[0]],
            added: [rows[1]],
            removed: [keyOf(reverse(before.seen))],
          },
          sb_counters: counted('from_pod', 'PASS_NODE'),
        },
      },
    })
    world.check({
      what: 'SYN to the same backend',
      program: 'sb_from_pod',
      maps: { ...service(actors, [b]), ...pod().node(), sb_flows: standing(before, CLOSED) },
      packet: part(['syn']),
      expect: {
        verdict: 'redirect',
        redirect: toB,
        packetOut: 'any',
        maps: {
          sb_flows: { changed: begun(before) },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })

  const short = kindsOf(actors, unplugged).filter(({ row }) => row.kind !== 'stack')
  test.each(short)('another generation chooses the way to $kind again, not the backend', (one) => {
    const { kind } = one
    const now = served(kind)
    const pair = pairOf(actors, now, UDP)
    const [row] = begun(pair)
    world.check({
      what: 'a → service, whose list names another',
      program: 'sb_from_pod',
      maps: {
        ...service(actors, [b, c]),
        ...now.node(),
        sb_flows: standing(pair, FLOW_SEEN, GENERATION - 1),
      },
      packet: datagram,
      expect: {
        verdict: 'redirect',
        redirect: now.leaves.redirect ?? overlay,
        ctx: { mark: now.leaves.mark },
        packetOut: udpPacket(
          now.leaves.link,
          { src: now.source, dst: now.backend, ttl: 63 },
          { sport: CLIENT, dport: BACKEND },
        ),
        maps: {
          sb_flows: { changed: [[row[0], { ...row[1], created: 0 }]] },
          sb_counters: counted('from_pod', now.leaves.outcome),
        },
      },
    })
  })

  describe('half of a pair that was lost is made again', () => {
    const kinds = kindsOf(actors, unplugged).map(({ kind }) => ({ kind }))

    test.each(kinds)('the answers’, by a packet to $kind', ({ kind }) => {
      const now = served(kind)
      const pair = pairOf(actors, now, UDP)
      const [row, back] = standing(pair)
      world.check({
        what: 'a → service',
        program: 'sb_from_pod',
        maps: { ...now.node(), sb_flows: [row] },
        packet: datagram,
        expect: {
          ...goes(now.leaves.redirect),
          packetOut: 'any',
          maps: {
            sb_flows: { changed: [[row[0], {}]], added: [made(back, now.backRow.kind)] },
            sb_counters: counted('from_pod', now.leaves.outcome),
          },
        },
      })
    })

    test.each(kinds)('the sender’s, by an answer of $kind', ({ kind }) => {
      const now = served(kind)
      const { answer } = now
      const pair = pairOf(actors, now, UDP)
      const [row, back] = standing(pair)
      const node = now.backend === c ? NODE_2 : 0
      const here = answer.place === 'from_pod' && now.backend === b
      world.check({
        what: 'service → a',
        program: answer.program,
        maps: {
          ...now.node(),
          ...(here ? { sb_endpoints: [[b, { ...podB, ifindex: IFINDEX_HERE }]] } : {}),
          sb_flows: [back],
        },
        packet: udpPacket(
          answer.link,
          { src: now.backend, dst: now.source },
          { sport: BACKEND, dport: CLIENT },
        ),
        expect: {
          ...goes(answer.redirect),
          packetOut: 'any',
          maps: {
            sb_flows: { changed: [[back[0], {}]], added: [made(row, now.row.kind, node)] },
            sb_counters: counted(answer.place, answer.outcome),
          },
        },
      })
    })
  })
})

const goes = (redirect: Redirect | undefined) =>
  redirect === undefined
    ? ({ verdict: 'next' } as const)
    : ({ verdict: 'redirect', redirect } as const)

/** A row as its other half makes it: of an old generation, so that its next packet looks where it goes. */
function made([key, row]: readonly [FlowKey, Flow], kind: WayKind, node = 0) {
  const isSet = (value: number) => value > 0
  const way = encodeWay({ kind, node, generation: GENERATION - 1 })
  const flags = (actual: number) => (actual & ~FLOW_SEEN) === (row.flags & ~FLOW_SEEN)
  return [key, { ...row, way, flags, mtu: 0, seen: isSet, created: isSet }] as const
}
