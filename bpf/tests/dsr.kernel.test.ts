// Direct server return by packet vectors: what the node that is asked sends on, what the one with the backend makes of it, and whom that one does not believe.
import { afterAll, beforeAll, describe, test } from 'vitest'
import {
  CONFIG_DSR,
  DSR_VNI,
  FLOW_FIN,
  FLOW_SEEN,
  SERVICE_HOST_PORT,
  SERVICE_SOURCE_RANGES,
} from '../src/layouts.ts'
import { addr, mac as macCodec } from '../src/struct.ts'
import { eth, ip, ip4, packet, payload, type Rows, tooBig, udp } from '../testing/index.ts'
import { Outside } from './outside.ts'
import { firstFragment, laterFragment, links, type Route, tcpPacket, udpPacket } from './packets.ts'
import {
  BACKEND_PORT,
  begun,
  CLIENT_PORT,
  NODE_PORT,
  type Served,
  served,
} from './service-outside-rows.ts'
import { type Asked, SERVICES, serving } from './service-rows.ts'
import {
  counted,
  families,
  IFINDEX_HERE,
  IFINDEX_OVERLAY,
  ipv4,
  loadWorld,
  MTU,
  readyConfig,
  SB_DONE,
  type Shapes,
  tunnelIn,
  VNI,
  type World,
} from './world.ts'

