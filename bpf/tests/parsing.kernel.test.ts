// The parser by packet vectors: options, extension headers, fragments, and ARP and ND that are honest.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { FLOW_SEEN } from '../src/layouts.ts'
import {
  arp,
  destinationOptions,
  eth,
  fragment6,
  hopByHop,
  icmp,
  ip,
  ip4,
  ip6,
  type Layer,
  neighbourAdvertisement,
  neighbourSolicitation,
  packet,
  payload,
  routing,
  type SkBuffIn,
  tcp,
  udp,
} from '../testing/index.ts'
import { links } from './packets.ts'
import {
  counted,
  families,
  flowExpected,
  flowRow,
  IFINDEX_B,
  INCARNATION_A,
  INCARNATION_B,
  ipv4,
  ipv6,
  keyOf,
  loadWorld,
  mac,
  reverse,
  type World,
} from './world.ts'

const ports = { sport: 40000, dport: 53 }
const peerB = { kind: 'peer', ifindex: IFINDEX_B } as const

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

interface Key {
  readonly proto: number
  readonly sport?: number
  readonly dport?: number
  readonly icmpClass?: number
}

/** From a to b on a fresh table, delivered, with rows of that key. */
function delivers(
  what: string,
  family: 4 | 6,
  sent: (link: Layer, ttl: number) => Uint8Array,
  key: Key,
  ctx: SkBuffIn = {},
) {
  const { a, b } = family === 4 ? ipv4 : ipv6
  const flow = { source: a, target: b, ...key }
  const row = {
    kind: 'local',
    sourceIncarnation: INCARNATION_A,
    targetIncarnation: INCARNATION_B,
  } as const
  const back = { ...row, sourceIncarnation: INCARNATION_B, targetIncarnation: INCARNATION_A }
  world.check({
    what,
    program: 'sb_from_pod',
    packet: sent(links.fromA, 64),
    ctx,
    expect: {
      verdict: 'redirect',
      redirect: peerB,
      packetOut: sent(links.toB, 63),
      maps: {
        sb_flows: {
          added: [
            [keyOf(flow), flowExpected({ ...row, flags: flow.proto === 6 ? 0 : FLOW_SEEN })],
            [keyOf(reverse(flow)), flowExpected(back)],
          ],
        },
        sb_fragments: {},
        sb_counters: counted('from_pod', 'PASS_LOCAL'),
      },
    },
  })
}

test.each([4, 8, 20, 40])('IPv4 with %i bytes of options', (size) => {
  const header = (ttl: number) =>
    ip4({ src: ipv4.a, dst: ipv4.b, ttl, options: new Uint8Array(size).fill(1) })
  for (const [proto, layer] of [
    [17, udp(ports)],
    [6, tcp({ ...ports, flags: ['syn'] })],
  ] as const) {
    const sent = (link: Layer, ttl: number) => packet(link, header(ttl), layer, payload(5))
    delivers('options', 4, sent, { proto, ...ports })
  }
})

test.each([
  ['hop-by-hop', [hopByHop()]],
  ['destination options', [destinationOptions()]],
  ['long destination options', [destinationOptions(new Uint8Array(1000))]],
  ['routing', [routing({ type: 4, segmentsLeft: 0 })]],
  ['six of them', Array.from({ length: 6 }, () => destinationOptions())],
  [
    'hop-by-hop, routing, destination',
    [hopByHop(), routing({ type: 2, segmentsLeft: 0 }), destinationOptions()],
  ],
  ['an atomic fragment (RFC 6946)', [fragment6({ id: 5, offsetBytes: 0, hasMore: false })]],
])('IPv6 with %s', (_what, headers) => {
  for (const [proto, layer] of [
    [17, udp(ports)],
    [6, tcp({ ...ports, flags: ['syn'] })],
  ] as const) {
    const sent = (link: Layer, ttl: number) =>
      packet(link, ip6({ src: ipv6.a, dst: ipv6.b, hopLimit: ttl }), ...headers, layer, payload(5))
    delivers('extension headers', 6, sent, { proto, ...ports })
  }
})

test('IPv6 with an authentication header, whose length counts in fours (RFC 4302 §2.2)', () => {
  const header: Layer = {
    protocol: () => 51,
    build: (inner) => Buffer.concat([Uint8Array.of(17, 3), new Uint8Array(18), inner]),
  }
  const sent = (link: Layer, ttl: number) =>
    packet(link, ip6({ src: ipv6.a, dst: ipv6.b, hopLimit: ttl }), header, udp(ports))
  delivers('authentication header', 6, sent, { proto: 17, ...ports })
})

