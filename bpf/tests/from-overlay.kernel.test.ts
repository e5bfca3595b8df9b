// sb_from_overlay by packet vectors: what other nodes send, whose it may be, and where it goes.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { CONFIG_READY, CONFIG_TUNNEL_IPV6, FLOW_SEEN } from '../src/layouts.ts'
import { eth } from '../testing/index.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import {
  counted,
  families,
  flowExpected,
  flowRow,
  GENERATION,
  IFINDEX_HERE,
  INCARNATION_A,
  ipv4,
  ipv6,
  keyOf,
  loadWorld,
  MTU,
  mac,
  NODE_2,
  type RowSpec,
  readyConfig,
  reverse,
  VNI,
  type World,
} from './world.ts'

const UDP = 17
const TCP = 6
const ports = { sport: 40000, dport: 53 }
const tunnel = { source: ipv4.node2, destination: ipv4.node1, vni: VNI, tos: 0, ttl: 64, flags: 0 }

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

const local: RowSpec = { kind: 'local', targetIncarnation: INCARNATION_A, sourceNode: NODE_2 }
const localBack: RowSpec = { kind: 'node', node: NODE_2, sourceIncarnation: INCARNATION_A }
/** PACKET_HOST; a test run begins with PACKET_OTHERHOST. */
const isForHost = ([, , type]: readonly number[]) => type === 0
const peerA = { kind: 'peer', ifindex: IFINDEX_HERE } as const