let outside: Outside
let world: World
beforeAll(async () => {
  outside = await Outside.open()
  const sb_config = [[0, { ...readyConfig, flags: SERVICES | CONFIG_DSR }]] as const
  const rows = { sb_config, sb_uplinks: outside.uplinks }
  world = await loadWorld({ rows, netns: outside.netns })
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const TCP = 6
const UDP = 17
const PROTOCOLS = [
  ['TCP', TCP],
  ['UDP', UDP],
] as const
const asks = { sport: CLIENT_PORT, dport: NODE_PORT }
const gets = { sport: CLIENT_PORT, dport: BACKEND_PORT }
const answers = { sport: BACKEND_PORT, dport: CLIENT_PORT }
const isAnswered = { sport: NODE_PORT, dport: CLIENT_PORT }
const peer = { kind: 'peer', ifindex: IFINDEX_HERE } as const
const overlay = { kind: 'device', ifindex: IFINDEX_OVERLAY } as const

/** Ethernet addresses between the nodes: the last four bytes of the backend's address and its port, then the six bytes before. */
function naming(backend: string, port = BACKEND_PORT) {
  const all = new Uint8Array(16)
  addr.write(new DataView(all.buffer), 0, backend)
  const bytes = new Uint8Array(12)
  bytes.set(all.subarray(12), 0)
  bytes.set([port >> 8, port & 0xff], 4)
  bytes.set(all.subarray(6, 12), 6)
  const view = new DataView(bytes.buffer)
  return eth({ dst: macCodec.read(view, 0), src: macCodec.read(view, 6) })
}

const makeOf =
  (proto: number, flag: 'syn' | 'ack' = 'syn') =>
  (link: ReturnType<typeof eth>, route: Route, ports: typeof asks) =>
    proto === TCP ? tcpPacket(link, route, ports, [flag]) : udpPacket(link, route, ports)

describe.each(families)('IPv$family, the node that is asked', (actors) => {
  const { family, a, c, node1, node2, own1, stranger } = actors
  const program = 'sb_from_uplink'
  const asking = { src: stranger, dst: node1 }
  const rows = (proto: number, more: Partial<Asked> = {}) =>
    serving({
      ...{ family, proto, port: NODE_PORT, backends: [{ address: c, port: BACKEND_PORT }] },
      ...more,
    })
  const flow = (proto: number): Served => ({ where: 'dsr', proto, backend: c })
  const sentOn = (proto: number, flag?: 'ack') => ({
    verdict: 'redirect' as const,
    redirect: overlay,
    packetOut: makeOf(proto, flag)(naming(c), { ...asking, ttl: 63 }, asks),
    ctx: { mark: SB_DONE },
  })

  test.each(PROTOCOLS)(
    'a first packet goes on as it is, and says which backend: %s',
    (_, proto) => {
      world.check({
        what: 'stranger → node1',
        program,
        maps: rows(proto),
        packet: makeOf(proto)(links.wire, asking, asks),
        expect: {
          ...sentOn(proto),
          maps: {
            sb_flows: { added: begun(actors, flow(proto), outside.uplink) },
            sb_counters: counted('from_uplink', 'PASS_NODE'),
          },
        },
      })
    },
  )

  test.each(PROTOCOLS)('the next ones follow it, whatever is of the service: %s', (_, proto) => {
    const pair = served(actors, flow(proto))
    for (const generation of [3, 2]) {
      const known = served(actors, flow(proto), { generation })
      world.check({
        what: `of generation ${generation}`,
        program,
        maps: { sb_flows: known },
        packet: makeOf(proto, 'ack')(links.wire, asking, asks),
        expect: {
          ...sentOn(proto, 'ack'),
          maps: {
            sb_flows: { changed: [[pair[0][0], { way: pair[0][1].way }]] },
            sb_counters: counted('from_uplink', 'PASS_NODE'),
          },
        },
      })
    }
  })

  test('a node that asks is served in this one’s name', () => {
    const byNode = { where: 'tunnel', proto: UDP, client: node2, backend: c, name: own1 } as const
    world.check({
      what: 'node2 → node1',
      program,
      maps: rows(UDP),
      packet: udpPacket(links.wire, { src: node2, dst: node1 }, asks),
      expect: {
        ...{ verdict: 'redirect', redirect: overlay, ctx: { mark: SB_DONE } },
        packetOut: udpPacket(links.out, { src: own1, dst: c, ttl: 63 }, gets),
        maps: {
          sb_flows: {
            added: [
              [begun(actors, byNode, 0)[0][0], {}],
              [begun(actors, byNode, 0)[1][0], {}],
            ],
          },
          sb_counters: counted('from_uplink', 'PASS_NODE'),
        },
      },
    })
  })

  test('a SYN behind the client’s FIN begins another connection', () => {
    const known = served(actors, flow(TCP), { flags: FLOW_FIN })
    world.check({
      what: 'to another backend',
      program,
      maps: { ...rows(TCP, { backends: [{ address: a, port: BACKEND_PORT }] }), sb_flows: known },
      packet: tcpPacket(links.wire, asking, asks, ['syn']),
      expect: {
        ...{ verdict: 'redirect', redirect: peer },
        packetOut: tcpPacket(links.toA, { src: stranger, dst: a, ttl: 63 }, gets, ['syn']),
        maps: {
          sb_flows: {
            changed: [[known[0][0], {}]],
            removed: [known[1][0]],
            added: [begun(actors, { where: 'here', proto: TCP, backend: a }, outside.uplink)[1]],
          },
          sb_counters: counted('from_uplink', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('a SYN again stays with its backend while that is one', () => {
    const [[key, row], back] = served(actors, flow(TCP))
    const half = [[key, { ...row, flags: row.flags & ~FLOW_SEEN }], back] as const
    const packet = tcpPacket(links.wire, asking, asks, ['syn'])
    world.check({
      what: 'still one',
      program,
      maps: { ...rows(TCP), sb_flows: half },
      packet,
      expect: {
        ...sentOn(TCP),
        maps: {
          sb_flows: { changed: [[key, {}]] },
          sb_counters: counted('from_uplink', 'PASS_NODE'),
        },
      },
    })
    world.check({
      what: 'none any more',
      program,
      maps: { ...rows(TCP, { backends: [{ address: a, port: BACKEND_PORT }] }), sb_flows: half },
      packet,
      expect: {
        ...{ verdict: 'redirect', redirect: peer, packetOut: 'any' },
        maps: {
          sb_flows: {
            changed: [[key, {}]],
            removed: [back[0]],
            added: [begun(actors, { where: 'here', proto: TCP, backend: a }, outside.uplink)[1]],
          },
          sb_counters: counted('from_uplink', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('what a router says of an answer follows the flow', () => {
    const router = family === 4 ? '203.0.113.1' : '2001:db8:cafe::1'
    const error = (link: ReturnType<typeof eth>, ttl: number) =>
      packet(
        ...[link, ip({ src: router, dst: node1, ttl }), tooBig({ mtu: 1400 })],
        ...[ip({ src: node1, dst: stranger, ttl: 3 }), udp(isAnswered), payload(9)],
      )
    world.check({
      what: 'too big',
      program,
      maps: { sb_flows: served(actors, flow(UDP)) },
      packet: error(links.wire, 64),
      expect: {
        ...{ verdict: 'redirect', redirect: overlay, packetOut: error(naming(c), 63) },
        ctx: { mark: SB_DONE },
        maps: { sb_counters: counted('from_uplink', 'PASS_NODE') },
      },
    })
  })

  test('what is too long goes to the stack in the backend’s form, which tells the client', () => {
    const pair = served(actors, flow(UDP))
    const long = (dst: string, ports: typeof asks) => {
      const route = { src: stranger, dst }
      const whole = family === 4 ? ip4({ ...route, isDontFragment: true }) : ip(route)
      return packet(links.wire, whole, udp(ports), payload(MTU))
    }
    world.check({
      what: 'too long',
      program,
      maps: { sb_flows: pair },
      packet: long(node1, asks),
      expect: {
        verdict: 'next',
        packetOut: long(c, gets),
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: { changed: [[pair[0][0], {}]] },
          sb_counters: counted('from_uplink', 'PASS_STACK_MTU'),
        },
      },
    })
  })
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
