// Packets of pods that no backend gets, by packet vectors: who is told that nobody serves it, who is dropped, and what is no service's.
import { afterAll, beforeAll, describe, test } from 'vitest'
import {
  CONFIG_MASQUERADE,
  CONFIG_READY,
  FLOW_SEEN,
  IPCACHE_SERVICES,
  SERVICE_INTERNAL_LOCAL,
  SERVICE_SOURCE_RANGES,
} from '../src/layouts.ts'
import { ip, packet, payload, type Rows } from '../testing/index.ts'
import { Outside } from './outside.ts'
import { laterFragment, links, pingPacket, tcpPacket, udpPacket } from './packets.ts'
import { opened, stack, stackBack } from './rows.ts'
import { asked, service, UDP } from './service-flows.ts'
import { SERVICES, serving } from './service-rows.ts'
import {
  type Actors,
  counted,
  type FlowSpec,
  families,
  flowRow,
  keyOf,
  loadWorld,
  readyConfig,
  reverse,
  type Shapes,
  TUNNEL_PORT,
  type World,
} from './world.ts'

const SCTP = 132
const SB_REFUSE = 0x40_0000

let outside: Outside
let world: World
beforeAll(async () => {
  outside = await Outside.open()
  const sb_config = [[0, { ...readyConfig, flags: SERVICES | CONFIG_MASQUERADE }]] as const
  world = await loadWorld({
    netns: outside.netns,
    rows: { sb_config, sb_uplinks: outside.uplinks },
  })
})
afterAll(() => {
  world?.close()
  outside?.close()
})

/** The service's address is in a range of such. */
const range = ({ family, service: addr }: Actors): Rows<Shapes> => ({
  sb_ipcache: [
    [
      { prefixLen: family === 4 ? 96 + 16 : 64, addr },
      { node: 0, identity: 0, flags: IPCACHE_SERVICES },
    ],
  ],
})

