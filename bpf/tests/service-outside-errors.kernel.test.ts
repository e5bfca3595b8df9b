// Services asked for from outside, by packet vectors: ICMP errors about their flows, what does not fit, and who only claims to be of such a flow.
import { afterAll, beforeAll, describe, test } from 'vitest'
import {
  CONFIG_MASQUERADE,
  CONFIG_NATIVE,
  CONFIG_TRANSLATED,
  FLOW_TRANSLATED,
} from '../src/layouts.ts'
import {
  ip,
  ip4,
  type Layer,
  packet,
  payload,
  portUnreachable,
  tooBig,
  udp,
} from '../testing/index.ts'
import { clockOf } from './clock.ts'
import { type Outside, openServing, UPLINK_MTU } from './outside.ts'
import { links, udpPacket } from './packets.ts'
import { BACKEND_PORT, CLIENT_PORT, NODE_PORT, served } from './service-outside-rows.ts'
import { SERVICES } from './service-rows.ts'
import {
  counted,
  families,
  flowExpected,
  IFINDEX_HERE,
  IFINDEX_OVERLAY,
  IFINDEX_UPLINK,
  keyOf,
  MTU,
  nativeRows,
  readyConfig,
  SB_DONE,
  type World,
} from './world.ts'

let outside: Outside
let world: World
beforeAll(async () => {
  ;({ outside, world } = await openServing())
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const program = 'sb_from_uplink'
const UDP = 17
const native = {
  ...nativeRows,
  sb_config: [
    [
      0,
      {
        ...readyConfig,
        flags: SERVICES | CONFIG_NATIVE,
        overlayIfindex: 0,
        uplinkIfindex: IFINDEX_UPLINK,
      },
    ],
  ],
} as const
const asks = { sport: CLIENT_PORT, dport: NODE_PORT }
const gets = { sport: CLIENT_PORT, dport: BACKEND_PORT }
const answers = { sport: BACKEND_PORT, dport: CLIENT_PORT }
const isAnswered = { sport: NODE_PORT, dport: CLIENT_PORT }
const peer = { kind: 'peer', ifindex: IFINDEX_HERE } as const
const overlay = { kind: 'device', ifindex: IFINDEX_OVERLAY } as const

describe.each(families)('IPv$family', (actors) => {
  const { family, a, c, node1, own1, service, stranger } = actors
  const router = family === 4 ? '203.0.113.1' : '2001:db8:cafe::1'
  const host = family === 4 ? '192.0.2.77' : '2001:db8::77'
  const by = { kind: 'neighbour', ifindex: outside?.uplink ?? 0 } as const
  const here = { where: 'here', proto: UDP, backend: a, service } as const
  const node = { where: 'node', proto: UDP, backend: node1, service } as const
  const tunnel = { where: 'tunnel', proto: UDP, backend: c, name: own1, service } as const
  const uplink = { ...tunnel, where: 'uplink' } as const
  const out = () =>
    ({
      where: 'out',
      proto: UDP,
      backend: host,
      name: node1,
      service,
      ifindex: outside.uplink,
      mtu: UPLINK_MTU,
    }) as const
  const error = (
    link: Layer,
    [src, dst, ttl = 64]: readonly [src: string, dst: string, ttl?: number],
    what: Layer,
    [from, to]: readonly [from: string, to: string],
    ports: { readonly sport: number; readonly dport: number },
  ) =>
    packet(
      link,
      ip({ src, dst, ttl }),
      what,
      ip({ src: from, dst: to, ttl: 3 }),
      udp(ports),
      payload(9),
    )
  const narrow = tooBig({ mtu: 1400 })
  const closed = portUnreachable()

  test('what a router says of an answer reaches the backend, in its words', () => {
    const came = error(links.wire, [router, service], narrow, [service, stranger], isAnswered)
    const cases = [
      [
        'a pod of this node',
        {},
        here,
        { verdict: 'redirect', redirect: peer },
        error(links.toA, [router, a, 63], narrow, [a, stranger], answers),
        'PASS_LOCAL',
        0,
      ],
      [
        'the node itself',
        {},
        node,
        { verdict: 'next' },
        error(links.wire, [router, node1], narrow, [node1, stranger], answers),
        'PASS_STACK_ERROR',
        0,
      ],
      [
        'a pod of another node',
        {},
        tunnel,
        { verdict: 'redirect', redirect: overlay },
        error(links.out, [own1, c, 63], narrow, [c, own1], answers),
        'PASS_NODE',
        SB_DONE,
      ],
      [
        'the same without a tunnel',
        native,
        uplink,
        { verdict: 'redirect', redirect: { ...by, ifindex: IFINDEX_UPLINK } },
        error(links.wire, [own1, c, 63], narrow, [c, own1], answers),
        'PASS_UPLINK',
        SB_DONE,
      ],
      [
        'a host outside',
        {},
        out(),
        { verdict: 'redirect', redirect: { ...by, ifindex: outside.uplink } },
        error(links.wire, [node1, host, 63], narrow, [host, node1], answers),
        'PASS_OUT',
        SB_DONE,
      ],
    ] as const
    for (const [what, maps, flow, verdict, packetOut, outcome, mark] of cases) {
      world.check({
        what,
        program,
        maps: { ...maps, sb_flows: served(actors, flow) },
        packet: came,
        expect: {
          ...verdict,
          packetOut,
          ctx: { mark },
          maps: { sb_counters: counted('from_uplink', outcome) },
        },
      })
    }
  })

  test('what is said of a packet that the node sent on reaches the client, of what it asked', () => {
    const flow = out()
    const leaves = (outcome: string, packetOut: Uint8Array) =>
      ({
        verdict: 'redirect',
        redirect: { ...by, ifindex: outside.uplink },
        packetOut,
        ctx: { mark: SB_DONE },
        maps: { sb_counters: counted('from_uplink', outcome) },
      }) as const
    for (const [what, maps, row, came, sent] of [
      [
        'by a router',
        {},
        flow,
        error(links.wire, [router, node1], narrow, [node1, host], gets),
        error(links.wire, [router, stranger, 63], narrow, [stranger, service], asks),
      ],
      [
        'by the backend',
        {},
        flow,
        error(links.wire, [host, node1], closed, [node1, host], gets),
        error(links.wire, [service, stranger, 63], closed, [stranger, service], asks),
      ],
      [
        'by a pod of another node, without a tunnel',
        native,
        uplink,
        error(links.wire, [c, own1], closed, [own1, c], gets),
        error(links.wire, [service, stranger, 63], closed, [stranger, service], asks),
      ],
    ] as const) {
      world.check({
        what,
        program,
        maps: { ...maps, sb_flows: served(actors, row, { answeredBy: outside.uplink }) },
        packet: came,
        expect: leaves('PASS_OUT', sent),
      })
    }
  })

  test('what the node’s kernel says of a packet to itself is of the service', () => {
    world.check({
      what: 'port unreachable',
      program: 'sb_to_uplink',
      maps: { sb_flows: served(actors, node) },
      packet: error(links.wire, [node1, stranger], closed, [stranger, node1], gets),
      expect: {
        verdict: 'next',
        packetOut: error(links.wire, [service, stranger], closed, [stranger, service], asks),
        maps: { sb_counters: counted('to_uplink', 'PASS_TRANSLATED') },
      },
    })
  })

  test('what does not fit into the tunnel, or is on its last hop, is answered in the service’s name', () => {
    const long = MTU - (family === 4 ? 28 : 48) + 1
    const lent = keyOf({ source: c, target: stranger, proto: UDP, ...answers })
    const to = { saddr: service, daddr: stranger, ...isAnswered }
    const rows = served(actors, tunnel)
    const whole = (src: string, dst: string, ports: typeof asks, size: number, ttl: number) =>
      packet(
        links.wire,
        family === 4 ? ip4({ src, dst, ttl, isDontFragment: true }) : ip({ src, dst, ttl }),
        udp(ports),
        payload(size),
      )
    for (const [outcome, size, ttl] of [
      ['PASS_STACK_MTU', long, 64],
      ['PASS_STACK_TTL', 20, 1],
    ] as const) {
      world.check({
        what: outcome,
        program,
        maps: { sb_flows: rows },
        packet: whole(stranger, service, asks, size, ttl),
        expect: {
          verdict: 'next',
          packetOut: whole(stranger, c, gets, size, ttl),
          ctx: { mark: SB_DONE },
          maps: {
            sb_flows: { changed: [[rows[0][0], {}]] },
            sb_lent: { added: [[lent, { to }]] },
            sb_counters: counted('from_uplink', outcome),
          },
        },
      })
      world.step({
        what: 'what the kernel says of it',
        program: 'sb_to_uplink',
        packet: error(links.wire, [node1, stranger], narrow, [stranger, c], gets),
        expect: {
          verdict: 'next',
          packetOut: error(links.wire, [service, stranger], narrow, [stranger, service], asks),
          maps: { sb_counters: counted('to_uplink', 'PASS_TRANSLATED') },
        },
      })
    }
  })

  test('what routers may cut up goes on whole: the tunnel is cut up', (ctx) => {
    ctx.skip(family === 6, 'no router cuts IPv6 up')
    const rows = served(actors, tunnel)
    world.check({
      what: 'too long',
      program,
      maps: { sb_flows: rows },
      packet: udpPacket(links.wire, { src: stranger, dst: service }, asks, 1472),
      expect: {
        verdict: 'redirect',
        redirect: overlay,
        packetOut: udpPacket(links.out, { src: own1, dst: c, ttl: 63 }, gets, 1472),
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: { changed: [[rows[0][0], {}]] },
          sb_counters: counted('from_uplink', 'PASS_NODE'),
        },
      },
    })
  })

  test('what would leave in pieces by the uplink the client is told of instead', (ctx) => {
    ctx.skip(family === 6, 'no router cuts IPv6 up')
    const rows = served(actors, out())
    const whole = (dst: string, ports: typeof asks, isDontFragment: boolean) =>
      packet(
        links.wire,
        ip4({ src: stranger, dst, isDontFragment }),
        udp(ports),
        payload(UPLINK_MTU - 27),
      )
    for (const isDontFragment of [false, true]) {
      world.check({
        what: `do not fragment: ${isDontFragment}`,
        program,
        maps: { sb_flows: rows },
        packet: whole(service, asks, isDontFragment),
        expect: {
          verdict: 'next',
          packetOut: whole(host, gets, true),
          ctx: { mark: SB_DONE },
          maps: {
            sb_flows: { changed: [[rows[0][0], {}]] },
            sb_counters: counted('from_uplink', 'PASS_STACK_MTU'),
          },
        },
      })
    }
  })

  test('what is not lent just now is not believed to be', async () => {
    const clock = await clockOf(world)
    const about = keyOf({ source: c, target: stranger, proto: UDP, ...answers })
    const to = { saddr: service, daddr: stranger, ...isAnswered }
    for (const [seen, outcome] of [
      [clock.now, 'PASS_TRANSLATED'],
      [clock.secondsAgo(60), 'PASS_FOREIGN'],
    ] as const) {
      world.check({
        what: outcome,
        program: 'sb_to_uplink',
        maps: { sb_lent: [[about, { to, seen }]] },
        packet: error(links.wire, [node1, stranger], narrow, [stranger, c], gets),
        expect: {
          verdict: 'next',
          packetOut: 'any',
          maps: { sb_counters: counted('to_uplink', outcome) },
        },
      })
    }
  })

  test('what is too long for a pod of this node the kernel sends on, or tells the client', () => {
    const long = MTU - (family === 4 ? 28 : 48) + 1
    const rows = served(actors, here)
    world.check({
      what: 'too long',
      program,
      maps: { sb_flows: rows },
      packet: udpPacket(links.wire, { src: stranger, dst: service }, asks, long),
      expect: {
        verdict: 'next',
        packetOut: udpPacket(links.wire, { src: stranger, dst: a }, gets, long),
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: { changed: [[rows[0][0], {}]] },
          sb_counters: counted('from_uplink', 'PASS_STACK_MTU'),
        },
      },
    })
    world.step({
      what: 'what the kernel says of it',
      program: 'sb_to_uplink',
      packet: error(links.wire, [node1, stranger], narrow, [stranger, a], gets),
      expect: {
        verdict: 'next',
        packetOut: error(links.wire, [service, stranger], narrow, [stranger, service], asks),
        maps: { sb_counters: counted('to_uplink', 'PASS_TRANSLATED') },
      },
    })
  })

  test('nobody on the wire speaks for a backend in the pod network', () => {
    for (const [what, flow, dst] of [
      ['a pod of this node', here, stranger],
      ['a pod of another', tunnel, own1],
    ] as const) {
      world.check({
        what,
        program,
        maps: { sb_flows: served(actors, flow, { answeredBy: outside.uplink }) },
        packet: udpPacket(links.wire, { src: flow.backend, dst }, answers),
        expect: {
          verdict: 'shot',
          maps: { sb_counters: counted('from_uplink', 'DROP_NATIVE_SOURCE') },
        },
      })
    }
  })

  test('the node asks a client from the port of a service under another one', () => {
    const flags = SERVICES | CONFIG_TRANSLATED | CONFIG_MASQUERADE
    const only = { ...readyConfig, flags, portMin: 50_000, portMax: 50_000 }
    const flow = { ...here, service: node1 } as const
    world.reset()
    world.put({ sb_config: [[0, only]], sb_flows: served(actors, flow) })
    const to = { saddr: node1, daddr: stranger, sport: 50_000, dport: CLIENT_PORT }
    const key = { source: node1, target: stranger, proto: UDP, ...isAnswered }
    const back = { source: stranger, target: node1, proto: UDP, sport: CLIENT_PORT, dport: 50_000 }
    world.step({
      what: 'node → stranger',
      program: 'sb_to_uplink',
      packet: udpPacket(links.wire, { src: node1, dst: stranger }, isAnswered),
      expect: {
        verdict: 'next',
        packetOut: udpPacket(
          links.wire,
          { src: node1, dst: stranger },
          { sport: 50_000, dport: CLIENT_PORT },
        ),
        maps: {
          sb_flows: {
            added: [
              [
                keyOf({ ...key, sport: NODE_PORT, dport: CLIENT_PORT }),
                flowExpected({ kind: 'stack', flags: FLOW_TRANSLATED | 1, to }),
              ],
              [
                keyOf(back),
                flowExpected({
                  kind: 'stack',
                  flags: FLOW_TRANSLATED,
                  to: { saddr: stranger, daddr: node1, sport: CLIENT_PORT, dport: NODE_PORT },
                }),
              ],
            ],
          },
          sb_counters: counted('to_uplink', 'PASS_TRANSLATED'),
        },
      },
    })
  })
})
