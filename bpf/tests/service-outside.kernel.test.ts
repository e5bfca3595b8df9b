// Services asked for from outside, by packet vectors: whom a first packet and the next ones reach, by every kind of way, and how answers leave.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { CONFIG_NATIVE, FLOW_SEEN } from '../src/layouts.ts'
import type { Rows } from '../testing/index.ts'
import { Outside, UPLINK_MTU } from './outside.ts'
import { links, type Ports, type Route, tcpPacket, udpPacket } from './packets.ts'
import {
  BACKEND_PORT,
  begun,
  CLIENT_PORT,
  NODE_PORT,
  type Served,
  served,
} from './service-outside-rows.ts'
import { SERVICES, serving } from './service-rows.ts'
import {
  type Actors,
  counted,
  families,
  IFINDEX_HERE,
  IFINDEX_OVERLAY,
  IFINDEX_UPLINK,
  loadWorld,
  nativeRows,
  readyConfig,
  SB_DONE,
  type Shapes,
  type World,
} from './world.ts'

let outside: Outside
let world: World
beforeAll(async () => {
  outside = await Outside.open()
  world = await loadWorld({ rows: { sb_uplinks: outside.uplinks }, netns: outside.netns })
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const program = 'sb_from_uplink'
const SB_LEND = 0x80_0000
const PROTOCOLS = [
  ['TCP', 6],
  ['UDP', 17],
] as const

const configs = {
  tunnel: { ...readyConfig, flags: SERVICES },
  kernel: { ...readyConfig, flags: SERVICES, overlayIfindex: 0 },
  native: {
    ...readyConfig,
    flags: SERVICES | CONFIG_NATIVE,
    overlayIfindex: 0,
    uplinkIfindex: IFINDEX_UPLINK,
  },
} as const
type Mode = keyof typeof configs
const modes = Object.keys(configs) as Mode[]

const rowsOf = (mode: Mode): Rows<Shapes> => ({
  ...(mode === 'native' ? nativeRows : {}),
  sb_config: [[0, configs[mode]]],
})

/** A host beside the nodes, which is no node. */
const host = { 4: '192.0.2.77', 6: '2001:db8::77' } as const

const packetOf =
  (proto: number) =>
  (link: (typeof links)[keyof typeof links], route: Route, ports: Ports, isFirst = true) =>
    proto === 6
      ? tcpPacket(link, route, ports, [isFirst ? 'syn' : 'ack'], isFirst ? 0 : 100)
      : udpPacket(link, route, ports, 100)

const asks = { sport: CLIENT_PORT, dport: NODE_PORT }
const answers = { sport: BACKEND_PORT, dport: CLIENT_PORT }
const isAnswered = { sport: NODE_PORT, dport: CLIENT_PORT }
const gets = { sport: CLIENT_PORT, dport: BACKEND_PORT }

interface Case {
  readonly what: string
  readonly flow: Omit<Served, 'proto'>
  readonly verdict: 'redirect' | 'next'
  readonly outcome: string
  readonly redirect?: { readonly kind: 'peer' | 'device' | 'neighbour'; readonly ifindex: number }
  readonly mark: number
  readonly sent: (make: ReturnType<typeof packetOf>, isFirst: boolean) => Uint8Array
}

/** What becomes of a packet for a service, by where its backend is. */
function cases({ family, a, c, own1, node1, stranger }: Actors, mode: Mode): readonly Case[] {
  const there = { src: own1, dst: c, ttl: 63 }
  const ways = {
    tunnel: {
      flow: { where: 'tunnel', backend: c, name: own1 },
      verdict: 'redirect',
      outcome: 'PASS_NODE',
      redirect: { kind: 'device', ifindex: IFINDEX_OVERLAY },
      mark: SB_DONE,
      sent: (make, isFirst) => make(links.out, there, gets, isFirst),
    },
    native: {
      flow: { where: 'uplink', backend: c, name: own1 },
      verdict: 'redirect',
      outcome: 'PASS_UPLINK',
      redirect: { kind: 'neighbour', ifindex: IFINDEX_UPLINK },
      mark: SB_DONE,
      sent: (make, isFirst) => make(links.wire, there, gets, isFirst),
    },
    kernel: {
      flow: { where: 'stack', backend: c },
      verdict: 'next',
      outcome: 'PASS_STACK',
      mark: SB_LEND,
      sent: (make, isFirst) => make(links.wire, { src: stranger, dst: c }, gets, isFirst),
    },
  } as const satisfies Record<Mode, Omit<Case, 'what'>>
  return [
    {
      what: 'a pod of this node',
      flow: { where: 'here', backend: a },
      verdict: 'redirect',
      outcome: 'PASS_LOCAL',
      redirect: { kind: 'peer', ifindex: IFINDEX_HERE },
      mark: 0,
      sent: (make, isFirst) => make(links.toA, { src: stranger, dst: a, ttl: 63 }, gets, isFirst),
    },
    {
      what: 'this node itself',
      flow: { where: 'node', backend: node1 },
      verdict: 'next',
      outcome: 'PASS_STACK',
      mark: 0,
      sent: (make, isFirst) => make(links.wire, { src: stranger, dst: node1 }, gets, isFirst),
    },
    { what: 'a pod of another node', ...ways[mode] },
    {
      what: 'a host outside',
      flow: {
        where: 'out',
        backend: host[family],
        name: node1,
        ifindex: outside.uplink,
        mtu: UPLINK_MTU,
      },
      verdict: 'redirect',
      outcome: 'PASS_OUT',
      redirect: { kind: 'neighbour', ifindex: outside.uplink },
      mark: SB_DONE,
      sent: (make, isFirst) =>
        make(links.wire, { src: node1, dst: host[family], ttl: 63 }, gets, isFirst),
    },
  ]
}

describe.each(families)('IPv$family', (actors) => {
  const { family, stranger, node1, c, own1 } = actors
  const asking = { src: stranger, dst: node1 }
  const serviceOf = (proto: number, backend: string) =>
    serving({
      family,
      proto,
      port: NODE_PORT,
      backends: [{ address: backend, port: BACKEND_PORT }],
    })

  describe.each(modes)('in mode %s', (mode) => {
    test.each(PROTOCOLS)(
      'a first packet reaches the backend, and begins a flow: %s',
      (_, proto) => {
        const make = packetOf(proto)
        for (const { what, flow, verdict, outcome, redirect, mark, sent } of cases(actors, mode)) {
          world.check({
            what,
            program,
            maps: { ...rowsOf(mode), ...serviceOf(proto, flow.backend) },
            packet: make(links.wire, asking, asks),
            expect: {
              verdict,
              ...(redirect === undefined ? {} : { redirect }),
              packetOut: sent(make, true),
              ctx: { mark },
              maps: {
                sb_flows: { added: begun(actors, { ...flow, proto }, outside.uplink) },
                sb_counters: counted('from_uplink', outcome),
              },
            },
          })
        }
      },
    )

    test.each(PROTOCOLS)('the next ones follow it, whatever is of the service: %s', (_, proto) => {
      const make = packetOf(proto)
      for (const { what, flow, verdict, outcome, redirect, mark, sent } of cases(actors, mode)) {
        const rows = served(actors, { ...flow, proto })
        world.check({
          what,
          program,
          maps: { ...rowsOf(mode), sb_flows: rows },
          packet: make(links.wire, asking, asks, false),
          expect: {
            verdict,
            ...(redirect === undefined ? {} : { redirect }),
            packetOut: sent(make, false),
            ctx: { mark },
            maps: {
              sb_flows: { changed: [[rows[0][0], {}]] },
              sb_counters: counted('from_uplink', outcome),
            },
          },
        })
      }
    })
  })

  test('a client that has acknowledged nothing has not been seen, whoever answers', () => {
    const [[key, row], answering] = served(actors, { where: 'here', proto: 6, backend: actors.a })
    const half = [[key, { ...row, flags: row.flags & ~FLOW_SEEN }], answering] as const
    for (const [flag, seen] of [
      ['syn', 0],
      ['psh', 0],
      ['ack', FLOW_SEEN],
    ] as const) {
      world.check({
        what: flag,
        program,
        maps: { ...rowsOf('tunnel'), sb_flows: half },
        packet: tcpPacket(links.wire, asking, asks, [flag]),
        expect: {
          verdict: 'redirect',
          redirect: { kind: 'peer', ifindex: IFINDEX_HERE },
          packetOut: 'any',
          maps: {
            sb_flows: { changed: [[key, { flags: (now: number) => (now & FLOW_SEEN) === seen }]] },
            sb_counters: counted('from_uplink', 'PASS_LOCAL'),
          },
        },
      })
    }
  })

  test.each(PROTOCOLS)(
    'answers of a backend elsewhere go back in the service’s name: %s',
    (_, proto) => {
      const make = packetOf(proto)
      const elsewhere = {
        where: 'out',
        proto,
        backend: host[family],
        name: node1,
        ifindex: outside.uplink,
        mtu: UPLINK_MTU,
      } as const
      const remote = { where: 'uplink', proto, backend: c, name: own1 } as const
      for (const [flow, mode, modes] of [
        [elsewhere, 'tunnel', 'the first'],
        [elsewhere, 'native', 'the first'],
        [remote, 'native', 'the first'],
        [elsewhere, 'tunnel', 'a later'],
        [remote, 'native', 'a later'],
      ] as const) {
        const rows = served(actors, flow, modes === 'a later' ? { answeredBy: outside.uplink } : {})
        world.check({
          what: `${modes} answer of ${flow.backend} in mode ${mode}`,
          program,
          maps: { ...rowsOf(mode), sb_flows: rows },
          packet: make(links.wire, { src: flow.backend, dst: flow.name }, answers, false),
          expect: {
            verdict: 'redirect',
            redirect: { kind: 'neighbour', ifindex: outside.uplink },
            packetOut: make(links.wire, { src: node1, dst: stranger, ttl: 63 }, isAnswered, false),
            ctx: { mark: SB_DONE },
            maps: {
              sb_flows: { changed: [[rows[1][0], {}]] },
              sb_counters: counted('from_uplink', 'PASS_OUT'),
            },
          },
        })
      }
    },
  )

  test.each(PROTOCOLS)(
    'the node’s own answers get the service’s name on their way out: %s',
    (_, proto) => {
      const make = packetOf(proto)
      const flow = { where: 'node', proto, backend: node1, service: actors.service } as const
      const rows = served(actors, flow)
      world.check({
        what: 'node → stranger',
        program: 'sb_to_uplink',
        maps: { ...rowsOf('tunnel'), sb_flows: rows },
        packet: make(links.wire, { src: node1, dst: stranger }, answers, false),
        expect: {
          verdict: 'next',
          packetOut: make(links.wire, { src: actors.service, dst: stranger }, isAnswered, false),
          maps: {
            sb_flows: { changed: [[rows[1][0], {}]] },
            sb_counters: counted('to_uplink', 'PASS_SERVICE'),
          },
        },
      })
    },
  )
})
