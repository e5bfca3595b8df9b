// One packet's life, hop by hop over two nodes: the short way there and back, and a connection somebody translates.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { runScenario } from '../testing/index.ts'
import { links, tcpPacket } from './packets.ts'
import {
  counted,
  families,
  flowRow,
  IFINDEX_HERE,
  IFINDEX_OVERLAY,
  INCARNATION_A,
  INCARNATION_B,
  INCARNATION_C,
  keyOf,
  loadWorld,
  NODE_1,
  NODE_2,
  node2Rows,
  podB,
  reverse,
  SB_DONE,
  type World,
} from './world.ts'

const TCP = 6
const CLIENT = 40000
const SERVER = 80
const there = { sport: CLIENT, dport: SERVER }
const back = { sport: SERVER, dport: CLIENT }

let one: World
let two: World
beforeAll(async () => {
  one = await loadWorld()
  two = await loadWorld({ rows: node2Rows })
})
afterAll(() => {
  one?.close()
  two?.close()
})

const any = { seen: () => true, created: () => true, flags: () => true }
const peer = { kind: 'peer', ifindex: IFINDEX_HERE } as const
const overlay = { kind: 'device', ifindex: IFINDEX_OVERLAY } as const
/** What the kernel's stack hands to the next device, translated or not: one hop less, its own MACs. */
const forwarded = (packet: Uint8Array) => () => packet