test('BIG TCP: a GSO packet whose IP header cannot say how long it is', () => {
  for (const { family, a, b } of families) {
    const header = (ttl: number) =>
      family === 4
        ? ip4({ src: a, dst: b, ttl, totalLength: 0 })
        : ip6({ src: a, dst: b, hopLimit: ttl, payloadLength: 0 })
    const sent = (link: Layer, ttl: number) =>
      packet(link, header(ttl), tcp({ ...ports, flags: ['syn'] }), payload(100))
    delivers('BIG TCP', family, sent, { proto: 6, ...ports }, { gsoSize: 50, gsoSegs: 2 })
    expectDrop(family === 4 ? 'DROP_BAD_HEADER' : 'DROP_TRUNCATED', sent(links.fromA, 64))
  }
})

test('an extension header that claims to be longer than the packet is cut short', () => {
  for (const size of [0, 1, 7]) {
    const sent = packet(
      links.fromA,
      ip6({ src: ipv6.a, dst: ipv6.b, nextHeader: 60 }),
      payload(new Uint8Array(size)),
    )
    expectDrop('DROP_TRUNCATED', sent)
  }
  const long = packet(
    links.fromA,
    ip6({ src: ipv6.a, dst: ipv6.b, nextHeader: 60 }),
    payload(Uint8Array.of(17, 255, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
  )
  expectDrop('DROP_TRUNCATED', long)
})

function expectDrop(reason: string, sent: Uint8Array) {
  world.check({
    what: reason,
    program: 'sb_from_pod',
    packet: sent,
    expect: { verdict: 'shot', maps: { sb_counters: counted('from_pod', reason) } },
  })
}

test('a packet may be shorter than its frame', () => {
  for (const { family, a, b } of families) {
    delivers(
      'padded',
      family,
      (link, ttl) =>
        packet({
          build: () =>
            Buffer.concat([
              packet(link, ip({ src: a, dst: b, ttl }), udp(ports)),
              Buffer.alloc(18),
            ]),
        }),
      { proto: 17, ...ports },
    )
  }
})

test('ICMP types have classes: echo and timestamp by id, others by addresses', () => {
  for (const [type, icmpClass, id] of [
    [8, 1, 77],
    [0, 1, 77],
    [13, 2, 77],
    [14, 2, 77],
    [9, 3, 0],
    [17, 3, 0],
  ] as const) {
    const sent = (link: Layer, ttl: number) =>
      packet(
        link,
        ip4({ src: ipv4.a, dst: ipv4.b, ttl }),
        icmp({ type, rest: 77 << 16 }),
        payload(8),
      )
    delivers(`type ${type}`, 4, sent, { proto: 1, sport: id, dport: id, icmpClass })
  }
})

describe.each(families)('IPv$family fragments', ({ family, a, b }) => {
  const ID = 4242
  /** The first piece has the UDP header, the other only bytes. */
  const piece = (link: Layer, ttl: number, isFirst: boolean, id = ID) => {
    const offsetBytes = isFirst ? 0 : 16
    const inner = isFirst ? [udp({ ...ports, length: 24 }), payload(8)] : [payload(8)]
    if (family === 4) {
      const at = { id, hasMoreFragments: isFirst, fragmentOffsetBytes: offsetBytes, protocol: 17 }
      return packet(link, ip4({ src: a, dst: b, ttl, ...at }), ...inner)
    }
    const header = fragment6({ id, offsetBytes, hasMore: isFirst, nextHeader: 17 })
    return packet(link, ip6({ src: a, dst: b, hopLimit: ttl }), header, ...inner)
  }
  const fragment = { saddr: a, daddr: b, proto: family === 4 ? 17 : 0 }

  test('the first records the ports, a later one borrows them and follows the row', () => {
    world.reset()
    const row = {
      kind: 'local',
      sourceIncarnation: INCARNATION_A,
      targetIncarnation: INCARNATION_B,
    } as const
    const flow = keyOf({ source: a, target: b, proto: 17, ...ports })
    world.step({
      what: 'first fragment',
      program: 'sb_from_pod',
      packet: piece(links.fromA, 64, true),
      expect: {
        verdict: 'redirect',
        redirect: peerB,
        packetOut: piece(links.toB, 63, true),
        maps: {
          sb_flows: {
            added: [
              [flow, { sourceIncarnation: INCARNATION_A }],
              [keyOf(reverse({ source: a, target: b, proto: 17, ...ports })), { flags: 0 }],
            ],
          },
          sb_fragments: {
            added: [
              [
                { ...fragment, id: ID },
                { ...ports, proto: 17, icmpClass: 0 },
              ],
            ],
          },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
    world.step({
      what: 'later fragment',
      program: 'sb_from_pod',
      maps: { sb_flows: [[flow, flowRow(row)]] },
      packet: piece(links.fromA, 64, false),
      expect: {
        verdict: 'redirect',
        redirect: peerB,
        packetOut: piece(links.toB, 63, false),
        maps: {
          sb_flows: { changed: [[flow, { flags: FLOW_SEEN }]] },
          sb_fragments: {},
          sb_counters: counted('from_pod', 'PASS_LOCAL', undefined, 2),
        },
      },
    })
  })

  test('a later one that comes first takes the stack, without a row', () => {
    for (const program of ['sb_from_pod', 'sb_to_pod'] as const) {
      const place = program === 'sb_from_pod' ? 'from_pod' : 'to_pod'
      const sent = place === 'from_pod' ? piece(links.fromA, 64, false) : later(links.toA, b, a)
      world.check({
        what: 'later fragment',
        program,
        packet: sent,
        expect: {
          verdict: 'next',
          maps: { sb_fragments: {}, sb_counters: counted(place, 'PASS_STACK_FRAGMENT') },
        },
      })
    }
  })

  function later(link: Layer, src: string, dst: string): Uint8Array {
    if (family === 4) {
      return packet(
        link,
        ip4({ src, dst, id: 1, fragmentOffsetBytes: 16, protocol: 17 }),
        payload(8),
      )
    }
    const header = fragment6({ id: 1, offsetBytes: 16, hasMore: false, nextHeader: 17 })
    return packet(link, ip6({ src, dst }), header, payload(8))
  }

  test('by the tunnel a later one that comes first is still judged by its addresses', () => {
    const { c, d, vacant } = family === 4 ? ipv4 : ipv6
    for (const [src, dst, verdict, outcome] of [
      [c, a, 'next', 'PASS_STACK_FRAGMENT'],
      [d, a, 'shot', 'DROP_FOREIGN_SOURCE'],
      [c, vacant, 'shot', 'DROP_NO_ENDPOINT'],
    ] as const) {
      world.check({
        what: `later fragment ${src} → ${dst}`,
        program: 'vector_from_overlay',
        packet: later(links.in, src, dst),
        expect: { verdict, maps: { sb_counters: counted('from_overlay', outcome) } },
      })
    }
  })

  test('to another node a later one that comes first gets its tunnel key', () => {
    const { c, own1 } = family === 4 ? ipv4 : ipv6
    world.check({
      what: 'later fragment node → c',
      program: 'sb_to_overlay',
      packet: later(links.out, own1, c),
      expect: { verdict: 'next', maps: { sb_counters: counted('to_overlay', 'PASS_NODE') } },
    })
  })

  test('a spoofed first fragment records nothing', () => {
    world.check({
      what: 'first fragment in the name of b',
      program: 'sb_from_pod',
      packet:
        family === 4
          ? packet(
              links.fromA,
              ip4({ src: b, dst: a, id: 9, hasMoreFragments: true }),
              udp(ports),
              payload(8),
            )
          : packet(
              links.fromA,
              ip6({ src: b, dst: a }),
              fragment6({ id: 9, offsetBytes: 0, hasMore: true }),
              udp(ports),
              payload(8),
            ),
      expect: {
        verdict: 'shot',
        maps: { sb_fragments: {}, sb_counters: counted('from_pod', 'DROP_SPOOFED_SOURCE') },
      },
    })
  })
})

test.each([
  ['ARP request', arp({ op: 'request', senderMac: mac.a, senderIp: ipv4.a, targetIp: ipv4.b })],
  [
    'ARP reply',
    arp({
      op: 'reply',
      senderMac: mac.a,
      senderIp: ipv4.a,
      targetMac: mac.aHost,
      targetIp: ipv4.own1,
    }),
  ],
])('an honest %s is left to the kernel', (what, layer) => {
  world.check({
    what,
    program: 'sb_from_pod',
    packet: packet(eth({ src: mac.a, dst: 'ff:ff:ff:ff:ff:ff' }), layer),
    expect: { verdict: 'next', maps: { sb_counters: counted('from_pod', 'PASS_NEIGHBOUR') } },
  })
})

test.each([
  ['solicitation', ipv6.a, neighbourSolicitation({ target: ipv6.b, mac: mac.a })],
  ['solicitation without a MAC', ipv6.a, neighbourSolicitation({ target: ipv6.b })],
  ['advertisement', ipv6.a, neighbourAdvertisement({ target: ipv6.a, mac: mac.a })],
  [
    'advertisement from its link-local address',
    'fe80::a',
    neighbourAdvertisement({ target: ipv6.a, mac: mac.a }),
  ],
])('an honest neighbour %s is left to the kernel', (what, src, layer) => {
  world.check({
    what,
    program: 'sb_from_pod',
    packet: packet(links.fromA, ip6({ src, dst: ipv6.linkLocal, hopLimit: 255 }), layer),
    expect: { verdict: 'next', maps: { sb_counters: counted('from_pod', 'PASS_NEIGHBOUR') } },
  })
})

test('multicast and broadcast of a pod are left to the kernel without a row', () => {
  for (const [src, dst] of [
    [ipv4.a, ipv4.multicast],
    [ipv4.a, '255.255.255.255'],
    [ipv6.a, ipv6.multicast],
    [ipv6.a, ipv6.linkLocal],
  ] as const) {
    world.check({
      what: `${src} → ${dst}`,
      program: 'sb_from_pod',
      packet: packet(links.fromA, ip({ src, dst }), udp(ports)),
      expect: { verdict: 'next', maps: { sb_counters: counted('from_pod', 'PASS_UNTRACKED') } },
    })
  }
})
