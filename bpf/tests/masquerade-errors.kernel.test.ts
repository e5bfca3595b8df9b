// ICMP errors about masqueraded packets, both ways: whoever gets one reads in it what he sent, and nobody gets what is not about his.
import { afterAll, beforeAll, describe, test } from 'vitest'
import {
  echoReply,
  echoRequest,
  fragment6,
  icmp,
  icmp6,
  ip,
  ip4,
  ip6,
  type Layer,
  packet,
  payload,
  portUnreachable,
  tcp,
  timeExceeded,
  tooBig,
  udp,
} from '../testing/index.ts'
import { type Leaving, leaving, leavingNode, modes, summing } from './masquerade-rows.ts'
import { links, type Route } from './packets.ts'
import {
  type Actors,
  counted,
  families,
  GENERATION,
  IFINDEX_HERE,
  IFINDEX_UPLINK,
  loadWorld,
  MTU,
  SB_DONE,
  type World,
} from './world.ts'

const TCP = 6
const UDP = 17

let world: World
let check: ReturnType<typeof summing>
beforeAll(async () => {
  world = await loadWorld()
  check = summing(world)
})
afterAll(() => world?.close())

const program = 'sb_from_uplink'
const peerA = { kind: 'peer', ifindex: IFINDEX_HERE } as const
const passes = (outcome: string) => ({
  verdict: 'next' as const,
  maps: { sb_counters: counted('from_uplink', outcome) },
})

/** Kinds of flows of pod a, port 40000, which is 50000 outside; and what is sent of one from either port. */
function kindsOf({ family }: Actors) {
  const at = { port: 50000, sport: 40000 }
  return [
    {
      kind: 'TCP',
      flow: { proto: TCP, ...at, dport: 443 },
      sent: (sport: number) => [tcp({ sport, dport: 443, seq: 7 }), payload(9)],
      answered: (dport: number) => [tcp({ sport: 443, dport, seq: 7 }), payload(9)],
    },
    {
      kind: 'UDP',
      flow: { proto: UDP, ...at, dport: 443 },
      sent: (sport: number) => [udp({ sport, dport: 443 }), payload(9)],
      answered: (dport: number) => [udp({ sport: 443, dport }), payload(9)],
    },
    {
      kind: 'ping',
      flow: { proto: family === 4 ? 1 : 58, ...at, icmpClass: 1 },
      sent: (id: number) => [echoRequest({ id }), payload(9)],
      answered: (id: number) => [echoReply({ id }), payload(9)],
    },
  ] as const satisfies readonly {
    kind: string
    flow: Leaving
    sent: (port: number) => readonly Layer[]
    answered: (port: number) => readonly Layer[]
  }[]
}

const errors = {
  'too big': tooBig({ mtu: 1400 }),
  'time exceeded': timeExceeded(),
  'port unreachable': portUnreachable(),
} as const

/** The bytes of a packet as a layer: what an error carries of it. */
const carried = (left: number | undefined, ...layers: readonly Layer[]) =>
  payload(packet(...layers).slice(0, left))