describe.each(families)('IPv$family', (actors) => {
  const { family, a, b, own1, service: address, stranger, vacant } = actors
  const route = { src: a, dst: address }
  const datagram = udpPacket(links.fromA, route, asked)
  const other = { ...asked, dport: 81 }
  const icmp = family === 4 ? 1 : 58
  const linkLocal = family === 4 ? '127.0.0.1' : 'fe80::7'

  test('who is in none of the source ranges is dropped, whoever else may ask', () => {
    const bits = 32 + (family === 4 ? 96 + 32 : 128)
    const ranged = (addr: string): Rows<Shapes> => {
      const rows = service(actors, [])
      const sb_services = (rows.sb_services ?? []).map(
        ([key, row]) => [key, { ...row, flags: SERVICE_SOURCE_RANGES }] as const,
      )
      const [[, { id }] = [undefined, { id: 0 }]] = sb_services
      return { ...rows, sb_services, sb_src_ranges: [[{ prefixLen: bits, service: id, addr }, 1]] }
    }
    const program = 'sb_from_pod'
    world.check({
      what: 'another source may ask',
      ...{ program, maps: ranged(stranger), packet: datagram },
      expect: {
        verdict: 'shot',
        maps: { sb_counters: counted('from_pod', 'DROP_SOURCE_RANGE') },
      },
    })
    world.check({
      what: 'it may ask, and nobody serves it',
      ...{ program, maps: ranged(a), packet: datagram },
      expect: {
        verdict: 'next',
        ctx: { mark: SB_REFUSE },
        maps: { sb_counters: counted('from_pod', 'PASS_REFUSED') },
      },
    })
  })

  test.each([
    ['a datagram, and nobody serves it', datagram, service(actors, [])],
    [
      'a SYN, and nobody serves it',
      tcpPacket(links.fromA, route, asked, ['syn']),
      service(actors, []),
    ],
    ['another port of a live address', udpPacket(links.fromA, route, other), service(actors, [b])],
    [
      'the middle of a connection that nobody knows',
      tcpPacket(links.fromA, route, asked, ['ack'], 10),
      service(actors, [b]),
    ],
    [
      'a backend that is in a list and not there',
      datagram,
      { ...service(actors, [b]), sb_backends: [] },
    ],
    [
      'a backend of the other family',
      datagram,
      service(actors, [family === 4 ? 'fd00:2::10' : '10.244.2.10']),
    ],
    ['a backend that is on no network', datagram, service(actors, [linkLocal])],
  ])('%s: the stack is asked to refuse it', (what, sent, rows) => {
    world.check({
      what,
      program: 'sb_from_pod',
      maps: rows,
      packet: sent,
      expect: {
        verdict: 'next',
        ctx: { mark: SB_REFUSE },
        maps: { sb_flows: {}, sb_counters: counted('from_pod', 'PASS_REFUSED') },
      },
    })
  })

  const inRange = (rows: Rows<Shapes>) => ({ ...range(actors), ...rows })
  const local = service(actors, [], SERVICE_INTERNAL_LOCAL)
  const tunnelled = (backend: string) =>
    serving({
      family,
      address,
      port: asked.dport,
      proto: UDP,
      backends: [{ address: backend, port: TUNNEL_PORT }],
    })
  test.each([
    ['DROP_SERVICE_ADDRESS', 'a datagram to what no service has', datagram, inRange({})],
    [
      'DROP_SERVICE_ADDRESS',
      'a ping of what no service has',
      pingPacket(links.fromA, route, 7),
      inRange({}),
    ],
    [
      'DROP_SERVICE_ADDRESS',
      'the middle of a connection to what no service has any more',
      tcpPacket(links.fromA, route, asked, ['ack']),
      inRange({}),
    ],
    [
      'DROP_NO_LOCAL_BACKEND',
      'nobody here, of a service that must be served here',
      datagram,
      local,
    ],
    [
      'DROP_FRAGMENT_ORDER',
      'a later fragment before its first',
      laterFragment(links.fromA, route),
      service(actors, [b]),
    ],
    [
      'DROP_FRAGMENT_ORDER',
      'a later fragment to what no service has',
      laterFragment(links.fromA, route),
      inRange({}),
    ],
    [
      'DROP_TUNNEL_PORT',
      'a backend where other nodes listen for the tunnel',
      datagram,
      tunnelled(stranger),
    ],
    ['DROP_TUNNEL_PORT', 'a backend where this node does', datagram, tunnelled(own1)],
  ])('%s: %s', (reason, what, sent, rows) => {
    world.check({
      what,
      program: 'sb_from_pod',
      maps: rows,
      packet: sent,
      expect: {
        verdict: 'shot',
        maps: { sb_flows: {}, sb_counters: counted('from_pod', reason) },
      },
    })
  })

  const spec: FlowSpec = { source: a, target: address, proto: UDP, ...asked }
  const sctp = packet(links.fromA, ip({ ...route, protocol: SCTP }), payload(16))
  test.each([
    [
      'a ping of a live address',
      pingPacket(links.fromA, route, 7),
      { proto: icmp, icmpClass: 1, sport: 7, dport: 7 },
      inRange(service(actors, [b])),
    ],
    [
      'SCTP, which rules of the node translate',
      sctp,
      { proto: SCTP, sport: 0, dport: 0 },
      inRange(service(actors, [b])),
    ],
    [
      'what is in nobody’s range and no service has',
      udpPacket(links.fromA, { src: a, dst: vacant }, asked),
      { target: vacant },
      {},
    ],
    [
      'all of it, if services are not ours',
      datagram,
      {},
      {
        ...service(actors, [b]),
        sb_config: [[0, { ...readyConfig, flags: CONFIG_READY }]] as const,
      },
    ],
  ])('stays with the stack: %s', (what, sent, changes, rows) => {
    world.check({
      what,
      program: 'sb_from_pod',
      maps: rows,
      packet: sent,
      expect: {
        verdict: 'next',
        ctx: { mark: 0 },
        maps: {
          sb_flows: { added: opened({ ...spec, ...changes }, stack, stackBack) },
          sb_counters: counted('from_pod', 'PASS_STACK'),
        },
      },
    })
  })

  test('a reset that the stack answers with leaves no row', () => {
    world.check({
      what: 'RST of the service',
      program: 'sb_to_pod',
      packet: tcpPacket(links.toA, { src: address, dst: a }, { sport: 80, dport: 40000 }, [
        'rst',
        'ack',
      ]),
      expect: {
        verdict: 'next',
        maps: { sb_flows: {}, sb_counters: counted('to_pod', 'PASS_STACK') },
      },
    })
  })

  test('a connection that the stack has translated until now goes on so', () => {
    const flow = { ...spec, proto: 6 }
    world.check({
      what: 'a → service, row of the stack way',
      program: 'sb_from_pod',
      maps: {
        ...service(actors, [b]),
        sb_flows: [
          [keyOf(flow), flowRow({ ...stack, flags: FLOW_SEEN })],
          [keyOf(reverse(flow)), flowRow({ ...stackBack, flags: FLOW_SEEN })],
        ],
      },
      packet: tcpPacket(links.fromA, route, asked, ['ack'], 10),
      expect: {
        verdict: 'next',
        ctx: { mark: 0 },
        maps: {
          sb_flows: { changed: [[keyOf(flow), {}]] },
          sb_counters: counted('from_pod', 'PASS_STACK'),
        },
      },
    })
  })
})