describe.each(families)('IPv$family', ({ family, a, c, own1, own2, node1, node2 }) => {
  const toA = { source: c, target: a, proto: UDP, ...ports }
  const arrives = (ttl?: number) =>
    udpPacket(links.in, { src: c, dst: a, ...(ttl === undefined ? {} : { ttl }) }, ports)
  const delivered = (src = c) => udpPacket(links.toA, { src, dst: a, ttl: 63 }, ports)

  test('the first packet for a pod makes both rows and goes in by its peer', () => {
    world.check({
      what: 'c → a',
      program: 'vector_from_overlay',
      packet: arrives(),
      ctx: { mark: 0x1234, tstamp: 99n },
      expect: {
        verdict: 'redirect',
        redirect: peerA,
        packetOut: delivered(),
        ctx: { mark: 0, tstamp: 0n, cb: isForHost },
        maps: {
          sb_flows: {
            added: [
              [keyOf(toA), flowExpected({ ...local, flags: FLOW_SEEN })],
              [keyOf(reverse(toA)), flowExpected(localBack)],
            ],
          },
          sb_counters: counted('from_overlay', 'PASS_LOCAL', arrives().length),
        },
      },
    })
  })

  test('later packets follow the row', () => {
    world.check({
      what: 'c → a again',
      program: 'vector_from_overlay',
      maps: { sb_flows: [[keyOf(toA), flowRow(local)]] },
      packet: arrives(),
      expect: {
        verdict: 'redirect',
        redirect: peerA,
        packetOut: delivered(),
        maps: {
          sb_flows: { changed: [[keyOf(toA), { flags: FLOW_SEEN }]] },
          sb_counters: counted('from_overlay', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('a packet whose inner MAC is nobody else is still for this host', () => {
    const packet = udpPacket(
      eth({ src: mac.overlay2, dst: '02:00:00:00:99:99' }),
      { src: c, dst: a },
      ports,
    )
    world.check({
      what: 'c → a with another MAC',
      program: 'vector_from_overlay',
      packet,
      expect: {
        verdict: 'redirect',
        redirect: peerA,
        packetOut: delivered(),
        ctx: { cb: isForHost },
        maps: {
          sb_flows: {
            added: [
              [keyOf(toA), flowExpected({ ...local, flags: FLOW_SEEN })],
              [keyOf(reverse(toA)), flowExpected(localBack)],
            ],
          },
          sb_counters: counted('from_overlay', 'PASS_LOCAL'),
        },
      },
    })
  })

  test.each([
    ['IPv4 first', ipv6.node2, CONFIG_READY],
    ['IPv6 first', ipv4.node2, CONFIG_READY | CONFIG_TUNNEL_IPV6],
    ['IPv6 first and right', ipv6.node2, CONFIG_READY | CONFIG_TUNNEL_IPV6],
  ])('the outer source may be of either family (%s)', (_what, source, flags) => {
    world.check({
      what: 'c → a',
      program: 'vector_from_overlay',
      maps: {
        sb_config: [[0, { ...readyConfig, flags }]],
        sb_flows: [[keyOf(toA), flowRow({ ...local, flags: FLOW_SEEN })]],
        test_tunnel: [[0, { ...tunnel, source }]],
      },
      packet: arrives(),
      expect: {
        verdict: 'redirect',
        redirect: peerA,
        packetOut: delivered(),
        maps: {
          sb_flows: { changed: [[keyOf(toA), { flags: FLOW_SEEN }]] },
          sb_counters: counted('from_overlay', 'PASS_LOCAL'),
        },
      },
    })
  })

  test.each([
    ['its own address in the pod network', own2],
    ['its InternalIP', node2],
  ])('a node itself may talk to pods, from %s, and is answered through the tunnel', (_w, src) => {
    const flow = { source: src, target: a, proto: UDP, ...ports }
    world.check({
      what: `${src} → a`,
      program: 'vector_from_overlay',
      packet: udpPacket(links.in, { src, dst: a }, ports),
      expect: {
        verdict: 'redirect',
        redirect: peerA,
        packetOut: delivered(src),
        maps: {
          sb_flows: {
            added: [
              [keyOf(flow), flowExpected({ ...local, flags: FLOW_SEEN })],
              [keyOf(reverse(flow)), flowExpected(localBack)],
            ],
          },
          sb_counters: counted('from_overlay', 'PASS_LOCAL'),
        },
      },
    })
  })

  test.each([
    ['pod network', own1],
    ['InternalIP', node1],
  ])("this node's own address (%s) is the stack's", (_what, dst) => {
    const flow = { source: c, target: dst, proto: UDP, ...ports }
    world.check({
      what: `c → ${dst}`,
      program: 'vector_from_overlay',
      packet: udpPacket(links.in, { src: c, dst }, ports),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: {
            added: [
              [keyOf(flow), flowExpected({ kind: 'stack', sourceNode: NODE_2, flags: FLOW_SEEN })],
              [keyOf(reverse(flow)), flowExpected({ kind: 'stack', node: NODE_2 })],
            ],
          },
          sb_counters: counted('from_overlay', 'PASS_STACK'),
        },
      },
    })
  })

  test('a flow on the stack way goes to the stack, untouched', () => {
    world.check({
      what: 'c → a, the answer of a translated connection',
      program: 'vector_from_overlay',
      maps: { sb_flows: [[keyOf(toA), flowRow({ ...local, kind: 'stack' })]] },
      packet: arrives(),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: { changed: [[keyOf(toA), { flags: FLOW_SEEN }]] },
          sb_counters: counted('from_overlay', 'PASS_STACK'),
        },
      },
    })
  })

  test('… in another generation too, but its source is judged again', () => {
    const old = { ...local, kind: 'stack', generation: GENERATION - 1 } as const
    const row = flowRow({ ...local, kind: 'stack', flags: FLOW_SEEN })
    const back = flowRow({ ...localBack, kind: 'stack' })
    world.check({
      what: 'c → a, row of an older generation',
      program: 'vector_from_overlay',
      maps: { sb_flows: [[keyOf(toA), flowRow(old)]] },
      packet: arrives(),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: {
            changed: [[keyOf(toA), { ...row, seen: (s: number) => s > 0 }]],
            added: [[keyOf(reverse(toA)), { ...back, seen: () => true, created: () => true }]],
          },
          sb_counters: counted('from_overlay', 'PASS_STACK'),
        },
      },
    })
    world.check({
      what: 'c → a, the range is no longer of node 2',
      program: 'vector_from_overlay',
      maps: {
        sb_flows: [[keyOf(toA), flowRow(old)]],
        sb_ipcache: families.flatMap(({ ranges }) =>
          ranges.map(
            ([prefix, prefixLen]) =>
              [
                { prefixLen, addr: prefix },
                { node: 3, identity: 0, flags: 0 },
              ] as const,
          ),
        ),
      },
      packet: arrives(),
      expect: {
        verdict: 'shot',
        maps: { sb_counters: counted('from_overlay', 'DROP_FOREIGN_SOURCE') },
      },
    })
  })

  test('a row for another incarnation of the pod is not there', () => {
    world.check({
      what: 'c → a, row of who had the address before',
      program: 'vector_from_overlay',
      maps: {
        sb_flows: [
          [keyOf(toA), flowRow({ ...local, kind: 'stack', targetIncarnation: INCARNATION_A - 1 })],
        ],
      },
      packet: arrives(),
      expect: {
        verdict: 'redirect',
        redirect: peerA,
        packetOut: delivered(),
        maps: {
          sb_flows: {
            changed: [[keyOf(toA), flowExpected({ ...local, flags: FLOW_SEEN })]],
            added: [[keyOf(reverse(toA)), flowExpected(localBack)]],
          },
          sb_counters: counted('from_overlay', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('a TCP packet from the middle of an unknown connection takes the stack', () => {
    const flow = { source: c, target: a, proto: TCP, sport: 80, dport: 40000 }
    const stack = { kind: 'stack', targetIncarnation: INCARNATION_A, sourceNode: NODE_2 } as const
    const back = { kind: 'stack', node: NODE_2, sourceIncarnation: INCARNATION_A } as const
    world.check({
      what: 'c → a, ACK without a row',
      program: 'vector_from_overlay',
      packet: tcpPacket(links.in, { src: c, dst: a }, flow, ['ack'], 10),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: {
            added: [
              [keyOf(flow), flowExpected({ ...stack, flags: FLOW_SEEN })],
              [keyOf(reverse(flow)), flowExpected(back)],
            ],
          },
          sb_counters: counted('from_overlay', 'PASS_STACK'),
        },
      },
    })
  })

  test('TTL 1 and what is above the MTU of the pod go to the stack', () => {
    const headers = (family === 4 ? 20 : 40) + 8
    for (const [packet, outcome] of [
      [arrives(1), 'PASS_STACK_TTL'],
      [udpPacket(links.in, { src: c, dst: a }, ports, MTU + 1 - headers), 'PASS_STACK_MTU'],
    ] as const) {
      world.check({
        what: outcome,
        program: 'vector_from_overlay',
        maps: { sb_flows: [[keyOf(toA), flowRow(local)]] },
        packet,
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { changed: [[keyOf(toA), { flags: FLOW_SEEN }]] },
            sb_counters: counted('from_overlay', outcome),
          },
        },
      })
    }
  })
})
