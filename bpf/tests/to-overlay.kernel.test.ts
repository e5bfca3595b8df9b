// sb_to_overlay by packet vectors: what the stack sends to other nodes gets a tunnel key; finished packets pass.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { FLOW_SEEN } from '../src/layouts.ts'
import { eth } from '../testing/index.ts'
import { links, udpPacket } from './packets.ts'
import {
  counted,
  families,
  flowExpected,
  flowRow,
  GENERATION,
  INCARNATION_A,
  ipv4,
  keyOf,
  loadWorld,
  NODE_2,
  reverse,
  SB_DONE,
  VNI,
  type World,
} from './world.ts'

const UDP = 17
const ports = { sport: 40000, dport: 53 }
const keySet = { source: ipv4.node1, destination: ipv4.node2, vni: VNI, ttl: 64 }
const untouched = { source: '::', destination: '::', vni: 0, tos: 0, ttl: 0, flags: 0 } as const

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

describe.each(families)('IPv$family', ({ a, c, own1, node2 }) => {
  const sent = (src: string, link = links.out) => udpPacket(link, { src, dst: c, tos: 0x2 }, ports)

  test('a finished packet passes and the mark is taken off', () => {
    world.check({
      what: 'a → c, sent on by sb_from_pod',
      program: 'vector_to_overlay',
      packet: sent(a),
      maps: { test_tunnel: [[0, untouched]] },
      ctx: { mark: SB_DONE | 0x100 },
      expect: {
        verdict: 'next',
        ctx: { mark: 0x100 },
        maps: { sb_counters: counted('to_overlay', 'PASS_DONE'), test_tunnel: {} },
      },
    })
  })

  test.each([
    ['the node', own1, 0],
    ['a pod, through the stack,', a, INCARNATION_A],
  ])(
    'the first packet of %s gets its key; both directions are on the stack way',
    (_w, src, inc) => {
      const flow = { source: src, target: c, proto: UDP, ...ports }
      world.check({
        what: `${src} → c`,
        program: 'vector_to_overlay',
        packet: sent(src, eth({ src: '02:00:00:00:00:01', dst: '02:00:00:00:00:02' })),
        maps: { test_tunnel: [[0, untouched]] },
        expect: {
          verdict: 'next',
          packetOut: sent(src),
          maps: {
            sb_flows: {
              added: [
                [
                  keyOf(flow),
                  flowExpected({
                    kind: 'stack',
                    node: NODE_2,
                    sourceIncarnation: inc,
                    flags: FLOW_SEEN,
                  }),
                ],
                [
                  keyOf(reverse(flow)),
                  flowExpected({ kind: 'stack', sourceNode: NODE_2, targetIncarnation: inc }),
                ],
              ],
            },
            sb_counters: counted('to_overlay', 'PASS_NODE'),
            test_tunnel: { changed: [[0, { ...keySet, tos: 2 }]] },
          },
        },
      })
    },
  )

  test('later packets follow the row, whose node is looked up again in another generation', () => {
    const flow = { source: own1, target: c, proto: UDP, ...ports }
    const row = { kind: 'stack', node: NODE_2 } as const
    world.check({
      what: 'node → c again',
      program: 'vector_to_overlay',
      packet: sent(own1),
      maps: { test_tunnel: [[0, untouched]], sb_flows: [[keyOf(flow), flowRow(row)]] },
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: { changed: [[keyOf(flow), { flags: FLOW_SEEN }]] },
          sb_counters: counted('to_overlay', 'PASS_NODE'),
          test_tunnel: { changed: [[0, keySet]] },
        },
      },
    })
    world.check({
      what: 'node → c, row of an older generation',
      program: 'vector_to_overlay',
      packet: sent(own1),
      maps: {
        test_tunnel: [[0, untouched]],
        sb_flows: [[keyOf(flow), flowRow({ ...row, node: 3, generation: GENERATION - 1 })]],
      },
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: {
            changed: [
              [
                keyOf(flow),
                { ...flowRow({ ...row, flags: FLOW_SEEN }), seen: (s: number) => s > 0 },
              ],
            ],
            added: [[keyOf(reverse(flow)), flowExpected({ kind: 'stack', sourceNode: NODE_2 })]],
          },
          sb_counters: counted('to_overlay', 'PASS_NODE'),
          test_tunnel: { changed: [[0, keySet]] },
        },
      },
    })
  })

  test('a flow on the short way that comes through the stack changes over', () => {
    const flow = { source: a, target: c, proto: UDP, ...ports }
    world.check({
      what: 'a → c through the stack',
      program: 'vector_to_overlay',
      packet: sent(a),
      maps: {
        sb_flows: [
          [keyOf(flow), flowRow({ kind: 'node', node: NODE_2, sourceIncarnation: INCARNATION_A })],
          [
            keyOf(reverse(flow)),
            flowRow({ kind: 'local', targetIncarnation: INCARNATION_A, sourceNode: NODE_2 }),
          ],
        ],
      },
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: {
            changed: [
              [
                keyOf(flow),
                {
                  ...flowRow({
                    kind: 'stack',
                    node: NODE_2,
                    sourceIncarnation: INCARNATION_A,
                    flags: FLOW_SEEN,
                  }),
                  seen: (s: number) => s > 0,
                },
              ],
              [
                keyOf(reverse(flow)),
                {
                  ...flowRow({
                    kind: 'stack',
                    targetIncarnation: INCARNATION_A,
                    sourceNode: NODE_2,
                  }),
                  seen: (s: number) => s > 0,
                },
              ],
            ],
          },
          sb_counters: counted('to_overlay', 'PASS_NODE'),
        },
      },
    })
  })

  test("answers to another node's InternalIP that came by the overlay go back by it", () => {
    const flow = { source: own1, target: node2, proto: UDP, ...ports }
    world.check({
      what: 'node → InternalIP of node 2, routed to the overlay',
      program: 'vector_to_overlay',
      packet: udpPacket(links.out, { src: own1, dst: node2 }, ports),
      maps: { test_tunnel: [[0, untouched]] },
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: {
            added: [
              [keyOf(flow), flowExpected({ kind: 'stack', node: NODE_2, flags: FLOW_SEEN })],
              [keyOf(reverse(flow)), flowExpected({ kind: 'stack', sourceNode: NODE_2 })],
            ],
          },
          sb_counters: counted('to_overlay', 'PASS_NODE'),
          test_tunnel: { changed: [[0, { ...keySet, tos: 0 }]] },
        },
      },
    })
  })
})
