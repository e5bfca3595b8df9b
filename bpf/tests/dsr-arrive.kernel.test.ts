// Direct server return by packet vectors: what the node with the backend makes of what another sends on, and whom it does not believe.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  CONFIG_DSR,
  DSR_VNI,
  FLOW_RST,
  OPENER_CLIENT,
  SERVICE_AFFINITY,
  SERVICE_HOST_PORT,
  SERVICE_SOURCE_RANGES,
} from '../src/layouts.ts'
import { type eth, ip, packet, payload, type Rows, tooBig, udp } from '../testing/index.ts'
import { sweepOf } from './clock.ts'
import {
  answers,
  asks,
  gets,
  isAnswered,
  makeOf,
  naming,
  PROTOCOLS,
  peer,
  TCP,
  UDP,
} from './dsr-packets.ts'
import { type Outside, openServing } from './outside.ts'
import { firstFragment, laterFragment, links, tcpPacket, udpPacket } from './packets.ts'
import { BACKEND_PORT, begun, NODE_PORT, type Served, served } from './service-outside-rows.ts'
import { type Asked, SERVICES, serving } from './service-rows.ts'
import {
  counted,
  families,
  ipv4,
  readyConfig,
  SB_DONE,
  type Shapes,
  tunnelIn,
  VNI,
  type World,
} from './world.ts'

const TC_ACT_REDIRECT = 7

let outside: Outside
let world: World
beforeAll(async () => {
  ;({ outside, world } = await openServing({ flags: SERVICES | CONFIG_DSR }))
})
afterAll(() => {
  world?.close()
  outside?.close()
})

