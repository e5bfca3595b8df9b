// sb_from_uplink by packet vectors: what is the node's own business, what the tunnel's, and pods' packets without a tunnel.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { CONFIG_TRANSLATED, encodeWay, FLOW_SEEN } from '../src/layouts.ts'
import { arp, eth, ip, ip4, type Layer, packet, payload, tooBig, udp } from '../testing/index.ts'
import { links, pingPacket, pongPacket, tcpPacket, udpPacket } from './packets.ts'
import {
  counted,
  families,
  flowExpected,
  flowRow,
  GENERATION,
  IFINDEX_HERE,
  IFINDEX_UPLINK,
  INCARNATION_A,
  ipv4,
  keyOf,
  loadWorld,
  MTU,
  mac,
  NODE_2,
  nativeRows,
  type RowSpec,
  readyConfig,
  reverse,
  SB_DONE,
  TUNNEL_PORT,
  type World,
} from './world.ts'

const TCP = 6
const UDP = 17
const ports = { sport: 40000, dport: 53 }

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

const program = 'sb_from_uplink'
const passes = (outcome: string) => ({
  verdict: 'next' as const,
  maps: { sb_counters: counted('from_uplink', outcome) },
})
/** Rows of a flow that a pod of node 2 opened, on the short way. */
const arrives: RowSpec = { kind: 'local', targetIncarnation: INCARNATION_A, sourceNode: NODE_2 }
const leaves: RowSpec = { kind: 'uplink', node: NODE_2, sourceIncarnation: INCARNATION_A }
const stackIn: RowSpec = { ...arrives, kind: 'stack' }
const stackOut: RowSpec = { kind: 'stack', node: NODE_2, sourceIncarnation: INCARNATION_A }
const peerA = { kind: 'peer', ifindex: IFINDEX_HERE } as const

describe.each(families)('with a tunnel, IPv$family', ({ a, node1, node2, stranger, multicast }) => {
  test.each([
    ['a stranger’s packet to the node', stranger, node1, ports],
    ['a packet to somebody else', stranger, node2, ports],
    ['multicast', node2, multicast, ports],
  ])('%s is the node’s own business', (what, src, dst, to) => {
    const bytes = udpPacket(links.wire, { src, dst }, to)
    world.check({ what, program, packet: bytes, expect: passes('PASS_FOREIGN') })
  })

  test.each([
    ['of a node', node2],
    ['of anybody: the overlay judges', stranger],
    ['even in a pod’s name', a],
  ])('the tunnel’s own packet %s passes before any lookup', (what, src) => {
    const bytes = udpPacket(links.wire, { src, dst: node1 }, { sport: 50000, dport: TUNNEL_PORT })
    world.check({ what, program, packet: bytes, expect: passes('PASS_TUNNEL') })
  })

  test('the tunnel’s port of another address is nothing particular', () => {
    const bytes = udpPacket(
      links.wire,
      { src: node2, dst: stranger },
      { ...ports, dport: TUNNEL_PORT },
    )
    world.check({ what: 'to a stranger', program, packet: bytes, expect: passes('PASS_FOREIGN') })
  })

  test('a node whose agent has not filled the maps is reachable', () => {
    const bytes = udpPacket(links.wire, { src: stranger, dst: node1 }, ports)
    world.check({
      what: 'not ready',
      program,
      maps: { sb_config: [[0, { ...readyConfig, flags: 0 }]] },
      packet: bytes,
      expect: passes('PASS_FOREIGN'),
    })
  })
})

test.each([
  [
    'ARP',
    packet(
      eth({ src: mac.wire2, dst: mac.wire1 }),
      arp({ op: 'request', senderIp: ipv4.node2, senderMac: mac.wire2, targetIp: ipv4.node1 }),
    ),
  ],
  ['what is not IP', packet(eth({ src: mac.wire2, dst: mac.wire1, type: 0x88cc }), payload(46))],
  [
    'an IPv4 header that cannot be',
    packet(links.wire, ip4({ src: ipv4.stranger, dst: ipv4.node1, version: 5 }), udp(ports)),
  ],
])('%s is left to the node', (what, bytes) => {
  for (const maps of [{}, nativeRows]) {
    world.check({ what, program, maps, packet: bytes, expect: passes('PASS_FOREIGN') })
  }
})