describe.each(families)('IPv$family', (actors) => {
  const { family, a, b, c, node1, node2, stranger } = actors
  const router = family === 4 ? '203.0.113.1' : '2001:db8:cafe::1'
  const headers = family === 4 ? 20 : 40
  const kinds = kindsOf(actors)
  const [ofTcp, ofUdp, ofPing] = kinds
  const wire: Route = { src: router, dst: node1 }
  const inner: Route = { src: node1, dst: stranger }
  const came = (...layers: readonly Layer[]) => packet(links.wire, ip(wire), ...layers)
  const arrived = (...layers: readonly Layer[]) =>
    packet(links.toA, ip({ src: router, dst: a, ttl: 63 }), ...layers)
  const arrives = (packetOut: Uint8Array) => ({
    verdict: 'redirect' as const,
    redirect: peerA,
    packetOut,
    ctx: { mark: 0 },
    maps: { sb_counters: counted('from_uplink', 'PASS_LOCAL') },
  })

  describe.each(Object.entries(modes))('with %s', (_mode, mode) => {
    test.each(
      kinds.flatMap((kind) =>
        Object.entries(errors).map(([what, error]) => ({ ...kind, what, error })),
      ),
    )('$what, about $kind, is what the pod would have got for its own packet', (one) => {
      const { what, error, flow, sent } = one
      check({
        what,
        program,
        maps: { ...mode, sb_flows: leaving(actors, flow) },
        packet: came(error, ip({ ...inner, ttl: 3 }), ...sent(50000)),
        ctx: { mark: 0x10 },
        expect: arrives(arrived(error, ip({ src: a, dst: stranger, ttl: 3 }), ...sent(40000))),
      })
    })

    test('the node’s own are about the port that the node knows', () => {
      for (const { kind, flow, sent } of kinds) {
        check({
          what: kind,
          program,
          maps: { ...mode, sb_flows: leavingNode(actors, flow) },
          packet: came(timeExceeded(), ip(inner), ...sent(50000)),
          expect: {
            verdict: 'next',
            packetOut: came(timeExceeded(), ip(inner), ...sent(40000)),
            maps: { sb_counters: counted('from_uplink', 'PASS_TRANSLATED') },
          },
        })
      }
    })

    test('in a pod’s name nobody on the wire says anything', () => {
      for (const src of [a, b]) {
        check({
          what: src,
          program,
          maps: { ...mode, sb_flows: leaving(actors, ofUdp.flow) },
          packet: packet(
            links.wire,
            ip({ src, dst: node1 }),
            portUnreachable(),
            ip(inner),
            ...ofUdp.sent(50000),
          ),
          expect: {
            verdict: 'shot',
            maps: { sb_counters: counted('from_uplink', 'DROP_NATIVE_SOURCE') },
          },
        })
      }
    })

    test.each([
      ['that nobody has', [tooBig({ mtu: 600 }), ip(inner), ...ofUdp.sent(50001)]],
      ['of another protocol', [tooBig({ mtu: 600 }), ip(inner), ...ofTcp.sent(50000)]],
      [
        'to another host',
        [tooBig({ mtu: 600 }), ip({ ...inner, dst: router }), ...ofUdp.sent(50000)],
      ],
      [
        'of another sender',
        [tooBig({ mtu: 600 }), ip({ ...inner, src: node2 }), ...ofUdp.sent(50000)],
      ],
      [
        'in the pod’s own name',
        [tooBig({ mtu: 600 }), ip({ ...inner, src: a }), ...ofUdp.sent(40000)],
      ],
      [
        'that came in, not left',
        [portUnreachable(), ip({ src: stranger, dst: node1 }), udp({ sport: 443, dport: 50000 })],
      ],
      [
        'that is an error itself',
        [tooBig({ mtu: 600 }), ip(inner), portUnreachable(), payload(20)],
      ],
    ])('about a packet %s nothing reaches a pod', (what, layers) => {
      const maps = { ...mode, sb_flows: leaving(actors, ofUdp.flow) }
      check({ what, program, maps, packet: came(...layers), expect: passes('PASS_FOREIGN') })
    })
  })

  const mode = modes['a tunnel']

  test('about the node’s own echo reply with the id of a pod’s requests, nothing reaches the pod', () => {
    check({
      what: 'reply inside',
      program,
      maps: { ...mode, sb_flows: leaving(actors, ofPing.flow) },
      packet: came(portUnreachable(), ip(inner), ...ofPing.answered(50000)),
      expect: passes('PASS_FOREIGN'),
    })
  })

  test('nothing reaches who has the address of a pod that is gone', () => {
    check({
      what: 'gone',
      program,
      maps: { ...mode, sb_flows: leaving(actors, ofUdp.flow, { incarnation: 10 }) },
      packet: came(portUnreachable(), ip(inner), ...ofUdp.sent(50000)),
      expect: passes('PASS_FOREIGN'),
    })
  })

  test('about flows of other kinds of rows nothing is translated', () => {
    const bytes = packet(
      links.wire,
      ip({ src: stranger, dst: c }),
      portUnreachable(),
      ip({ src: c, dst: stranger }),
      ...ofUdp.sent(40000),
    )
    check({
      what: 'to a pod of another node',
      program,
      maps: { ...mode, sb_flows: leaving(actors, ofUdp.flow) },
      packet: bytes,
      expect: {
        verdict: 'shot',
        maps: { sb_counters: counted('from_uplink', 'DROP_NATIVE_TARGET') },
      },
    })
  })

  test('what is cut short inside arrives if ports are there, and is left to the node else', () => {
    for (const { kind, flow, sent } of kinds) {
      const whole = packet(ip(inner), ...sent(50000)).length
      // Around the ends of headers, ports and checksums; half of TCP's checksum is left as it is.
      const ends = [0, headers, headers + 8, headers + 16, headers + 18, whole]
      const lengths = new Set(ends.flatMap((end) => [end - 1, end, end + 1]))
      if (kind === 'TCP') lengths.delete(headers + 17)
      for (const left of lengths) {
        if (left < 0 || left > whole) continue
        const is = left >= headers + 8
        check({
          what: `${kind}, ${left} bytes inside`,
          program,
          maps: { ...mode, sb_flows: leaving(actors, flow) },
          packet: came(tooBig({ mtu: 1400 }), carried(left, ip(inner), ...sent(50000))),
          expect: is
            ? arrives(
                arrived(
                  tooBig({ mtu: 1400 }),
                  carried(left, ip({ src: a, dst: stranger }), ...sent(40000)),
                ),
              )
            : passes('PASS_FOREIGN'),
        })
      }
    }
  })

  test('bytes behind the end of the error are no part of it', () => {
    const inside = packet(ip(inner), ...ofUdp.sent(50000))
    const error = family === 4 ? icmp({ type: 3, code: 3 }) : icmp6({ type: 1, code: 4 })
    const short = 8 + headers + 4
    const outer =
      family === 4
        ? ip4({ ...wire, totalLength: 20 + short })
        : ip6({ ...wire, payloadLength: short })
    check({
      what: 'padding looks like ports',
      program,
      maps: { ...mode, sb_flows: leaving(actors, ofUdp.flow) },
      packet: packet(links.wire, outer, error, payload(inside)),
      expect: passes('PASS_FOREIGN'),
    })
  })

  test('about the first fragment of a datagram it arrives, about a later one nobody knows whose it is', () => {
    const { flow, sent } = ofUdp
    const first = (route: Route, port: number, offset = 0) =>
      family === 4
        ? [
            ip4({ ...route, id: 5, hasMoreFragments: true, fragmentOffsetBytes: offset }),
            ...sent(port),
          ]
        : [
            ip6({ src: route.src, dst: route.dst }),
            fragment6({ id: 5, offsetBytes: offset, hasMore: true }),
            ...sent(port),
          ]
    const maps = { ...mode, sb_flows: leaving(actors, flow) }
    check({
      what: 'first',
      program,
      maps,
      packet: came(tooBig({ mtu: 1400 }), ...first(inner, 50000)),
      expect: arrives(arrived(tooBig({ mtu: 1400 }), ...first({ src: a, dst: stranger }, 40000))),
    })
    check({
      what: 'later',
      program,
      maps,
      packet: came(tooBig({ mtu: 1400 }), ...first(inner, 50000, 1232)),
      expect: passes('PASS_FOREIGN'),
    })
  })

  test('a datagram that had no checksum has none inside, either', () => {
    const none = (sport: number) => udp({ sport, dport: 443, checksum: 0 })
    check({
      what: 'checksum 0',
      program,
      maps: { ...mode, sb_flows: leaving(actors, ofUdp.flow) },
      packet: came(portUnreachable(), ip(inner), none(50000), payload(3)),
      expect: arrives(
        arrived(portUnreachable(), ip({ src: a, dst: stranger }), none(40000), payload(3)),
      ),
    })
  })

  test('on its last hop, or longer than the pod can take, it goes on by the stack', () => {
    const { flow } = ofUdp
    for (const [outcome, ttl, size] of [
      ['PASS_STACK_TTL', 1, 0],
      ['PASS_STACK_MTU', 64, MTU],
    ] as const) {
      const cut = (dst: string, src: string, port: number) =>
        packet(
          links.wire,
          ip({ src: router, dst, ttl }),
          portUnreachable(),
          ip({ src, dst: stranger }),
          udp({ sport: port, dport: 443 }),
          payload(size),
        )
      check({
        what: outcome,
        program,
        maps: { ...mode, sb_flows: leaving(actors, flow) },
        packet: cut(node1, node1, 50000),
        expect: {
          verdict: 'next',
          packetOut: cut(a, a, 40000),
          ctx: { mark: SB_DONE },
          maps: { sb_counters: counted('from_uplink', outcome) },
        },
      })
    }
  })

  test('a redirect speaks of the node’s own link', ({ skip }) => {
    skip(family === 6, 'of IPv6 it is neighbour discovery, which is the node’s')
    const redirect = icmp({ type: 5, code: 1, rest: 0xc0000263 })
    check({
      what: 'redirect',
      program,
      maps: { ...mode, sb_flows: leaving(actors, ofUdp.flow) },
      packet: came(redirect, ip(inner), ...ofUdp.sent(50000)),
      expect: passes('PASS_FOREIGN'),
    })
  })

  describe('of a pod, about an answer', () => {
    const sends = (src: string, about: string, port: number, kind: (typeof kinds)[number]) =>
      packet(
        links.fromA,
        ip({ src, dst: stranger, ...(src === a ? {} : { ttl: 63 }) }),
        portUnreachable(),
        ip({ src: stranger, dst: about, ttl: 3 }),
        ...kind.answered(port),
      )

    test('it leaves under the node’s address and port, outside and inside', () => {
      for (const kind of kinds) {
        for (const generation of [GENERATION, GENERATION - 1]) {
          check({
            what: `${kind.kind}, generation ${generation}`,
            program: 'sb_from_pod',
            maps: { ...mode, sb_flows: leaving(actors, kind.flow, { generation }) },
            packet: sends(a, a, 40000, kind),
            expect: {
              verdict: 'redirect',
              redirect: { kind: 'neighbour', ifindex: IFINDEX_UPLINK },
              packetOut: sends(node1, node1, 50000, kind),
              ctx: { mark: SB_DONE },
              maps: { sb_counters: counted('from_pod', 'PASS_OUT') },
            },
          })
        }
      }
    })

    test.each([
      ['of a flow that nobody has', 40001, ofUdp.answered(40001), {}],
      ['of who had the address before', 40000, ofUdp.answered(40000), { incarnation: 10 }],
    ])('%s it is left to the stack', (what, _port, answered, changes) => {
      check({
        what,
        program: 'sb_from_pod',
        maps: { ...mode, sb_flows: leaving(actors, ofUdp.flow, changes) },
        packet: packet(
          links.fromA,
          ip({ src: a, dst: stranger }),
          portUnreachable(),
          ip({ src: stranger, dst: a }),
          ...answered,
        ),
        expect: { verdict: 'next', maps: { sb_counters: counted('from_pod', 'PASS_STACK_ERROR') } },
      })
    })

    test('it speaks of no other pod’s', () => {
      check({
        what: 'a about what b got',
        program: 'sb_from_pod',
        maps: { ...mode, sb_flows: leaving({ ...actors, a: b }, ofUdp.flow) },
        packet: sends(a, b, 40000, ofUdp),
        expect: {
          verdict: 'shot',
          maps: { sb_counters: counted('from_pod', 'DROP_FOREIGN_ERROR') },
        },
      })
    })
  })

  describe('of the node’s kernel, about an answer', () => {
    const says = (about: string, port: number, kind: (typeof kinds)[number], outer = node1) =>
      packet(
        links.wire,
        ip({ src: outer, dst: stranger }),
        tooBig({ mtu: 1400 }),
        ip({ src: stranger, dst: about, ttl: 3 }),
        ...kind.answered(port),
      )

    test.each([
      ['its address on the uplink', node1],
      ['its address among pods', actors.own1],
    ])('that it could not forward to a pod, from %s', (_what, outer) => {
      for (const kind of kinds) {
        check({
          what: kind.kind,
          program: 'sb_to_uplink',
          maps: { ...mode, sb_flows: leaving(actors, kind.flow) },
          packet: says(a, 40000, kind, outer),
          expect: {
            verdict: 'next',
            packetOut: says(node1, 50000, kind),
            maps: { sb_counters: counted('to_uplink', 'PASS_TRANSLATED') },
          },
        })
      }
    })

    test('that came for the node itself', () => {
      for (const kind of kinds) {
        check({
          what: kind.kind,
          program: 'sb_to_uplink',
          maps: { ...mode, sb_flows: leavingNode(actors, kind.flow) },
          packet: says(node1, 40000, kind),
          expect: {
            verdict: 'next',
            packetOut: says(node1, 50000, kind),
            maps: { sb_counters: counted('to_uplink', 'PASS_TRANSLATED') },
          },
        })
      }
    })

    test('other errors pass as they are', () => {
      check({
        what: 'about an unknown flow',
        program: 'sb_to_uplink',
        maps: { ...mode, sb_flows: leaving(actors, ofUdp.flow) },
        packet: says(node1, 41000, ofUdp),
        expect: { verdict: 'next', maps: { sb_counters: counted('to_uplink', 'PASS_FOREIGN') } },
      })
    })
  })
})