describe.each(families)('IPv$family, the node that has the backend', (actors) => {
  const { family, a, b, c, node1, node2, service, stranger } = actors
  const program = 'vector_from_overlay'
  const test_tunnel = [[0, { ...tunnelIn, vni: VNI ^ DSR_VNI }]] as const
  const rows = (proto: number, more: Partial<Asked> = {}): Rows<Shapes> => ({
    ...serving({
      ...{ family, proto, port: NODE_PORT, backends: [{ address: a, port: BACKEND_PORT }] },
      ...more,
    }),
    test_tunnel,
  })
  const asking = { src: stranger, dst: node2 }
  const flow = (proto: number): Served => ({ where: 'here', proto, backend: a, service: node2 })
  const arrives = (proto: number, flag?: 'ack') => ({
    verdict: 'redirect' as const,
    redirect: peer,
    packetOut: makeOf(proto, flag)(links.toA, { src: stranger, dst: a, ttl: 63 }, gets),
  })

  test.each(PROTOCOLS)(
    'a first packet begins a flow as if this node had been asked: %s',
    (_, proto) => {
      world.check({
        what: 'stranger → node2',
        program,
        maps: rows(proto),
        packet: makeOf(proto)(naming(a), asking, asks),
        expect: {
          ...arrives(proto),
          maps: {
            sb_flows: { added: begun(actors, flow(proto), outside.uplink) },
            sb_counters: counted('from_overlay', 'PASS_LOCAL'),
          },
        },
      })
    },
  )

  test.each(PROTOCOLS)(
    'the next ones follow it; without its rows they are made again: %s',
    (_, proto) => {
      const pair = served(actors, flow(proto))
      world.check({
        what: 'next',
        program,
        maps: { test_tunnel, sb_flows: pair },
        packet: makeOf(proto, 'ack')(naming(a), asking, asks),
        expect: {
          ...arrives(proto, 'ack'),
          maps: {
            sb_flows: { changed: [[pair[0][0], {}]] },
            sb_counters: counted('from_overlay', 'PASS_LOCAL'),
          },
        },
      })
      world.check({
        what: 'lost',
        program,
        maps: rows(proto),
        packet: makeOf(proto, 'ack')(naming(a), asking, asks),
        expect: {
          ...arrives(proto, 'ack'),
          maps: {
            sb_flows: { added: begun(actors, flow(proto), outside.uplink) },
            sb_counters: counted('from_overlay', 'PASS_LOCAL'),
          },
        },
      })
    },
  )

  test('the other node decides: a row of another backend ends', () => {
    const pair = served(actors, { ...flow(UDP), backend: b })
    const [, back] = begun(actors, flow(UDP), outside.uplink)
    world.check({
      what: 'b before, a now',
      program,
      maps: { ...rows(UDP), sb_flows: pair },
      packet: udpPacket(naming(a), asking, asks),
      expect: {
        ...arrives(UDP),
        maps: {
          sb_flows: { changed: [[pair[0][0], {}]], removed: [pair[1][0]], added: [back] },
          sb_counters: counted('from_overlay', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('which backend a client has is the other node’s to know, whoever asked here before', () => {
    const affinity = { flags: SERVICE_AFFINITY, affinitySec: 3600 }
    const kept = () => Array.from(world.map('sb_affinity').keys()).length
    const { netns } = outside
    world.reset()
    world.put(rows(UDP, affinity))
    // Several times: a test may go on on another CPU, which has a room of its own to work in.
    for (let sport = 1; sport <= 16; sport++) {
      const here = udpPacket(links.wire, { src: stranger, dst: node1 }, { ...asks, sport })
      world.program('sb_from_uplink').testRun({ data: here, netns })
      expect(kept()).toBe(1)
      world.map('sb_affinity').delete(Array.from(world.map('sb_affinity').keys())[0] as Uint8Array)
      const sentOn = udpPacket(naming(a), asking, { ...asks, sport })
      world.program(program).testRun({ data: sentOn, netns })
      expect(kept()).toBe(0)
    }
    expect(Array.from(world.map('sb_flows').keys())).toHaveLength(64)
  })

  test('the list is looked through for those who have room, in its beginning, and once a tick', async () => {
    const others = rows(TCP, { backends: [{ address: b, port: BACKEND_PORT }] })
    const packet = tcpPacket(naming(a), asking, asks, ['syn'])
    const many = { flows: 400, recount: 0 }
    const who = { kind: OPENER_CLIENT, incarnation: 0, addr: '::' }
    const full: Rows<Shapes> = { ...others, sb_openers: [[who, many]], sb_opened: [[0, many]] }
    const slot = (at: number, id: number) =>
      [
        { list: 1, slot: at },
        { backend: id, weight: 0 },
      ] as const
    const long = { ...rows(TCP), sb_slots: [slot(0, 1025), slot(1, 999), slot(1025, 101)] }
    const [[key, row], back] = served(actors, flow(TCP), { flags: FLOW_RST })
    const ended = (now: number): Rows<Shapes> => ({
      ...others,
      sb_flows: [[key, { ...row, seen: now, created: now }], back],
    })
    for (const [what, maps, reason] of [
      ['no room', full, 'DROP_FLOW_SHARE'],
      ['the last of too many', long, 'DROP_NOT_BACKEND'],
      ['again, later', ended(0), 'DROP_NOT_BACKEND'],
    ] as const) {
      const expect = {
        verdict: 'shot',
        maps: { sb_counters: counted('from_overlay', reason) },
      } as const
      world.check({ what, program, maps, packet, expect })
    }
    let verdict: number | undefined
    // A tick may begin meanwhile: then the list is asked.
    for (let tries = 0; verdict === undefined; tries++) {
      expect(tries).toBeLessThan(10)
      world.reset()
      const { now } = await sweepOf(world)
      world.put(ended(now))
      const { retval } = world.program(program).testRun({ data: packet, netns: outside.netns })
      if ((await sweepOf(world)).now === now) verdict = retval
    }
    expect(verdict).toBe(TC_ACT_REDIRECT)
  })

  test('pods of two nodes that end in the same bytes are told apart', () => {
    const twin = family === 4 ? c : 'fd00:2::10'
    const backends = [twin, a].map((address) => ({ address, port: BACKEND_PORT }))
    world.check({
      what: 'the second of the list is here',
      program,
      maps: rows(UDP, { backends }),
      packet: udpPacket(naming(a), asking, asks),
      expect: {
        ...arrives(UDP),
        maps: {
          sb_flows: { added: begun(actors, flow(UDP), outside.uplink) },
          sb_counters: counted('from_overlay', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('an address of the service’s own is asked for alike', () => {
    const asked = { ...flow(UDP), service }
    world.check({
      what: 'stranger → service',
      program,
      maps: rows(UDP, { address: service }),
      packet: udpPacket(naming(a), { src: stranger, dst: service }, asks),
      expect: {
        ...arrives(UDP),
        maps: {
          sb_flows: { added: begun(actors, asked, outside.uplink) },
          sb_counters: counted('from_overlay', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('answers leave by this node’s uplink in the name of the other', () => {
    const pair = served(actors, flow(UDP), { answeredBy: outside.uplink })
    world.check({
      what: 'a → stranger',
      program: 'sb_from_pod',
      maps: { sb_flows: pair },
      packet: udpPacket(links.fromA, { src: a, dst: stranger }, answers),
      expect: {
        ...{ verdict: 'redirect', redirect: { kind: 'neighbour', ifindex: outside.uplink } },
        packetOut: udpPacket(links.fromA, { src: node2, dst: stranger, ttl: 63 }, isAnswered),
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: { changed: [[pair[1][0], {}]] },
          sb_counters: counted('from_pod', 'PASS_OUT'),
        },
      },
    })
  })

  test('what a router says of an answer reaches the pod', () => {
    const router = family === 4 ? '203.0.113.1' : '2001:db8:cafe::1'
    const error = (
      link: ReturnType<typeof eth>,
      to: string,
      ttl: number,
      about: typeof asks,
    ): Uint8Array =>
      packet(
        ...[link, ip({ src: router, dst: to, ttl }), tooBig({ mtu: 1400 })],
        ...[ip({ src: to, dst: stranger, ttl: 3 }), udp(about), payload(9)],
      )
    world.check({
      what: 'too big',
      program,
      maps: { test_tunnel, sb_flows: served(actors, flow(UDP)) },
      packet: error(naming(a), node2, 64, isAnswered),
      expect: {
        ...{ verdict: 'redirect', redirect: peer, packetOut: error(links.toA, a, 63, answers) },
        maps: { sb_counters: counted('from_overlay', 'PASS_LOCAL') },
      },
    })
  })

  test('fragments follow their first by the stack', () => {
    const pair = served(actors, flow(UDP))
    const route = { src: stranger, dst: node2 }
    const toPod = { src: stranger, dst: a }
    for (const [what, sent, got] of [
      ['first', firstFragment(naming(a), route, asks), firstFragment(naming(a), toPod, gets)],
      ['later', laterFragment(naming(a), route), laterFragment(naming(a), toPod)],
    ] as const) {
      const keyed = {
        key: { saddr: stranger, daddr: node2, id: 1, proto: family === 4 ? UDP : 0 },
        value: { ...asks, proto: UDP, icmpClass: 0, icmpType: 0 },
      }
      world.check({
        what,
        program,
        maps: {
          test_tunnel,
          sb_flows: pair,
          ...(what === 'later' ? { sb_fragments: [[keyed.key, keyed.value]] } : {}),
        },
        packet: sent,
        expect: {
          ...{ verdict: 'next', packetOut: what === 'later' ? got : 'any' },
          ctx: { mark: SB_DONE, cb: ([, , type]: readonly number[]) => type === 0 },
          maps: {
            sb_flows: { changed: [[pair[0][0], {}]] },
            sb_counters: counted('from_overlay', 'PASS_STACK'),
          },
        },
      })
    }
    world.check({
      what: 'later without its first',
      program,
      maps: { test_tunnel, sb_flows: pair },
      packet: laterFragment(naming(a), route),
      expect: {
        verdict: 'shot',
        maps: { sb_counters: counted('from_overlay', 'DROP_FRAGMENT_ORDER') },
      },
    })
  })

  describe('is not believed', () => {
    const two = (address: string) => [
      { address, port: BACKEND_PORT },
      { address: b, port: BACKEND_PORT },
    ]
    test.each([
      ['from who is no node', 'DROP_UNKNOWN_NODE', naming(a), asking, rows(UDP), '203.0.113.99'],
      ['for what is no backend', 'DROP_NOT_BACKEND', naming(b), asking, rows(UDP)],
      ['for another port', 'DROP_NOT_BACKEND', naming(a, 9), asking, rows(UDP)],
      [
        'for another node’s pod',
        'DROP_NOT_BACKEND',
        naming(c),
        asking,
        rows(UDP, { backends: two(c) }),
      ],
      [
        'for a backend that is a node',
        'DROP_NOT_BACKEND',
        naming(node1),
        asking,
        rows(UDP, { backends: two(node1) }),
      ],
      ['for no service', 'DROP_NOT_BACKEND', naming(a), asking, { test_tunnel }],
      [
        'for an address that is neither its own nor a service’s',
        'DROP_NOT_BACKEND',
        naming(a),
        { src: stranger, dst: stranger === ipv4.stranger ? '203.0.113.7' : '2001:db8:99::7' },
        rows(UDP),
      ],
      [
        'for a host port',
        'DROP_NOT_BACKEND',
        naming(a),
        asking,
        rows(UDP, { flags: SERVICE_HOST_PORT }),
      ],
      [
        'for a source that may not ask',
        'DROP_SOURCE_RANGE',
        naming(a),
        { src: stranger, dst: service },
        rows(UDP, { address: service, flags: SERVICE_SOURCE_RANGES }),
      ],
      ['in a pod’s name', 'DROP_FOREIGN_SOURCE', naming(a), { src: b, dst: node2 }, rows(UDP)],
      ['in its own pod’s', 'DROP_FOREIGN_SOURCE', naming(a), { src: c, dst: node2 }, rows(UDP)],
      ['in its own', 'DROP_FOREIGN_SOURCE', naming(a), { src: node2, dst: node2 }, rows(UDP)],
      ['in this node’s', 'DROP_FOREIGN_SOURCE', naming(a), { src: node1, dst: node2 }, rows(UDP)],
      [
        'while services are not ours',
        'DROP_NOT_READY',
        naming(a),
        asking,
        { ...rows(UDP), sb_config: [[0, readyConfig]] },
      ],
    ] as const)('%s', (what, reason, link, route, maps, sender?: string) => {
      const tunnel = [[0, { ...test_tunnel[0][1], ...(sender ? { source: sender } : {}) }]] as const
      world.check({
        what,
        program,
        maps: { ...maps, test_tunnel: tunnel } as Rows<Shapes>,
        packet: udpPacket(link, route, asks),
        expect: {
          verdict: 'shot',
          maps: { sb_counters: counted('from_overlay', reason) },
        },
      })
    })
  })
})