describe.each(families)(
  'without a tunnel, IPv$family',
  ({ family, a, c, own2, node1, node2, stranger }) => {
    const syn = { source: c, target: a, proto: TCP, ...ports }
    const both = (spec: typeof syn, row: RowSpec, back: RowSpec, flags = FLOW_SEEN) => [
      [keyOf(spec), flowExpected({ ...row, flags })] as const,
      [keyOf(reverse(spec)), flowExpected(back)] as const,
    ]
    const delivered = udpPacket(links.toA, { src: c, dst: a, ttl: 63 }, ports)
    const tcpIn = (flags: Parameters<typeof tcpPacket>[3], ttl?: number) =>
      tcpPacket(links.wire, { src: c, dst: a, ...(ttl === undefined ? {} : { ttl }) }, ports, flags)

    test('a connection from a pod of a node on the link begins on the short way, both ways', () => {
      world.check({
        what: 'SYN c → a',
        program,
        maps: nativeRows,
        packet: tcpIn(['syn']),
        ctx: { mark: 0x1234, tstamp: 99n },
        expect: {
          verdict: 'redirect',
          redirect: peerA,
          packetOut: tcpPacket(links.toA, { src: c, dst: a, ttl: 63 }, ports, ['syn']),
          ctx: { mark: 0, tstamp: 0n },
          maps: {
            sb_flows: { added: both(syn, arrives, leaves, 0) },
            sb_counters: counted('from_uplink', 'PASS_LOCAL'),
          },
        },
      })
    })

    test('so does a ping, but not its answer', () => {
      const flow = {
        source: c,
        target: a,
        proto: family === 4 ? 1 : 58,
        sport: 7,
        dport: 7,
        icmpClass: 1,
      }
      world.check({
        what: 'echo request',
        program,
        maps: nativeRows,
        packet: pingPacket(links.wire, { src: c, dst: a }, 7),
        expect: {
          verdict: 'redirect',
          redirect: peerA,
          packetOut: pingPacket(links.toA, { src: c, dst: a, ttl: 63 }, 7),
          maps: {
            sb_flows: { added: both(flow, arrives, leaves) },
            sb_counters: counted('from_uplink', 'PASS_LOCAL'),
          },
        },
      })
      world.check({
        what: 'echo reply',
        program,
        maps: nativeRows,
        packet: pongPacket(links.wire, { src: c, dst: a }, 7),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { added: both(flow, stackIn, { ...stackOut, node: NODE_2 }) },
            sb_counters: counted('from_uplink', 'PASS_STACK'),
          },
        },
      })
    })

    test.each([
      [
        'a datagram, which may answer what was translated',
        udpPacket(links.wire, { src: c, dst: a }, ports),
        UDP,
      ],
      [
        'a connection whose beginning was not seen',
        tcpPacket(links.wire, { src: c, dst: a }, ports, ['ack']),
        TCP,
      ],
    ])('%s stays with the stack', (what, bytes, proto) => {
      world.check({
        what,
        program,
        maps: nativeRows,
        packet: bytes,
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { added: both({ ...syn, proto }, stackIn, stackOut) },
            sb_counters: counted('from_uplink', 'PASS_STACK'),
          },
        },
      })
    })

    test('the answer to what a pod sent by the short way arrives by it', () => {
      const flow = { source: c, target: a, proto: UDP, ...ports }
      world.check({
        what: 'answer',
        program,
        maps: { ...nativeRows, sb_flows: [[keyOf(flow), flowRow(arrives)]] },
        packet: udpPacket(links.wire, { src: c, dst: a }, ports),
        expect: {
          verdict: 'redirect',
          redirect: peerA,
          packetOut: udpPacket(links.toA, { src: c, dst: a, ttl: 63 }, ports),
          maps: {
            sb_flows: { changed: [[keyOf(flow), { flags: FLOW_SEEN }]] },
            sb_counters: counted('from_uplink', 'PASS_LOCAL'),
          },
        },
      })
    })

    test('a flow of an older generation is judged again and keeps the short way; one with the stack keeps that', () => {
      const flow = { source: c, target: a, proto: UDP, ...ports }
      for (const [kind, outcome] of [
        ['local', 'PASS_LOCAL'],
        ['stack', 'PASS_STACK'],
      ] as const) {
        const old = { ...arrives, kind, generation: GENERATION - 1 }
        world.check({
          what: kind,
          program,
          maps: { ...nativeRows, sb_flows: [[keyOf(flow), flowRow(old)]] },
          packet: udpPacket(links.wire, { src: c, dst: a }, ports),
          expect: {
            verdict: kind === 'local' ? 'redirect' : 'next',
            ...(kind === 'local' ? { redirect: peerA, packetOut: delivered } : {}),
            maps: {
              sb_flows: {
                changed: [
                  [keyOf(flow), { way: encodeWay({ kind, node: 0, generation: GENERATION }) }],
                ],
                added: [[keyOf(reverse(flow)), flowExpected(kind === 'local' ? leaves : stackOut)]],
              },
              sb_counters: counted('from_uplink', outcome),
            },
          },
        })
      }
    })

    test('a node that is not on the uplink is answered by the stack, so it arrives by it', () => {
      world.check({
        what: 'SYN of a far node',
        program,
        maps: {
          ...nativeRows,
          sb_nodes: [[NODE_2, { tunnel: ipv4.node2, mac: mac.overlay2, mtu: MTU, flags: 1 }]],
        },
        packet: tcpIn(['syn']),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { added: both(syn, stackIn, stackOut, 0) },
            sb_counters: counted('from_uplink', 'PASS_STACK'),
          },
        },
      })
    })

    test('a flow whose answers the stack has seen stays with it', () => {
      world.check({
        what: 'SYN of a flow whose other direction is on the stack way',
        program,
        maps: {
          ...nativeRows,
          sb_flows: [
            [keyOf(reverse(syn)), flowRow({ kind: 'stack', sourceIncarnation: INCARNATION_A })],
          ],
        },
        packet: tcpIn(['syn']),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: {
              added: [[keyOf(syn), flowExpected(stackIn)]],
              changed: [[keyOf(reverse(syn)), flowExpected(stackOut)]],
            },
            sb_counters: counted('from_uplink', 'PASS_STACK'),
          },
        },
      })
    })

    test.each([
      ['a node’s own address', node2, a, 'PASS_STACK'],
      ['outside', stranger, a, 'PASS_STACK'],
      ['a node’s address in its pod range, to the node', own2, node1, 'PASS_FOREIGN'],
      ['outside to the node', stranger, node1, 'PASS_FOREIGN'],
    ] as const)('from %s by the stack', (what, src, dst, outcome) => {
      const isNode = src === node2
      const spec = { source: src, target: dst, proto: TCP, ...ports }
      world.check({
        what,
        program,
        maps: nativeRows,
        packet: tcpPacket(links.wire, { src, dst }, ports, ['syn']),
        expect: {
          verdict: 'next',
          maps: {
            ...(isNode ? { sb_flows: { added: both(spec, stackIn, stackOut, 0) } } : {}),
            sb_counters: counted('from_uplink', outcome),
          },
        },
      })
    })

    test('the last hop is answered by the stack', () => {
      world.check({
        what: 'TTL 1',
        program,
        maps: { ...nativeRows, sb_flows: [[keyOf(syn), flowRow(arrives)]] },
        packet: tcpIn(['ack'], 1),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { changed: [[keyOf(syn), { flags: FLOW_SEEN }]] },
            sb_counters: counted('from_uplink', 'PASS_STACK_TTL'),
          },
        },
      })
    })

    test('an ICMP error goes the way of the packets it answers', () => {
      const flow = { source: c, target: a, proto: UDP, sport: 53, dport: 40000 }
      const error = (link: Layer, ttl: number) =>
        packet(
          link,
          ip({ src: c, dst: a, ttl }),
          tooBig({ mtu: 1300 }),
          ip({ src: a, dst: c }),
          udp({ sport: 40000, dport: 53 }),
        )
      world.check({
        what: 'of a flow on the short way',
        program,
        maps: { ...nativeRows, sb_flows: [[keyOf(flow), flowRow(arrives)]] },
        packet: error(links.wire, 64),
        expect: {
          verdict: 'redirect',
          redirect: peerA,
          packetOut: error(links.toA, 63),
          maps: { sb_counters: counted('from_uplink', 'PASS_LOCAL') },
        },
      })
      world.check({
        what: 'of a flow nobody knows',
        program,
        maps: nativeRows,
        packet: error(links.wire, 64),
        expect: passes('PASS_STACK_ERROR'),
      })
    })
  },
)

