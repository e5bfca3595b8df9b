// When a flow's row holds, by packet vectors: incarnations, generations, connections that end and begin.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { FLOW_SEEN } from '../src/layouts.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import { local, localBack, remote, remoteBack, stack, stackBack } from './rows.ts'
import {
  counted,
  families,
  flowExpected,
  flowRow,
  GENERATION,
  IFINDEX_B,
  IFINDEX_OVERLAY,
  INCARNATION_A,
  INCARNATION_B,
  keyOf,
  loadWorld,
  podB,
  readyConfig,
  reverse,
  type World,
} from './world.ts'

const UDP = 17
const TCP = 6
const ports = { sport: 40000, dport: 53 }

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

describe.each(families)('IPv$family', ({ a, b, c }) => {
  const toB = { source: a, target: b, proto: UDP, ...ports }
  const toC = { source: a, target: c, proto: UDP, ...ports }
  const sentTo = (dst: string) => udpPacket(links.fromA, { src: a, dst }, ports)

  test('a row of another incarnation of the sender is not there', () => {
    world.check({
      what: 'a → c, the row is of who had the address before',
      program: 'sb_from_pod',
      maps: {
        sb_flows: [
          [keyOf(toC), flowRow({ ...stack, sourceIncarnation: INCARNATION_A - 1 })],
          [keyOf(reverse(toC)), flowRow({ ...stackBack, targetIncarnation: INCARNATION_A - 1 })],
        ],
      },
      packet: sentTo(c),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_OVERLAY },
        packetOut: 'any',
        maps: {
          sb_flows: {
            changed: [
              [keyOf(toC), flowExpected({ ...remote, flags: FLOW_SEEN })],
              [keyOf(reverse(toC)), flowExpected(remoteBack)],
            ],
          },
          sb_counters: counted('from_pod', 'PASS_NODE'),
        },
      },
    })
  })

  test('a row of another incarnation of the receiver is not there', () => {
    world.check({
      what: 'a → b, b is a new pod on the old address',
      program: 'sb_from_pod',
      maps: {
        sb_endpoints: [[b, { ...podB, incarnation: INCARNATION_B + 1 }]],
        sb_flows: [[keyOf(toB), flowRow(local)]],
      },
      packet: sentTo(b),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_B },
        packetOut: 'any',
        maps: {
          sb_flows: {
            changed: [
              [keyOf(toB), { targetIncarnation: INCARNATION_B + 1, created: (c: number) => c > 0 }],
            ],
            added: [[keyOf(reverse(toB)), { sourceIncarnation: INCARNATION_B + 1 }]],
          },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('in another generation a short way is chosen again and the rows keep their age', () => {
    world.check({
      what: 'a → c, the range has moved to node 2',
      program: 'sb_from_pod',
      maps: {
        sb_config: [[0, { ...readyConfig, generation: GENERATION + 1 }]],
        sb_flows: [
          [keyOf(toC), flowRow({ ...remote, node: 9, flags: FLOW_SEEN })],
          [keyOf(reverse(toC)), flowRow({ ...remoteBack, sourceNode: 9, flags: FLOW_SEEN })],
        ],
      },
      packet: sentTo(c),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_OVERLAY },
        packetOut: 'any',
        maps: {
          sb_flows: {
            changed: [
              [
                keyOf(toC),
                {
                  ...flowRow({ ...remote, generation: GENERATION + 1, flags: FLOW_SEEN }),
                  seen: (s: number) => s > 0,
                },
              ],
              [
                keyOf(reverse(toC)),
                {
                  ...flowRow({ ...remoteBack, generation: GENERATION + 1, flags: FLOW_SEEN }),
                  seen: (s: number) => s > 0,
                },
              ],
            ],
          },
          sb_counters: counted('from_pod', 'PASS_NODE'),
        },
      },
    })
  })

  test('a SYN on the row of an ended connection begins another one', () => {
    const flow = { source: a, target: b, proto: TCP, sport: 40000, dport: 80 }
    world.check({
      what: 'a → b, SYN after RST',
      program: 'sb_from_pod',
      maps: {
        sb_flows: [
          [keyOf(flow), flowRow({ ...local, kind: 'stack', flags: 9 })],
          [keyOf(reverse(flow)), flowRow({ ...localBack, kind: 'stack', flags: 9 })],
        ],
      },
      packet: tcpPacket(links.fromA, { src: a, dst: b }, flow, ['syn']),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_B },
        packetOut: tcpPacket(links.toB, { src: a, dst: b, ttl: 63 }, flow, ['syn']),
        maps: {
          sb_flows: {
            changed: [
              [keyOf(flow), flowExpected(local)],
              [keyOf(reverse(flow)), flowExpected(localBack)],
            ],
          },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('FIN and RST are noted in both rows', () => {
    const flow = { source: a, target: b, proto: TCP, sport: 40000, dport: 80 }
    const rows = [
      [keyOf(flow), flowRow(local)],
      [keyOf(reverse(flow)), flowRow(localBack)],
    ] as const
    const check = (flags: readonly ('fin' | 'rst' | 'ack')[], own: number, other: number) =>
      world.check({
        what: `a → b, ${flags.join('+')}`,
        program: 'sb_from_pod',
        maps: { sb_flows: rows },
        packet: tcpPacket(links.fromA, { src: a, dst: b }, flow, flags),
        expect: {
          verdict: 'redirect',
          redirect: () => true,
          packetOut: 'any',
          maps: {
            sb_flows: {
              changed: [
                [keyOf(flow), { flags: own }],
                [keyOf(reverse(flow)), { flags: other }],
              ],
            },
            sb_counters: counted('from_pod', 'PASS_LOCAL'),
          },
        },
      })
    check(['fin', 'ack'], FLOW_SEEN | 2, 4)
    check(['rst'], 8, 8)
  })
})