describe.each(families)('IPv$family', ({ a, b, c, service }) => {
  test('a connection from a pod to a pod of another node, and its answer', () => {
    const flow = { source: a, target: c, proto: TCP, ...there }
    const out = { kind: 'node', node: NODE_2, sourceIncarnation: INCARNATION_A } as const
    const outBack = { kind: 'local', targetIncarnation: INCARNATION_A, sourceNode: NODE_2 } as const
    const into = { kind: 'local', targetIncarnation: INCARNATION_C, sourceNode: NODE_1 } as const
    const intoBack = { kind: 'node', node: NODE_1, sourceIncarnation: INCARNATION_C } as const
    runScenario('a → c and back', [
      {
        what: 'a sends its SYN; node 1 puts it into the tunnel',
        at: one,
        program: 'sb_from_pod',
        packet: tcpPacket(links.fromA, { src: a, dst: c }, there, ['syn']),
        expect: {
          verdict: 'redirect',
          redirect: overlay,
          ctx: { mark: SB_DONE },
          packetOut: tcpPacket(links.out, { src: a, dst: c, ttl: 63 }, there, ['syn']),
          maps: {
            sb_flows: {
              added: [
                [keyOf(flow), { ...flowRow(out), ...any }],
                [keyOf(reverse(flow)), { ...flowRow(outBack), ...any }],
              ],
            },
            sb_counters: counted('from_pod', 'PASS_NODE'),
          },
        },
      },
      {
        what: 'the overlay device finds it finished',
        at: one,
        program: 'sb_to_overlay',
        ctx: { mark: SB_DONE },
        expect: {
          verdict: 'next',
          ctx: { mark: 0 },
          maps: { sb_counters: counted('to_overlay', 'PASS_DONE') },
        },
      },
      {
        what: 'node 2 takes it out of the tunnel and into c',
        at: two,
        program: 'vector_from_overlay',
        expect: {
          verdict: 'redirect',
          redirect: peer,
          packetOut: tcpPacket(links.toC, { src: a, dst: c, ttl: 62 }, there, ['syn']),
          maps: {
            sb_flows: {
              added: [
                [keyOf(flow), { ...flowRow(into), ...any }],
                [keyOf(reverse(flow)), { ...flowRow(intoBack), ...any }],
              ],
            },
            sb_counters: counted('from_overlay', 'PASS_LOCAL'),
          },
        },
      },
      {
        what: 'c answers; node 2 follows its row',
        at: two,
        program: 'sb_from_pod',
        packet: tcpPacket(links.fromC, { src: c, dst: a }, back, ['syn', 'ack']),
        expect: {
          verdict: 'redirect',
          redirect: overlay,
          packetOut: tcpPacket(links.in, { src: c, dst: a, ttl: 63 }, back, ['syn', 'ack']),
          maps: {
            sb_flows: { changed: [[keyOf(reverse(flow)), { ...flowRow(intoBack), ...any }]] },
            sb_counters: counted('from_pod', 'PASS_NODE'),
          },
        },
      },
      {
        what: 'node 1 follows its row into a',
        at: one,
        program: 'vector_from_overlay',
        expect: {
          verdict: 'redirect',
          redirect: peer,
          packetOut: tcpPacket(links.toA, { src: c, dst: a, ttl: 62 }, back, ['syn', 'ack']),
          maps: {
            sb_flows: { changed: [[keyOf(reverse(flow)), { ...flowRow(outBack), ...any }]] },
            sb_counters: counted('from_overlay', 'PASS_LOCAL'),
          },
        },
      },
    ])
  })

  test('a connection to a service that the kernel sends to a pod of another node', () => {
    const asked = { source: a, target: service, proto: TCP, ...there }
    const real = { source: a, target: c, proto: TCP, ...there }
    const fromA = { sourceIncarnation: INCARNATION_A }
    const toA = { targetIncarnation: INCARNATION_A }
    runScenario('a → service → c and back', [
      {
        what: 'a asks for the service: nobody of ours, so the stack',
        at: one,
        program: 'sb_from_pod',
        packet: tcpPacket(links.fromA, { src: a, dst: service }, there, ['syn']),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: {
              added: [
                [keyOf(asked), { ...flowRow({ kind: 'stack', ...fromA }), ...any }],
                [keyOf(reverse(asked)), { ...flowRow({ kind: 'stack', ...toA }), ...any }],
              ],
            },
            sb_counters: counted('from_pod', 'PASS_STACK'),
          },
        },
      },
      {
        what: 'the kernel has made it a packet for c and sends it to the overlay',
        at: one,
        program: 'sb_to_overlay',
        packet: forwarded(tcpPacket(links.out, { src: a, dst: c, ttl: 63 }, there, ['syn'])),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: {
              added: [
                [keyOf(real), { ...flowRow({ kind: 'stack', node: NODE_2, ...fromA }), ...any }],
                [
                  keyOf(reverse(real)),
                  { ...flowRow({ kind: 'stack', sourceNode: NODE_2, ...toA }), ...any },
                ],
              ],
            },
            sb_counters: counted('to_overlay', 'PASS_NODE'),
          },
        },
      },
      {
        what: 'for node 2 it is an ordinary connection',
        at: two,
        program: 'vector_from_overlay',
        expect: {
          verdict: 'redirect',
          redirect: peer,
          packetOut: tcpPacket(links.toC, { src: a, dst: c, ttl: 62 }, there, ['syn']),
          maps: {
            sb_flows: {
              added: [
                [keyOf(real), { sourceNode: NODE_1 }],
                [keyOf(reverse(real)), { sourceIncarnation: INCARNATION_C }],
              ],
            },
            sb_counters: counted('from_overlay', 'PASS_LOCAL'),
          },
        },
      },
      {
        what: 'c answers by the short way',
        at: two,
        program: 'sb_from_pod',
        packet: tcpPacket(links.fromC, { src: c, dst: a }, back, ['syn', 'ack']),
        expect: {
          verdict: 'redirect',
          redirect: overlay,
          packetOut: tcpPacket(links.in, { src: c, dst: a, ttl: 63 }, back, ['syn', 'ack']),
          maps: {
            sb_flows: { changed: [[keyOf(reverse(real)), any]] },
            sb_counters: counted('from_pod', 'PASS_NODE'),
          },
        },
      },
      {
        what: 'node 1 leaves it to the kernel, which knows the service',
        at: one,
        program: 'vector_from_overlay',
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { changed: [[keyOf(reverse(real)), any]] },
            sb_counters: counted('from_overlay', 'PASS_STACK'),
          },
        },
      },
      {
        what: 'and a gets an answer from the service',
        at: one,
        program: 'sb_to_pod',
        packet: forwarded(
          tcpPacket(links.toA, { src: service, dst: a, ttl: 62 }, back, ['syn', 'ack']),
        ),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { changed: [[keyOf(reverse(asked)), any]] },
            sb_counters: counted('to_pod', 'PASS_STACK'),
          },
        },
      },
    ])
  })

  test('a connection to a service that the kernel sends to a pod of the same node', () => {
    const real = { source: a, target: b, proto: TCP, ...there }
    const both = { sourceIncarnation: INCARNATION_A, targetIncarnation: INCARNATION_B }
    const answers = { sourceIncarnation: INCARNATION_B, targetIncarnation: INCARNATION_A }
    const asked = { source: a, target: service, proto: TCP, ...there }
    // Both pods take turns behind the one device a test run has.
    const bHere = { sb_endpoints: [[b, { ...podB, ifindex: IFINDEX_HERE }]] } as const
    runScenario('a → service → b and back', [
      {
        what: 'a asks for the service',
        at: one,
        program: 'sb_from_pod',
        maps: bHere,
        packet: tcpPacket(links.fromA, { src: a, dst: service }, there, ['syn']),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: {
              added: [
                [keyOf(asked), any],
                [keyOf(reverse(asked)), any],
              ],
            },
            sb_counters: counted('from_pod', 'PASS_STACK'),
          },
        },
      },
      {
        what: 'the kernel hands it to b: both directions are on the stack way from now on',
        at: one,
        program: 'sb_to_pod',
        packet: forwarded(tcpPacket(links.toB, { src: a, dst: b, ttl: 63 }, there, ['syn'])),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: {
              added: [
                [keyOf(real), { ...flowRow({ kind: 'stack', ...both }), ...any }],
                [keyOf(reverse(real)), { ...flowRow({ kind: 'stack', ...answers }), ...any }],
              ],
            },
            sb_counters: counted('to_pod', 'PASS_STACK'),
          },
        },
      },
      {
        what: 'b answers a: a redirect here would skip the translation back',
        at: one,
        program: 'sb_from_pod',
        packet: tcpPacket(links.fromB, { src: b, dst: a }, back, ['syn', 'ack']),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { changed: [[keyOf(reverse(real)), any]] },
            sb_counters: counted('from_pod', 'PASS_STACK', undefined, 2),
          },
        },
      },
      {
        what: 'and a gets an answer from the service',
        at: one,
        program: 'sb_to_pod',
        packet: forwarded(
          tcpPacket(links.toA, { src: service, dst: a, ttl: 63 }, back, ['syn', 'ack']),
        ),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { changed: [[keyOf(reverse(asked)), any]] },
            sb_counters: counted('to_pod', 'PASS_STACK', undefined, 2),
          },
        },
      },
    ])
  })
})
