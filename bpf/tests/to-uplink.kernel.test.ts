// sb_to_uplink by packet vectors: what is finished, what is the node's own, and whose port a pod has.
import { afterAll, beforeAll, describe, test } from 'vitest'
import {
  CONFIG_MASQUERADE,
  CONFIG_NATIVE,
  CONFIG_READY,
  CONFIG_TRANSLATED,
  FLOW_FIN,
  FLOW_FIN_REPLY,
  FLOW_OPENER,
  FLOW_SEEN,
  FLOW_TRANSLATED,
  IPCACHE_SERVICES,
} from '../src/layouts.ts'
import { arp, type Rows } from '../testing/index.ts'
import { packet } from '../testing/packet.ts'
import { MASQUERADE, Outside } from './outside.ts'
import {
  firstFragment,
  laterFragment,
  links,
  pingPacket,
  pongPacket,
  tcpPacket,
  udpPacket,
} from './packets.ts'
import { SERVICES } from './service-rows.ts'
import {
  counted,
  type FlowSpec,
  families,
  flowExpected,
  flowRow,
  keyOf,
  loadWorld,
  mac,
  readyConfig,
  SB_DONE,
  SB_TO_TRANSLATE,
  type Shapes,
  TUNNEL_PORT,
  type World,
} from './world.ts'

const TCP = 6
const UDP = 17
const PORT = 40000
const OTHER = 50000

let outside: Outside
let world: World
beforeAll(async () => {
  outside = await Outside.open()
  world = await loadWorld({ rows: outside.rows, netns: outside.netns })
})
afterAll(() => {
  world?.close()
  outside?.close()
})

/** A node that may give out this port, and no other. */
const only = (port: number): Rows<Shapes> => ({
  sb_config: [[0, { ...readyConfig, flags: MASQUERADE, portMin: port, portMax: port }]],
})

test('what is finished passes, without its mark', () => {
  world.check({
    what: 'a masqueraded packet',
    program: 'sb_to_uplink',
    packet: udpPacket(
      links.wire,
      { src: '192.0.2.1', dst: '198.51.100.7' },
      { sport: 1, dport: 2 },
    ),
    ctx: { mark: SB_DONE | 3 },
    expect: {
      verdict: 'next',
      ctx: { mark: 3 },
      maps: { sb_counters: counted('to_uplink', 'PASS_DONE') },
    },
  })
})

test('ARP passes', () => {
  const question = arp({
    op: 'request',
    senderIp: '192.0.2.1',
    senderMac: mac.a,
    targetIp: '192.0.2.2',
  })
  world.check({
    what: 'ARP',
    program: 'sb_to_uplink',
    packet: packet(links.wire, question),
    expect: { verdict: 'next', maps: { sb_counters: counted('to_uplink', 'PASS_FOREIGN') } },
  })
})

