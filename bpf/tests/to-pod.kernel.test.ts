// sb_to_pod by packet vectors: what comes through the stack puts its flow on the stack way, both directions.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { FLOW_SEEN } from '../src/layouts.ts'
import {
  arp,
  eth,
  ip,
  neighbourSolicitation,
  packet,
  portUnreachable,
  udp,
} from '../testing/index.ts'
import { links, udpPacket } from './packets.ts'
import {
  counted,
  families,
  flowExpected,
  flowRow,
  INCARNATION_A,
  INCARNATION_B,
  ipv4,
  ipv6,
  keyOf,
  loadWorld,
  mac,
  NODE_2,
  reverse,
  type World,
} from './world.ts'

const UDP = 17
const ports = { sport: 53, dport: 40000 }

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

describe.each(families)('IPv$family', ({ a, b, c, own1, stranger, multicast, vacant }) => {
  const toA = (src: string) => udpPacket(links.toA, { src, dst: a }, ports)

  test.each([
    ['the node', own1, 0],
    ['outside', stranger, 0],
    ['a pod of this node', b, INCARNATION_B],
  ])(
    'the first packet from %s puts both directions on the stack way',
    (_what, src, incarnation) => {
      const flow = { source: src, target: a, proto: UDP, ...ports }
      world.check({
        what: `${src} → a`,
        program: 'sb_to_pod',
        packet: toA(src),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: {
              added: [
                [
                  keyOf(flow),
                  flowExpected({
                    kind: 'stack',
                    sourceIncarnation: incarnation,
                    targetIncarnation: INCARNATION_A,
                    flags: FLOW_SEEN,
                  }),
                ],
                [
                  keyOf(reverse(flow)),
                  flowExpected({
                    kind: 'stack',
                    sourceIncarnation: INCARNATION_A,
                    targetIncarnation: incarnation,
                  }),
                ],
              ],
            },
            sb_counters: counted('to_pod', 'PASS_STACK', toA(src).length),
          },
        },
      })
    },
  )

  test('a later packet renews its row', () => {
    const flow = { source: stranger, target: a, proto: UDP, ...ports }
    world.check({
      what: 'stranger → a again',
      program: 'sb_to_pod',
      maps: {
        sb_flows: [[keyOf(flow), flowRow({ kind: 'stack', targetIncarnation: INCARNATION_A })]],
      },
      packet: toA(stranger),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: { changed: [[keyOf(flow), { flags: FLOW_SEEN, seen: (s: number) => s > 0 }]] },
          sb_counters: counted('to_pod', 'PASS_STACK'),
        },
      },
    })
  })

  test('a row of another incarnation of the pod is not there', () => {
    const flow = { source: stranger, target: a, proto: UDP, ...ports }
    world.check({
      what: 'stranger → a, row of who had the address before',
      program: 'sb_to_pod',
      maps: {
        sb_flows: [[keyOf(flow), flowRow({ kind: 'stack', targetIncarnation: INCARNATION_A - 1 })]],
      },
      packet: toA(stranger),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: {
            changed: [
              [
                keyOf(flow),
                flowExpected({ kind: 'stack', targetIncarnation: INCARNATION_A, flags: FLOW_SEEN }),
              ],
            ],
            added: [
              [
                keyOf(reverse(flow)),
                flowExpected({ kind: 'stack', sourceIncarnation: INCARNATION_A }),
              ],
            ],
          },
          sb_counters: counted('to_pod', 'PASS_STACK'),
        },
      },
    })
  })

  test('a flow on the short way whose packet comes through the stack changes over, both ways', () => {
    const flow = { source: c, target: a, proto: UDP, ...ports }
    world.check({
      what: 'c → a, translated by somebody',
      program: 'sb_to_pod',
      maps: {
        sb_flows: [
          [
            keyOf(flow),
            flowRow({ kind: 'local', targetIncarnation: INCARNATION_A, sourceNode: NODE_2 }),
          ],
          [
            keyOf(reverse(flow)),
            flowRow({ kind: 'node', node: NODE_2, sourceIncarnation: INCARNATION_A }),
          ],
        ],
      },
      packet: toA(c),
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
                    targetIncarnation: INCARNATION_A,
                    sourceNode: NODE_2,
                    flags: FLOW_SEEN,
                  }),
                  seen: (s: number) => s > 0,
                },
              ],
              [
                keyOf(reverse(flow)),
                {
                  ...flowRow({ kind: 'stack', node: NODE_2, sourceIncarnation: INCARNATION_A }),
                  seen: (s: number) => s > 0,
                },
              ],
            ],
          },
          sb_counters: counted('to_pod', 'PASS_STACK'),
        },
      },
    })
  })

  test.each([
    ['multicast', own1, multicast],
    ['an address that is not the pod behind the device', own1, vacant],
    ['another pod behind another device', own1, b],
  ])('%s passes without a row', (what, src, dst) => {
    world.check({
      what,
      program: 'sb_to_pod',
      packet: udpPacket(links.toA, { src, dst }, ports),
      expect: { verdict: 'next', maps: { sb_counters: counted('to_pod', 'PASS_UNTRACKED') } },
    })
  })

  test('an ICMP error passes without a row', () => {
    world.check({
      what: 'port unreachable',
      program: 'sb_to_pod',
      packet: packet(
        links.toA,
        ip({ src: stranger, dst: a }),
        portUnreachable(),
        ip({ src: a, dst: stranger }),
        udp({ sport: 1, dport: 2 }),
      ),
      expect: { verdict: 'next', maps: { sb_counters: counted('to_pod', 'PASS_STACK_ERROR') } },
    })
  })
})

test("the kernel's ARP and neighbour discovery pass", () => {
  const broadcast = eth({ src: mac.aHost, dst: 'ff:ff:ff:ff:ff:ff' })
  const request = { op: 'request', senderMac: mac.aHost, senderIp: ipv4.linkLocal } as const
  for (const sent of [
    packet(broadcast, arp({ ...request, targetIp: ipv4.a })),
    packet(
      links.toA,
      ip({ src: ipv6.linkLocal, dst: ipv6.a, ttl: 255 }),
      neighbourSolicitation({ target: ipv6.a, mac: mac.aHost }),
    ),
  ]) {
    world.check({
      what: 'who has a',
      program: 'sb_to_pod',
      packet: sent,
      expect: { verdict: 'next', maps: { sb_counters: counted('to_pod', 'PASS_NEIGHBOUR') } },
    })
  }
})
