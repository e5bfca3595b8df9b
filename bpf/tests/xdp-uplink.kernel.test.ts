// XDP on an uplink, by packet vectors: connections to services go on with their backends on other nodes, and answers with their clients.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FLOW_RST, FLOW_SEEN, NODE_ON_UPLINK, NODE_VALID } from '../src/layouts.ts'
import { internetChecksum } from '../testing/checksum.ts'
import { eth, ip, type Layer, packet, payload, tcp, udp } from '../testing/index.ts'
import { encodeXdpMd, xdpVerdicts } from '../testing/xdp.ts'
import type { Outside } from './outside.ts'
import { links, type Ports, type Route, tcpPacket, udpPacket } from './packets.ts'
import { generator } from './random.ts'
import {
  BACKEND_PORT,
  CLIENT_PORT,
  NODE_PORT,
  type Served,
  served,
} from './service-outside-rows.ts'
import { SERVICES } from './service-rows.ts'
import {
  counted,
  families,
  GENERATION,
  loadWorld,
  MTU,
  mac,
  NODE_2,
  nativeRows,
  readyConfig,
  type World,
} from './world.ts'
import {
  GATEWAY_MAC,
  openOutside,
  sent,
  sentTunnelled,
  setNeighbour,
  tunnelled,
} from './xdp-world.ts'