test('a later fragment without its first is left to the stack', () => {
  const bytes = packet(
    links.wire,
    ip4({ src: ipv4.c, dst: ipv4.a, id: 9, fragmentOffsetBytes: 1480 }),
    payload(40),
  )
  world.check({
    what: 'IPv4',
    program,
    maps: nativeRows,
    packet: bytes,
    expect: passes('PASS_STACK_FRAGMENT'),
  })
})

describe.each(families)('sb_from_pod without a tunnel, IPv$family', ({ a, c, d }) => {
  const flow = { source: a, target: c, proto: UDP, ...ports }
  const uplink = { kind: 'neighbour', ifindex: IFINDEX_UPLINK } as const

  test('a pod’s packet leaves by the uplink, one hop less, and its answers may come by it', () => {
    world.check({
      what: 'a → c',
      program: 'vector_from_pod',
      maps: nativeRows,
      packet: udpPacket(links.fromA, { src: a, dst: c }, ports),
      expect: {
        verdict: 'redirect',
        redirect: uplink,
        packetOut: udpPacket(links.fromA, { src: a, dst: c, ttl: 63 }, ports),
        maps: {
          sb_flows: {
            added: [
              [keyOf(flow), flowExpected({ ...leaves, flags: FLOW_SEEN })],
              [keyOf(reverse(flow)), flowExpected(arrives)],
            ],
          },
          sb_counters: counted('from_pod', 'PASS_UPLINK'),
        },
      },
    })
  })

  test('marked as finished where another program of ours hangs on the uplink', () => {
    const [[, config] = [0, readyConfig]] = nativeRows.sb_config ?? []
    const translated = { ...config, flags: config.flags | CONFIG_TRANSLATED }
    world.check({
      what: 'a → c',
      program: 'vector_from_pod',
      maps: {
        ...nativeRows,
        sb_config: [[0, translated]],
        sb_flows: [[keyOf(flow), flowRow(leaves)]],
      },
      packet: udpPacket(links.fromA, { src: a, dst: c }, ports),
      expect: {
        verdict: 'redirect',
        redirect: uplink,
        packetOut: udpPacket(links.fromA, { src: a, dst: c, ttl: 63 }, ports),
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: { changed: [[keyOf(flow), { flags: FLOW_SEEN }]] },
          sb_counters: counted('from_pod', 'PASS_UPLINK'),
        },
      },
    })
  })

  test('later packets follow the row; a row of the tunnel is judged again', () => {
    for (const row of [leaves, { ...leaves, kind: 'node', generation: GENERATION - 1 } as const]) {
      world.check({
        what: row.kind,
        program: 'vector_from_pod',
        maps: { ...nativeRows, sb_flows: [[keyOf(flow), flowRow(row)]] },
        packet: udpPacket(links.fromA, { src: a, dst: c }, ports),
        expect: {
          verdict: 'redirect',
          redirect: uplink,
          packetOut: udpPacket(links.fromA, { src: a, dst: c, ttl: 63 }, ports),
          maps: {
            sb_flows: {
              changed: [
                [
                  keyOf(flow),
                  row === leaves
                    ? { flags: FLOW_SEEN }
                    : { way: encodeWay({ kind: 'uplink', node: NODE_2, generation: GENERATION }) },
                ],
              ],
              ...(row === leaves ? {} : { added: [[keyOf(reverse(flow)), flowExpected(arrives)]] }),
            },
            sb_counters: counted('from_pod', 'PASS_UPLINK'),
          },
        },
      })
    }
  })

  test('a node that is not on the uplink is left to the kernel’s routes', () => {
    world.check({
      what: 'a → d',
      program: 'vector_from_pod',
      maps: nativeRows,
      packet: udpPacket(links.fromA, { src: a, dst: d }, ports),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: {
            added: [
              [keyOf({ ...flow, target: d }), {}],
              [keyOf(reverse({ ...flow, target: d })), {}],
            ],
          },
          sb_counters: counted('from_pod', 'PASS_STACK'),
        },
      },
    })
  })
})