describe.each(families)('IPv$family', ({ family, a, service, stranger, node1, node2 }) => {
  const route = { src: node1, dst: stranger }
  const icmp = family === 4 ? 1 : 58
  interface Kind {
    readonly what: string
    readonly proto: number
    readonly icmpClass?: number
    readonly first: (port: number) => Uint8Array
    readonly later: (port: number) => Uint8Array
  }
  const udp = (port: number) => udpPacket(links.wire, route, { sport: port, dport: 80 })
  const tcp = (port: number, flag: 'syn' | 'ack') =>
    tcpPacket(links.wire, route, { sport: port, dport: 80 }, [flag], flag === 'ack' ? 100 : 0)
  const ping = (id: number) => pingPacket(links.wire, route, id)
  const kinds: readonly Kind[] = [
    { what: 'a datagram', proto: UDP, first: udp, later: udp },
    {
      what: 'a connection',
      proto: TCP,
      first: (port) => tcp(port, 'syn'),
      later: (port) => tcp(port, 'ack'),
    },
    { what: 'a ping', proto: icmp, icmpClass: 1, first: ping, later: ping },
  ]
  const specOf = ({ proto, icmpClass = 0 }: Kind, source: string): FlowSpec => {
    const dport = icmpClass === 0 ? 80 : PORT
    return { source, target: stranger, proto, icmpClass, sport: PORT, dport }
  }
  /** Both rows of the node's own flow under another port. */
  const ownRows = (kind: Kind) => {
    const spec = specOf(kind, node1)
    const far = kind.icmpClass === undefined ? 80 : OTHER
    return {
      key: keyOf(spec),
      row: {
        kind: 'stack',
        flags: FLOW_SEEN | FLOW_OPENER | FLOW_TRANSLATED,
        to: { saddr: node1, daddr: stranger, sport: OTHER, dport: far },
      },
      back: keyOf({ ...spec, source: stranger, target: node1, sport: far, dport: OTHER }),
      backRow: {
        kind: 'stack',
        flags: FLOW_TRANSLATED,
        to: { saddr: stranger, daddr: node1, sport: spec.dport ?? 0, dport: PORT },
      },
    } as const
  }

  describe.each(kinds)('$what of the node', (kind) => {
    const pods = () => outside.standing(specOf(kind, a), PORT)
    const own = ownRows(kind)
    const unseen = kind.proto === TCP ? FLOW_SEEN : 0

    test('passes', () => {
      world.check({
        what: 'node → stranger',
        program: 'sb_to_uplink',
        packet: kind.first(PORT),
        expect: { verdict: 'next', maps: { sb_counters: counted('to_uplink', 'PASS_FOREIGN') } },
      })
    })

    test('leaves under another port, if a pod has its own towards the same', () => {
      world.check({
        what: 'node → stranger, beside a → stranger',
        program: 'sb_to_uplink',
        maps: { ...only(OTHER), sb_flows: pods() },
        packet: kind.first(PORT),
        expect: {
          verdict: 'next',
          packetOut: kind.first(OTHER),
          maps: {
            sb_flows: {
              added: [
                [own.key, flowExpected({ ...own.row, flags: own.row.flags & ~unseen })],
                [own.back, flowExpected(own.backRow)],
              ],
            },
            sb_counters: counted('to_uplink', 'PASS_TRANSLATED'),
          },
        },
      })
    })

    test('goes on under that port', () => {
      world.check({
        what: 'node → stranger, again',
        program: 'sb_to_uplink',
        maps: {
          sb_flows: [
            [own.key, flowRow(own.row)],
            [own.back, flowRow(own.backRow)],
          ],
        },
        packet: kind.later(PORT),
        expect: {
          verdict: 'next',
          packetOut: kind.later(OTHER),
          maps: {
            sb_flows: { changed: [[own.key, {}]] },
            sb_counters: counted('to_uplink', 'PASS_TRANSLATED'),
          },
        },
      })
    })

    test('is dropped if there is none', () => {
      world.check({
        what: 'node → stranger',
        program: 'sb_to_uplink',
        maps: { ...only(PORT), sb_flows: pods() },
        packet: kind.first(PORT),
        expect: {
          verdict: 'shot',
          maps: { sb_counters: counted('to_uplink', 'DROP_NO_PORT') },
        },
      })
    })
  })

  describe('to a range of services', () => {
    const serves = (flags: number): Rows<Shapes> => ({
      sb_config: [[0, { ...readyConfig, flags }]],
      sb_ipcache: [
        [
          { prefixLen: family === 4 ? 96 + 16 : 64, addr: service },
          { node: 0, identity: 0, flags: IPCACHE_SERVICES },
        ],
      ],
    })
    const to = { src: node1, dst: service }
    const ports = { sport: PORT, dport: 80 }
    const first = tcpPacket(links.wire, to, ports, ['syn'])

    test.each([
      ['a datagram', udpPacket(links.wire, to, ports)],
      ['a SYN', first],
      ['a ping', pingPacket(links.wire, to, PORT)],
    ])('%s of the node is dropped: nobody is there', (what, sent) => {
      world.check({
        what,
        program: 'sb_to_uplink',
        maps: serves(SERVICES | CONFIG_MASQUERADE),
        packet: sent,
        expect: {
          verdict: 'shot',
          maps: { sb_counters: counted('to_uplink', 'DROP_SERVICE_ADDRESS') },
        },
      })
    })

    test.each([
      ['where services are somebody else’s', CONFIG_READY | CONFIG_TRANSLATED, first],
      [
        'of a connection that is known elsewhere',
        SERVICES,
        tcpPacket(links.wire, to, ports, ['ack']),
      ],
    ])('a packet %s passes', (what, flags, sent) => {
      world.check({
        what,
        program: 'sb_to_uplink',
        maps: serves(flags),
        packet: sent,
        expect: { verdict: 'next', maps: { sb_counters: counted('to_uplink', 'PASS_FOREIGN') } },
      })
    })
  })

  test.each([
    ['an answer of the node', tcp(PORT, 'ack'), TCP, 0],
    ['an echo reply', pongPacket(links.wire, route, PORT), icmp, 1],
    ['a later fragment', laterFragment(links.wire, route), UDP, 0],
  ])('%s passes, whatever a pod has', (what, bytes, proto, icmpClass) => {
    const spec = specOf({ what, proto, icmpClass, first: udp, later: udp }, a)
    world.check({
      what,
      program: 'sb_to_uplink',
      maps: { sb_flows: outside.standing(spec, PORT) },
      packet: bytes,
      expect: { verdict: 'next', maps: { sb_counters: counted('to_uplink', 'PASS_FOREIGN') } },
    })
  })

  test('an echo reply keeps its id, though a ping of the node with that id has another', () => {
    const own = ownRows({ what: 'a ping', proto: icmp, icmpClass: 1, first: ping, later: ping })
    world.check({
      what: 'node → stranger, asked by it',
      program: 'sb_to_uplink',
      maps: {
        sb_flows: [
          [own.key, flowRow(own.row)],
          [own.back, flowRow(own.backRow)],
        ],
      },
      packet: pongPacket(links.wire, route, PORT),
      expect: { verdict: 'next', maps: { sb_counters: counted('to_uplink', 'PASS_FOREIGN') } },
    })
  })

  test("a pod's closed connection leaves its port to the node", () => {
    const closed = FLOW_FIN | FLOW_FIN_REPLY
    const rows = outside
      .standing({ source: a, target: stranger, proto: TCP, sport: PORT, dport: 80 }, PORT)
      .map(([key, row]) => [key, { ...row, flags: row.flags | closed }] as const)
    world.check({
      what: 'node → stranger',
      program: 'sb_to_uplink',
      maps: { sb_flows: rows },
      packet: tcp(PORT, 'syn'),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: { removed: rows.map(([key]) => key) },
          sb_counters: counted('to_uplink', 'PASS_FOREIGN'),
        },
      },
    })
  })

  test('a new connection of the node from a port whose last one was translated begins as itself', () => {
    const [, kind] = kinds
    if (kind === undefined) throw new TypeError('no kind')
    const own = ownRows(kind)
    const closed = FLOW_FIN | FLOW_FIN_REPLY
    world.check({
      what: 'node → stranger',
      program: 'sb_to_uplink',
      maps: {
        sb_flows: [
          [own.key, flowRow({ ...own.row, flags: own.row.flags | closed })],
          [own.back, flowRow({ ...own.backRow, flags: own.backRow.flags | closed })],
        ],
      },
      packet: tcp(PORT, 'syn'),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: { removed: [own.key, own.back] },
          sb_counters: counted('to_uplink', 'PASS_FOREIGN'),
        },
      },
    })
  })

  describe('what the stack sends out as a pod sent it', () => {
    const ports = { sport: PORT, dport: 80 }
    const flow = { source: a, target: stranger, proto: UDP, ...ports }
    const inside = { src: a, dst: stranger, ttl: 63 }
    const out = { src: node1, dst: stranger, ttl: 63 }
    const marked = { ctx: { mark: SB_TO_TRANSLATE | 3 } }
    const leaves = (packetOut: Uint8Array, total = 1) =>
      ({
        verdict: 'next',
        packetOut,
        ctx: { mark: 3 },
        maps: { sb_flows: {}, sb_counters: counted('to_uplink', 'PASS_OUT', undefined, total) },
      }) as const

    test('leaves under the address and port of its flow', () => {
      world.check({
        what: 'a → stranger, by the stack',
        program: 'sb_to_uplink',
        maps: { sb_flows: outside.standing(flow, OTHER) },
        packet: udpPacket(links.wire, inside, ports),
        ...marked,
        expect: leaves(udpPacket(links.wire, out, { ...ports, sport: OTHER })),
      })
    })

    test('and so do the pieces that the stack has made of it', () => {
      world.reset()
      world.step({
        what: 'the first',
        program: 'sb_to_uplink',
        maps: { sb_flows: outside.standing(flow, OTHER) },
        packet: firstFragment(links.wire, inside, ports),
        ...marked,
        expect: leaves(firstFragment(links.wire, out, { ...ports, sport: OTHER })),
      })
      world.step({
        what: 'a later one',
        program: 'sb_to_uplink',
        packet: laterFragment(links.wire, inside),
        ...marked,
        expect: leaves(laterFragment(links.wire, out), 2),
      })
    })

    test.each([
      ['DROP_TRANSLATION_TAKEN', 'whose flow is gone', udpPacket(links.wire, inside, ports)],
      ['DROP_FRAGMENT_ORDER', 'whose first was not seen', laterFragment(links.wire, inside)],
    ])('%s: %s', (outcome, what, bytes) => {
      world.check({
        what,
        program: 'sb_to_uplink',
        packet: bytes,
        ...marked,
        expect: { verdict: 'shot', maps: { sb_counters: counted('to_uplink', outcome) } },
      })
    })
  })

  test("the tunnel's own packets pass before any lookup", () => {
    const ports = { sport: PORT, dport: TUNNEL_PORT }
    const spec = { source: a, target: node2, proto: UDP, ...ports }
    world.check({
      what: 'node → node 2',
      program: 'sb_to_uplink',
      maps: { ...only(OTHER), sb_flows: outside.standing(spec, PORT) },
      packet: udpPacket(links.wire, { src: node1, dst: node2 }, ports),
      expect: { verdict: 'next', maps: { sb_counters: counted('to_uplink', 'PASS_TUNNEL') } },
    })
    const native = { ...readyConfig, flags: MASQUERADE | CONFIG_NATIVE, overlayIfindex: 0 }
    world.check({
      what: 'pod → stranger, without a tunnel: a port like any',
      program: 'sb_to_uplink',
      maps: { sb_config: [[0, native]] },
      packet: udpPacket(links.wire, { src: a, dst: stranger }, ports),
      ctx: { mark: SB_TO_TRANSLATE },
      expect: {
        verdict: 'shot',
        maps: { sb_counters: counted('to_uplink', 'DROP_TRANSLATION_TAKEN') },
      },
    })
  })

  test('nothing is looked up while nobody is translated', () => {
    const flags = CONFIG_READY | CONFIG_MASQUERADE
    world.check({
      what: 'node → stranger',
      program: 'sb_to_uplink',
      maps: {
        sb_config: [[0, { ...readyConfig, flags }]],
        sb_flows: outside.standing(
          { source: a, target: stranger, proto: UDP, sport: PORT, dport: 80 },
          PORT,
        ),
      },
      packet: udp(PORT),
      expect: { verdict: 'next', maps: { sb_counters: counted('to_uplink', 'PASS_FOREIGN') } },
    })
  })
})