let outside: Outside
let world: World
beforeAll(async () => {
  outside = await openOutside()
  world = await loadWorld({ rows: { sb_uplinks: outside.uplinks }, netns: outside.netns })
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const program = 'sb_xdp_uplink'
const TCP = 6
const PROTOCOLS = [
  ['TCP', TCP],
  ['UDP', 17],
] as const
const asks = { sport: CLIENT_PORT, dport: NODE_PORT }
const gets = { sport: CLIENT_PORT, dport: BACKEND_PORT }
const answers = { sport: BACKEND_PORT, dport: CLIENT_PORT }
const isAnswered = { sport: NODE_PORT, dport: CLIENT_PORT }

type Link = (typeof links)[keyof typeof links]
const makerOf =
  (proto: number) =>
  (link: Layer, route: Route, ports: Ports, size = 100) =>
    proto === TCP
      ? tcpPacket(link, route, ports, ['ack'], size)
      : udpPacket(link, route, ports, size)

const tunnel = { sb_config: [[0, { ...readyConfig, flags: SERVICES }]] } as const
const nativeConfig = () =>
  ({
    ...nativeRows,
    sb_config: [
      [
        0,
        {
          ...readyConfig,
          flags: SERVICES | (nativeRows.sb_config?.[0]?.[1].flags ?? 0),
          overlayIfindex: 0,
          uplinkIfindex: outside.uplink,
        },
      ],
    ],
  }) as const

describe.each(families)('IPv$family', (actors) => {
  const { stranger, node1, c, own1 } = actors
  const asking = { src: stranger, dst: node1 }
  const flowOf = (proto: number, where: 'tunnel' | 'uplink'): Served => {
    return { where, proto, backend: c, name: own1 }
  }
  const rowsOf = (where: 'tunnel' | 'uplink') => (where === 'tunnel' ? tunnel : nativeConfig())
  const ctx = () => ({ ifindex: outside.uplink })
  const keyOfAnswer = () => served(actors, flowOf(TCP, 'uplink'))[1][0]

  const run = (data: Uint8Array) =>
    world.program(program).testRun({
      data,
      ctx: encodeXdpMd(data.length, outside.uplink),
      netns: outside.netns,
    })

  /** Nothing became of it, and nobody has heard of it. */
  const passes = (
    what: string,
    bytes: Uint8Array,
    where: 'tunnel' | 'uplink',
    changes: Parameters<typeof served>[2] & { readonly rows?: object } = {},
    proto = TCP,
  ) => {
    const { rows = {}, ...judged } = changes
    const flows = served(actors, flowOf(proto, where), { answeredBy: outside.uplink, ...judged })
    world.check({
      what,
      program,
      ctx: ctx(),
      maps: { ...rowsOf(where), sb_flows: flows, ...rows },
      packet: bytes,
      expect: { verdict: 'pass', maps: { sb_flows: {}, sb_counters: {} } },
    })
  }

  describe.each(PROTOCOLS)('%s', (_name, proto) => {
    const make = makerOf(proto)
    const flows = (where: 'tunnel' | 'uplink') =>
      served(actors, flowOf(proto, where), { answeredBy: outside.uplink })

    test.each([0, 100, 1])(
      'a client’s packet of %d bytes goes to the backend’s node in the tunnel',
      (size) => {
        const rows = flows('tunnel')
        for (const [tos, outer] of [
          [0, 0],
          [0xb9, 0xb9],
          [3, 2],
        ] as const) {
          const there = make(links.out, { src: own1, dst: c, ttl: 63, tos }, gets, size)
          const bytes = make(links.wire1, { ...asking, tos }, asks, size)
          world.check({
            what: `tos ${tos}`,
            program,
            ctx: ctx(),
            maps: { ...tunnel, sb_flows: rows },
            packet: bytes,
            expect: {
              verdict: 'tx',
              packetOut: sentTunnelled(there, outer),
              maps: {
                sb_flows: { changed: [[rows[0][0], {}]] },
                sb_counters: counted('xdp_uplink', 'PASS_NODE', bytes.length),
              },
            },
          })
        }
      },
    )

    test('the answer comes out of the tunnel and goes to the client', () => {
      const rows = flows('tunnel')
      const inner = make(links.in, { src: c, dst: own1 }, answers)
      const bytes = tunnelled(inner)
      world.check({
        what: 'answer',
        program,
        ctx: ctx(),
        maps: { ...tunnel, sb_flows: rows },
        packet: bytes,
        expect: {
          verdict: 'tx',
          packetOut: make(sent.toGateway, { src: node1, dst: stranger, ttl: 63 }, isAnswered),
          maps: {
            sb_flows: { changed: [[rows[1][0], {}]] },
            sb_counters: counted('xdp_uplink', 'PASS_OUT', bytes.length),
          },
        },
      })
    })

    test('without a tunnel both go by the wire', () => {
      const rows = flows('uplink')
      const there = { src: own1, dst: c, ttl: 63 }
      const back = { src: node1, dst: stranger, ttl: 63 }
      for (const [what, bytes, out, key, outcome] of [
        [
          'to the backend',
          make(links.wire1, asking, asks),
          make(sent.toNode2, there, gets),
          rows[0][0],
          'PASS_UPLINK',
        ],
        [
          'answer',
          make(links.wire1, { src: c, dst: own1 }, answers),
          make(sent.toGateway, back, isAnswered),
          rows[1][0],
          'PASS_OUT',
        ],
      ] as const) {
        world.check({
          what,
          program,
          ctx: ctx(),
          maps: { ...nativeConfig(), sb_flows: rows },
          packet: bytes,
          expect: {
            verdict: 'tx',
            packetOut: out,
            maps: {
              sb_flows: { changed: [[key, {}]] },
              sb_counters: counted('xdp_uplink', outcome),
            },
          },
        })
      }
    })

    test('what a device was to sum passes: it alone knows that it has not', () => {
      const layers = (partial: number) => [
        links.wire1,
        ip(asking),
        proto === TCP ? tcp({ ...asks, checksum: partial }) : udp({ ...asks, checksum: partial }),
        payload(100),
      ]
      // The complement of the sum over the pseudo header alone.
      const size = proto === TCP ? 120 : 108
      const bytes = packet(...layers(0))
      const header = bytes.slice(actors.family === 4 ? 26 : 22, actors.family === 4 ? 34 : 54)
      const partial = ~internetChecksum(header, Uint8Array.of(0, proto, 0, size)) & 0xffff
      passes('partial', packet(...layers(partial)), 'tunnel', {}, proto)
      passes('partial', packet(...layers(partial)), 'uplink', {}, proto)
    })

    test('every beginning of a frame passes as it came', () => {
      for (const [where, bytes] of [
        ['tunnel', make(links.wire1, asking, asks)],
        ['tunnel', tunnelled(make(links.in, { src: c, dst: own1 }, answers))],
        ['uplink', make(links.wire1, asking, asks)],
      ] as const) {
        world.reset()
        world.put({ ...rowsOf(where), sb_flows: flows(where) })
        for (let size = 14; size < bytes.length; size++) {
          const { retval, data } = run(bytes.slice(0, size))
          expect([size, retval]).toEqual([size, xdpVerdicts.pass])
          expect(Buffer.compare(data, bytes.subarray(0, size))).toBe(0)
        }
      }
    })

    test('a frame with one byte changed passes as it came, or goes on', () => {
      const random = generator(3)
      for (const [where, bytes] of [
        ['tunnel', make(links.wire1, asking, asks)],
        ['tunnel', tunnelled(make(links.in, { src: c, dst: own1 }, answers))],
        ['uplink', make(links.wire1, { src: c, dst: own1 }, answers)],
      ] as const) {
        world.reset()
        world.put({ ...rowsOf(where), sb_flows: flows(where) })
        for (let at = 0; at < bytes.length; at++) {
          const changed = bytes.slice()
          changed[at] = random() & 0xff
          const { retval, data } = run(changed)
          if (retval === xdpVerdicts.pass) expect(Buffer.compare(data, changed)).toBe(0)
          else expect(retval).toBe(xdpVerdicts.tx)
        }
      }
    })
  })

  test('a datagram without a checksum stays without one', () => {
    const rows = served(actors, flowOf(17, 'tunnel'), { answeredBy: outside.uplink })
    const bytes = (link: Link, route: Route, ports: Ports) =>
      packet(link, ip(route), udp({ ...ports, checksum: 0 }), payload(20))
    const frame = bytes(links.wire1, asking, asks)
    if (actors.family === 6) return passes('not in IPv6', frame, 'tunnel', {}, 17)
    world.check({
      what: 'IPv4',
      program,
      ctx: ctx(),
      maps: { ...tunnel, sb_flows: rows },
      packet: frame,
      expect: {
        verdict: 'tx',
        packetOut: sentTunnelled(bytes(links.out, { src: own1, dst: c, ttl: 63 }, gets)),
        maps: {
          sb_flows: { changed: [[rows[0][0], {}]] },
          sb_counters: counted('xdp_uplink', 'PASS_NODE'),
        },
      },
    })
  })

  test('what changes a row, or what a row does not vouch for, passes as it came', () => {
    const make = makerOf(TCP)
    const bytes = make(links.wire1, asking, asks)
    const inner = make(links.in, { src: c, dst: own1 }, answers)
    const back = tunnelled(inner)
    for (const flag of ['syn', 'fin', 'rst'] as const) {
      const one = tcpPacket(links.wire1, asking, asks, [flag, 'ack'], 10)
      passes(flag, one, 'tunnel')
      passes(flag, one, 'uplink')
      passes(
        flag,
        tunnelled(tcpPacket(links.in, { src: c, dst: own1 }, answers, [flag, 'ack'])),
        'tunnel',
      )
    }
    for (const [what, changes] of [
      ['an older generation', { generation: GENERATION - 1 }],
      ['a reset that it may have to take back', { flags: FLOW_RST }],
      ['answers that leave by another uplink', { answeredBy: outside.second }],
    ] as const) {
      if (!('answeredBy' in changes)) passes(what, bytes, 'tunnel', changes)
      passes(what, back, 'tunnel', changes)
    }
    const [[key, row], answering] = served(actors, flowOf(TCP, 'tunnel'), {
      answeredBy: outside.uplink,
    })
    const unseen = [[key, { ...row, flags: row.flags & ~FLOW_SEEN }], answering]
    passes('nobody seen yet', bytes, 'tunnel', { rows: { sb_flows: unseen } })
    passes('no row', make(links.wire1, asking, { ...asks, sport: 1 }), 'tunnel')
    passes('services are not ours', bytes, 'tunnel', { rows: { sb_config: [[0, readyConfig]] } })
    passes('not ready', bytes, 'tunnel', {
      rows: { sb_config: [[0, { ...readyConfig, flags: 0 }]] },
    })
    passes('the last hop', make(links.wire1, { ...asking, ttl: 1 }, asks), 'tunnel')
    passes('longer than the tunnel takes', make(links.wire1, asking, asks, MTU), 'tunnel')
    passes('longer than the wire takes', make(links.wire1, asking, asks, MTU), 'uplink')
    passes(
      'for another host on the wire',
      make(eth({ src: mac.wire2, dst: mac.c }), asking, asks),
      'tunnel',
    )
    passes('an answer past the tunnel', make(links.wire1, { src: c, dst: own1 }, answers), 'tunnel')
    const nowhere = { tunnel: '::', mac: mac.overlay2, mtu: MTU, flags: 0 }
    passes('no such node', bytes, 'tunnel', { rows: { sb_nodes: [[NODE_2, nowhere]] } })
    const by6 = { ...nowhere, tunnel: '2001:db8::2', flags: NODE_VALID | NODE_ON_UPLINK }
    passes('a tunnel over IPv6', bytes, 'tunnel', { rows: { sb_nodes: [[NODE_2, by6]] } })
    const unknown = { ...by6, tunnel: '192.0.2.99' }
    passes('a next hop that nobody has asked for', bytes, 'tunnel', {
      rows: { sb_nodes: [[NODE_2, unknown]] },
    })
  })

  test('what a tunnel packet must be, to be opened', () => {
    const make = makerOf(TCP)
    const inner = make(links.in, { src: c, dst: own1 }, answers)
    for (const [what, options] of [
      ['from another node than its row says', { src: '192.0.2.3' }],
      ['to another address', { dst: '192.0.2.9' }],
      ['of another network', { vni: 8 }],
      ['with flags that mean something else', { flags: 0x88 }],
      ['with a checksum', { checksum: 1 }],
      ['congested', { tos: 3 }],
      ['shorter than it says', { length: 200 }],
      ['shorter than what is in it', { length: 60 }],
      ['to another port', { dport: 4789 }],
    ] as const)
      passes(what, tunnelled(inner, options), 'tunnel')
    passes('to another MAC', tunnelled(make(links.wire1, { src: c, dst: own1 }, answers)), 'tunnel')
    passes('of something else', tunnelled(new Uint8Array(60)), 'tunnel')
    passes(
      'of another flow',
      tunnelled(make(links.in, { src: c, dst: own1 }, { ...answers, dport: 2 })),
      'tunnel',
    )
    // The client's own packets do not come by the tunnel, whoever sends them there.
    passes('in the client’s name', tunnelled(make(links.in, asking, asks)), 'tunnel')
    const partial = { sb_config: [[0, { ...readyConfig, flags: SERVICES, overlayIfindex: 0 }]] }
    passes('for the kernel’s own device', tunnelled(inner), 'tunnel', { rows: partial })
  })

  test('a new generation asks for the next hop again', () => {
    const { family } = actors
    const moved = {
      4: ['192.0.2.254', '02:00:00:00:20:04'],
      6: ['2001:db8::fe', '02:00:00:00:20:06'],
    }
    const [address, next] = moved[family] as [string, string]
    const make = makerOf(TCP)
    const bytes = make(links.wire1, { src: c, dst: own1 }, answers)
    const back = { src: node1, dst: stranger, ttl: 63 }
    for (const [generation, gateway] of [
      [GENERATION + 1, GATEWAY_MAC],
      [GENERATION + 2, next],
    ] as const) {
      setNeighbour(outside, address, gateway)
      const rows = nativeConfig()
      world.check({
        what: gateway,
        program,
        ctx: ctx(),
        maps: {
          ...rows,
          sb_config: [[0, { ...rows.sb_config[0][1], generation }]],
          sb_flows: served(actors, flowOf(TCP, 'uplink'), {
            answeredBy: outside.uplink,
            generation,
          }),
        },
        packet: bytes,
        expect: {
          verdict: 'tx',
          packetOut: make(eth({ src: mac.wire1, dst: gateway }), back, isAnswered),
          maps: {
            sb_flows: { changed: [[keyOfAnswer(), {}]] },
            sb_counters: counted('xdp_uplink', 'PASS_OUT'),
          },
        },
      })
    }
    setNeighbour(outside, address, GATEWAY_MAC)
  })

  test('bytes past the end of a packet are no part of it', () => {
    const rows = served(actors, flowOf(TCP, 'tunnel'), { answeredBy: outside.uplink })
    const inner = makerOf(TCP)(links.in, { src: c, dst: own1 }, answers)
    const frame = new Uint8Array([...tunnelled(inner.slice(0, -10)), ...inner.slice(-10)])
    passes('an inner packet that goes on behind the outer one', frame, 'tunnel')
    const padded = new Uint8Array([...makerOf(TCP)(links.wire1, asking, asks, 0), 0, 0, 0, 0, 0, 0])
    const { packet: out } = world.check({
      what: 'padding',
      program,
      ctx: ctx(),
      maps: { ...tunnel, sb_flows: rows },
      packet: padded,
      expect: {
        verdict: 'tx',
        packetOut: 'any',
        maps: {
          sb_flows: { changed: [[rows[0][0], {}]] },
          sb_counters: counted('xdp_uplink', 'PASS_NODE'),
        },
      },
    })
    expect(out.length).toBe(padded.length + 50)
  })
})
