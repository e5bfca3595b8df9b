// sb_from_uplink by packet vectors on what answers masqueraded flows: into the pod, with every checksum, and nothing else.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  CONFIG_READY,
  CONFIG_TRANSLATED,
  ENDPOINT_SHAPED,
  FLOW_FIN,
  FLOW_FIN_REPLY,
  FLOW_RST,
} from '../src/layouts.ts'
import {
  destinationOptions,
  fragment6,
  ip,
  ip4,
  ip6,
  type Layer,
  packet,
  payload,
  tcp,
  udp,
} from '../testing/index.ts'
import { keysOf, type Leaving, leaving, leavingNode, modes, summing } from './masquerade-rows.ts'
import {
  links,
  type Ports,
  pingPacket,
  pongPacket,
  type Route,
  tcpPacket,
  udpPacket,
} from './packets.ts'
import {
  type Actors,
  counted,
  families,
  IFINDEX_HERE,
  keyOf,
  loadWorld,
  MTU,
  podA,
  readyConfig,
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
const tunnel = modes['a tunnel']
const passes = (outcome: string) => ({
  verdict: 'next' as const,
  maps: { sb_counters: counted('from_uplink', outcome) },
})

/** A flow of each kind, and its answer at the uplink and in the pod. */
function kinds({ family, a, node1, stranger }: Actors, port: number) {
  const outside = { src: stranger, dst: node1 }
  const inside = { src: stranger, dst: a, ttl: 63 }
  const icmp = family === 4 ? 1 : 58
  const transport = { sport: 40000, port, dport: 443 }
  return {
    TCP: {
      flow: { proto: TCP, ...transport },
      came: tcpPacket(links.wire, outside, { sport: 443, dport: port }, ['ack'], 100),
      arrived: tcpPacket(links.toA, inside, { sport: 443, dport: 40000 }, ['ack'], 100),
    },
    UDP: {
      flow: { proto: UDP, ...transport },
      came: udpPacket(links.wire, outside, { sport: 443, dport: port }, 100),
      arrived: udpPacket(links.toA, inside, { sport: 443, dport: 40000 }, 100),
    },
    ping: {
      flow: { proto: icmp, sport: 40000, port, icmpClass: 1 },
      came: pongPacket(links.wire, outside, port),
      arrived: pongPacket(links.toA, inside, 40000),
    },
  } as const
}

const flowOf = (proto: number, port = 50000): Leaving => ({ proto, sport: 40000, port, dport: 443 })

describe.each(families)('IPv$family', (actors) => {
  const { family, a, node1, stranger } = actors
  const outside = { src: stranger, dst: node1 }
  const elsewhere = { src: family === 4 ? '198.51.100.8' : '2001:db8:ffff::8', dst: node1 }
  const inside = { src: stranger, dst: a, ttl: 63 }
  const at = { sport: 443, dport: 50000 }
  const to = { sport: 443, dport: 40000 }

  describe.each(Object.entries(modes))('with %s', (_mode, mode) => {
    test.each(
      [40000, 50000].flatMap((port) =>
        Object.entries(kinds(actors, port)).map(([kind, one]) => ({ kind, port, ...one })),
      ),
    )(
      'an answer arrives in the pod: $kind, port 40000 as $port',
      ({ kind, flow, came, arrived }) => {
        check({
          what: kind,
          program,
          maps: { ...mode, sb_flows: leaving(actors, flow) },
          packet: came,
          ctx: { mark: 0x1234, tstamp: 99n },
          expect: {
            verdict: 'redirect',
            redirect: peerA,
            packetOut: arrived,
            ctx: { mark: 0, tstamp: 0n },
            maps: {
              sb_flows: { changed: [[keyOf(keysOf(actors, flow).back), {}]] },
              sb_counters: counted('from_uplink', 'PASS_LOCAL', came.length),
            },
          },
        })
      },
    )

    test.each([
      ['from another host', elsewhere, at],
      ['from another port', outside, { ...at, sport: 444 }],
      ['to another port', outside, { ...at, dport: 50001 }],
    ])('%s is the node’s own business', (what, route, ports) => {
      const bytes = udpPacket(links.wire, route, ports)
      const sb_flows = leaving(actors, flowOf(UDP))
      const maps = { ...mode, sb_flows }
      check({ what, program, maps, packet: bytes, expect: passes('PASS_FOREIGN') })
    })

    test('so is what another protocol has on the same port', () => {
      const bytes = tcpPacket(links.wire, outside, at, ['ack'])
      const maps = { ...mode, sb_flows: leaving(actors, flowOf(UDP)) }
      check({ what: 'TCP', program, maps, packet: bytes, expect: passes('PASS_FOREIGN') })
    })

    test('an echo request is never taken for a reply', () => {
      const { flow } = kinds(actors, 50000).ping
      const maps = { ...mode, sb_flows: leaving(actors, flow) }
      const bytes = pingPacket(links.wire, outside, 50000)
      check({ what: 'ping', program, maps, packet: bytes, expect: passes('PASS_FOREIGN') })
    })

    test('a pod gets nothing of who had its address before, and nobody of a pod that is gone', () => {
      const sb_flows = leaving(actors, flowOf(UDP), { incarnation: 10 })
      const bytes = udpPacket(links.wire, outside, at)
      const maps = { ...mode, sb_flows }
      check({ what: 'gone', program, maps, packet: bytes, expect: passes('PASS_FOREIGN') })
    })

    test('the node’s own get back the port that the node knows', () => {
      for (const proto of [TCP, UDP]) {
        const make = proto === TCP ? tcpReply : udpReply
        check({
          what: `protocol ${proto}`,
          program,
          maps: { ...mode, sb_flows: leavingNode(actors, flowOf(proto)) },
          packet: make(links.wire, outside, at),
          expect: {
            verdict: 'next',
            packetOut: make(links.wire, outside, to),
            ctx: { mark: 0 },
            maps: {
              sb_flows: { changed: [[keyOf(keysOf(actors, flowOf(proto)).back), {}]] },
              sb_counters: counted('from_uplink', 'PASS_TRANSLATED'),
            },
          },
        })
      }
      const { flow } = kinds(actors, 50000).ping
      check({
        what: 'ping',
        program,
        maps: { ...mode, sb_flows: leavingNode(actors, flow) },
        packet: pongPacket(links.wire, outside, 50000),
        expect: {
          verdict: 'next',
          packetOut: pongPacket(links.wire, outside, 40000),
          maps: {
            sb_flows: { changed: [[keyOf(keysOf(actors, flow).back), {}]] },
            sb_counters: counted('from_uplink', 'PASS_TRANSLATED'),
          },
        },
      })
    })

    test('what looks like the pod’s own packet, on the wire, is taken for nothing of ours', () => {
      const bytes = udpPacket(links.wire, { src: a, dst: stranger }, { sport: 40000, dport: 443 })
      check({
        what: 'a → stranger on the wire',
        program,
        maps: { ...mode, sb_flows: leaving(actors, flowOf(UDP)) },
        packet: bytes,
        expect: {
          verdict: 'shot',
          maps: { sb_counters: counted('from_uplink', 'DROP_NATIVE_SOURCE') },
        },
      })
    })
  })

  test('no row is looked for unless there may be one', () => {
    const maps = {
      sb_config: [[0, { ...readyConfig, flags: CONFIG_READY }]],
      sb_flows: leaving(actors, flowOf(UDP)),
    } as const
    const bytes = udpPacket(links.wire, outside, at)
    check({ what: 'off', program, maps, packet: bytes, expect: passes('PASS_FOREIGN') })
  })

  test('a connection that ends is noted in both rows, and what it had answers to no new one', () => {
    const both = leaving(actors, flowOf(TCP))
    const [[out], [back]] = both
    const has = (flag: number) => (flags: number) => (flags & flag) !== 0
    for (const [flag, here, there] of [
      ['fin', FLOW_FIN, FLOW_FIN_REPLY],
      ['rst', FLOW_RST, FLOW_RST],
    ] as const) {
      check({
        what: flag,
        program,
        maps: { ...tunnel, sb_flows: both },
        packet: tcpPacket(links.wire, outside, at, [flag, 'ack']),
        expect: {
          verdict: 'redirect',
          redirect: peerA,
          packetOut: tcpPacket(links.toA, inside, to, [flag, 'ack']),
          maps: {
            sb_flows: {
              changed: [
                [back, { flags: has(here) }],
                [out, { flags: has(there) }],
              ],
            },
            sb_counters: counted('from_uplink', 'PASS_LOCAL'),
          },
        },
      })
    }
    check({
      what: 'a SYN from outside to a port that a pod had',
      program,
      maps: { ...tunnel, sb_flows: leaving(actors, flowOf(TCP), { flags: FLOW_RST }) },
      packet: tcpPacket(links.wire, outside, at, ['syn']),
      expect: passes('PASS_FOREIGN'),
    })
  })

  test('the last hop, and what is too long for the pod, are answered by the stack', () => {
    const { back } = keysOf(actors, flowOf(UDP))
    const long = MTU - (family === 4 ? 28 : 48) + 1
    for (const [outcome, ttl, size] of [
      ['PASS_STACK_TTL', 1, 20],
      ['PASS_STACK_MTU', 64, long],
    ] as const) {
      check({
        what: outcome,
        program,
        maps: { ...tunnel, sb_flows: leaving(actors, flowOf(UDP)) },
        packet: udpPacket(links.wire, { ...outside, ttl }, at, size),
        ctx: { mark: 0x10 },
        expect: {
          verdict: 'next',
          packetOut: udpPacket(links.wire, { src: stranger, dst: a, ttl }, to, size),
          ctx: { mark: SB_DONE | 0x10 },
          maps: {
            sb_flows: { changed: [[keyOf(back), {}]] },
            sb_counters: counted('from_uplink', outcome),
          },
        },
      })
    }
  })

  test('of what a device has put together, segments count', () => {
    const headers = family === 4 ? 40 : 60
    const flow = flowOf(TCP)
    for (const [gsoSize, fits] of [
      [MTU - headers, true],
      [MTU - headers + 1, false],
    ] as const) {
      const out = fits
        ? tcpPacket(links.toA, inside, to, ['ack'], 3000)
        : tcpPacket(links.wire, { src: stranger, dst: a }, to, ['ack'], 3000)
      check({
        what: `segments of ${gsoSize}`,
        program,
        maps: { ...tunnel, sb_flows: leaving(actors, flow) },
        packet: tcpPacket(links.wire, outside, at, ['ack'], 3000),
        ctx: { gsoSize, gsoSegs: 3 },
        expect: {
          verdict: fits ? 'redirect' : 'next',
          ...(fits ? { redirect: peerA } : {}),
          packetOut: out,
          maps: {
            sb_flows: { changed: [[keyOf(keysOf(actors, flow).back), {}]] },
            sb_counters: counted('from_uplink', fits ? 'PASS_LOCAL' : 'PASS_STACK_MTU'),
          },
        },
      })
    }
  })

  test('a pod held to a rate gets them through its qdisc', () => {
    const flow = flowOf(UDP)
    check({
      what: 'shaped',
      program,
      maps: {
        ...tunnel,
        sb_flows: leaving(actors, flow),
        sb_endpoints: [[a, { ...podA, flags: podA.flags | ENDPOINT_SHAPED }]],
      },
      packet: udpPacket(links.wire, outside, at),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_HERE },
        packetOut: udpPacket(links.toA, inside, to),
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: { changed: [[keyOf(keysOf(actors, flow).back), {}]] },
          sb_counters: counted('from_uplink', 'PASS_LOCAL'),
        },
      },
    })
  })

  const fragments = (link: Layer, route: Route, ports: Ports) => {
    const whole = udpPacket(link, { ...route, ttl: 64 }, ports, 64).slice(family === 4 ? 34 : 54)
    return [0, 32].map((offset) => {
      const more = offset === 0
      const bytes = payload(whole.slice(offset, more ? 32 : undefined))
      const cut = { id: 77, hasMore: more, offsetBytes: offset }
      return family === 4
        ? packet(
            link,
            ip4({
              ...route,
              id: 77,
              hasMoreFragments: more,
              fragmentOffsetBytes: offset,
              protocol: UDP,
            }),
            bytes,
          )
        : packet(
            link,
            ip6({
              src: route.src,
              dst: route.dst,
              ...(route.ttl === undefined ? {} : { hopLimit: route.ttl }),
            }),
            fragment6({ ...cut, nextHeader: UDP }),
            bytes,
          )
    })
  }

  test('fragments follow their first, by the stack; without it they are left to the node', () => {
    const flow = flowOf(UDP)
    const [first, later] = fragments(links.wire, outside, at)
    // With the hop still to be counted, and no check by whoever tracks connections.
    const [firstIn, laterIn] = fragments(links.wire, { ...inside, ttl: 64 }, to)
    if (!first || !later || !firstIn || !laterIn) throw new TypeError('two fragments')
    const maps = { ...tunnel, sb_flows: leaving(actors, flow) }
    const touched = { changed: [[keyOf(keysOf(actors, flow).back), {}] as const] }
    const arrives = (total: number, packetOut: Uint8Array) =>
      ({
        verdict: 'next',
        packetOut,
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: touched,
          sb_counters: counted('from_uplink', 'PASS_STACK', undefined, total),
        },
      }) as const
    check({
      what: 'out of order',
      program,
      maps,
      packet: later,
      expect: passes('PASS_FOREIGN'),
    })
    check({ what: 'the first', program, maps, packet: first, expect: arrives(1, firstIn) })
    // Its row as it was, so that it is touched whether or not the clock has moved on since.
    const { sb_flows } = maps
    const again = { what: 'the later', program, maps: { sb_flows }, packet: later }
    world.step({ ...again, expect: arrives(2, laterIn) })
  })

  test('nobody but an answer names ports for fragments', () => {
    const [first] = fragments(links.wire, outside, { ...at, dport: 50001 })
    if (!first) throw new TypeError('a first fragment')
    check({
      what: 'to a port of the node',
      program,
      maps: { ...tunnel, sb_flows: leaving(actors, flowOf(UDP)) },
      packet: first,
      expect: {
        verdict: 'next',
        maps: { sb_fragments: {}, sb_counters: counted('from_uplink', 'PASS_FOREIGN') },
      },
    })
  })

  test('headers with options do not hide the ports', () => {
    const long = (link: Layer, { src, dst, ttl = 64 }: Route): Layer[] =>
      family === 4
        ? [link, ip4({ src, dst, ttl, options: Uint8Array.of(148, 4, 0, 0) })]
        : [link, ip6({ src, dst, hopLimit: ttl }), destinationOptions()]
    for (const [proto, layer] of [
      [TCP, tcp],
      [UDP, udp],
    ] as const) {
      const flow = flowOf(proto)
      check({
        what: `protocol ${proto}`,
        program,
        maps: { ...tunnel, sb_flows: leaving(actors, flow) },
        packet: packet(...long(links.wire, outside), layer(at), payload(9)),
        expect: {
          verdict: 'redirect',
          redirect: peerA,
          packetOut: packet(...long(links.toA, inside), layer(to), payload(9)),
          maps: {
            sb_flows: { changed: [[keyOf(keysOf(actors, flow).back), {}]] },
            sb_counters: counted('from_uplink', 'PASS_LOCAL'),
          },
        },
      })
    }
  })

  test('the checksums stay right for any sum they can have', () => {
    const flow = flowOf(UDP)
    world.reset()
    world.put({ ...tunnel, sb_flows: leaving(actors, flow) })
    const run = world.program(program)
    for (let i = 0; i < 0x10000; i += 7) {
      const data = Uint8Array.of(i >> 8, i & 255, 255, 254)
      const cut = (link: Layer, route: Route, ports: Ports) =>
        packet(link, ip({ ...route, tos: i & 0xfc }), udp(ports), payload(data))
      const out = run.testRun({ data: cut(links.wire, outside, at) })
      const want = cut(links.toA, inside, to)
      if (Buffer.compare(out.data, want) !== 0) expect(out.data).toEqual(want)
    }
  })
})

test.each(families)('a datagram without a checksum stays without, IPv$family', (actors) => {
  const cut = (link: Layer, route: Route, dport: number) =>
    packet(link, ip(route), udp({ sport: 443, dport, checksum: 0 }), payload(5))
  const { a, node1, stranger } = actors
  check({
    what: 'checksum 0',
    program,
    maps: {
      sb_config: [[0, { ...readyConfig, flags: CONFIG_READY | CONFIG_TRANSLATED }]],
      sb_flows: leaving(actors, flowOf(UDP)),
    },
    packet: cut(links.wire, { src: stranger, dst: node1 }, 50000),
    expect: {
      verdict: 'redirect',
      redirect: peerA,
      packetOut: cut(links.toA, { src: stranger, dst: a, ttl: 63 }, 40000),
      maps: {
        sb_flows: { changed: [[keyOf(keysOf(actors, flowOf(UDP)).back), {}]] },
        sb_counters: counted('from_uplink', 'PASS_LOCAL'),
      },
    },
  })
})

function tcpReply(link: Layer, route: Route, ports: Ports) {
  return tcpPacket(link, route, ports, ['ack'], 3)
}

function udpReply(link: Layer, route: Route, ports: Ports) {
  return udpPacket(link, route, ports, 3)
}
