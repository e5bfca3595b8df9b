// Direct server return without a tunnel by packet vectors: the device beside the routes carries it, and nothing else goes by there.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  CONFIG_DSR,
  CONFIG_NATIVE,
  DSR_VNI,
  NODE_ON_UPLINK,
  NODE_TAKES_DSR,
  NODE_VALID,
} from '../src/layouts.ts'
import { ip, ip4, packet, payload, type Rows, udp } from '../testing/index.ts'
import {
  asks,
  gets,
  makeOf,
  naming,
  overlay,
  PROTOCOLS,
  peer,
  TCP,
  throughNode1,
  UDP,
} from './dsr-packets.ts'
import { Outside } from './outside.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import { BACKEND_PORT, begun, CLIENT_PORT, NODE_PORT, served } from './service-outside-rows.ts'
import { SERVICES, serving } from './service-rows.ts'
import {
  counted,
  families,
  IFINDEX_UPLINK,
  ipv4,
  ipv6,
  keyOf,
  loadWorld,
  MTU,
  mac,
  NODE_2,
  readyConfig,
  reverse,
  SB_DONE,
  type Shapes,
  TUNNEL_PORT,
  tunnelIn,
  VNI,
  type World,
} from './world.ts'

const config = {
  ...readyConfig,
  flags: SERVICES | CONFIG_NATIVE | CONFIG_DSR,
  uplinkIfindex: IFINDEX_UPLINK,
}
const neighbour = { tunnel: ipv4.node2, mac: mac.overlay2, mtu: MTU }
const taking = NODE_VALID | NODE_ON_UPLINK | NODE_TAKES_DSR
const nodes = (flags: number, tunnel: string = ipv4.node2): Rows<Shapes> => ({
  sb_nodes: [[NODE_2, { ...neighbour, tunnel, flags }]],
})

let outside: Outside
let world: World
beforeAll(async () => {
  outside = await Outside.open()
  const rows = { sb_config: [[0, config]], sb_uplinks: outside.uplinks, ...nodes(taking) } as const
  world = await loadWorld({ rows, netns: outside.netns })
})
afterAll(() => {
  world?.close()
  outside?.close()
})

describe.each(families)('IPv$family, the node that is asked', (actors) => {
  const { family, c, node1, own1, stranger } = actors
  const program = 'sb_from_uplink'
  const { asking, rows, flow, sentOn } = throughNode1(actors)

  test.each(PROTOCOLS)(
    'sends on by the device what is for a node that takes it: %s',
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

  /** What a datagram becomes that goes on by the link, under this node's address. */
  const inOurName = (client = stranger) => {
    const byLink = { where: 'uplink', proto: UDP, client, backend: c, name: own1 } as const
    const [there, back] = begun(actors, byLink, outside.uplink)
    return {
      verdict: 'redirect',
      redirect: { kind: 'neighbour', ifindex: IFINDEX_UPLINK },
      packetOut: udpPacket(links.wire, { src: own1, dst: c, ttl: 63 }, gets),
      ctx: { mark: SB_DONE },
      maps: {
        sb_flows: {
          added: [
            [there[0], {}],
            [back[0], {}],
          ],
        },
        sb_counters: counted('from_uplink', 'PASS_UPLINK'),
      },
    } as const
  }

  test.each([
    ['the node has no device for it', nodes(NODE_VALID | NODE_ON_UPLINK)],
    ['this one has none', { sb_config: [[0, { ...config, overlayIfindex: 0 }]] }],
  ] as const)('%s: asked in this one’s name, by the link', (what, changed) => {
    world.check({
      what,
      program,
      maps: { ...rows(UDP), ...changed },
      packet: udpPacket(links.wire, asking, asks),
      expect: inOurName(),
    })
  })

  test('a pod of another node asks in this one’s name: its own node believes no pod behind the device', () => {
    const pod = family === 4 ? '10.244.2.11' : 'fd00:2::11'
    world.check({
      what: 'a pod of node 2 → node 1, whose backend is on node 2',
      program,
      maps: rows(UDP),
      packet: udpPacket(links.wire, { src: pod, dst: node1 }, asks),
      expect: inOurName(pod),
    })
  })

  test('a connection goes on when rows are judged again, and ends where the node takes it no more', () => {
    const [known, back] = served(actors, flow(TCP), { generation: 2 })
    const ack = tcpPacket(links.wire, asking, asks, ['ack'])
    world.check({
      what: 'judged again',
      program,
      maps: { sb_flows: [known, back] },
      packet: ack,
      expect: {
        ...sentOn(TCP, 'ack'),
        maps: {
          sb_flows: { changed: [[known[0], { way: served(actors, flow(TCP))[0][1].way }]] },
          sb_counters: counted('from_uplink', 'PASS_NODE'),
        },
      },
    })
    world.check({
      what: 'taken no more',
      program,
      maps: { sb_flows: [known, back], ...nodes(NODE_VALID | NODE_ON_UPLINK) },
      packet: ack,
      expect: {
        ...{ verdict: 'next', packetOut: ack },
        maps: {
          sb_flows: { removed: [known[0], back[0]] },
          sb_counters: counted('from_uplink', 'PASS_FOREIGN'),
        },
      },
    })
  })

  test.each([
    ['IPv4', ipv4.node2, 50],
    ['IPv6', ipv6.node2, 70],
  ] as const)(
    'too long for the device between %s addresses, not for the link: the kernel is to tell the client',
    (_, tunnel, overhead) => {
      const narrow = family === 4 ? '192.0.0.8' : '100::8'
      const pair = served(actors, flow(UDP))
      const headers = family === 4 ? 28 : 48
      const sized = (dst: string, ports: typeof asks, bytes: number) => {
        const route = { src: stranger, dst }
        const whole = family === 4 ? ip4({ ...route, isDontFragment: true }) : ip(route)
        return packet(links.wire, whole, udp(ports), payload(bytes - headers))
      }
      const answers = { source: narrow, target: stranger, proto: UDP }
      const lent = keyOf({ ...answers, sport: BACKEND_PORT, dport: CLIENT_PORT })
      const to = { saddr: node1, daddr: stranger, sport: NODE_PORT, dport: CLIENT_PORT }
      world.check({
        what: 'one byte more',
        program,
        maps: { sb_flows: pair, ...nodes(taking, tunnel) },
        packet: sized(node1, asks, MTU - overhead + 1),
        expect: {
          verdict: 'next',
          packetOut: sized(narrow, gets, MTU - overhead + 1),
          ctx: { mark: SB_DONE },
          maps: {
            sb_flows: { changed: [[pair[0][0], {}]] },
            sb_lent: { added: [[lent, { to }]] },
            sb_counters: counted('from_uplink', 'PASS_STACK_MTU'),
          },
        },
      })
      world.check({
        what: 'what fits',
        program,
        maps: { sb_flows: pair, ...nodes(taking, tunnel) },
        packet: sized(node1, asks, MTU - overhead),
        expect: {
          ...{ verdict: 'redirect', redirect: overlay, packetOut: 'any' },
          maps: {
            sb_flows: { changed: [[pair[0][0], {}]] },
            sb_counters: counted('from_uplink', 'PASS_NODE'),
          },
        },
      })
    },
  )

  test('the tunnel’s own packet passes before any lookup', () => {
    const dst = family === 4 ? config.tunnelLocal4 : config.tunnelLocal6
    const bytes = udpPacket(
      links.wire,
      { src: stranger, dst },
      { sport: 50_000, dport: TUNNEL_PORT },
    )
    world.check({
      what: 'outer',
      program,
      packet: bytes,
      expect: {
        ...{ verdict: 'next', packetOut: bytes },
        maps: { sb_counters: counted('from_uplink', 'PASS_TUNNEL') },
      },
    })
  })
})

describe.each(families)('IPv$family, behind the device', (actors) => {
  const { family, a, c, node2, own1, stranger } = actors
  const rows = (vni: number): Rows<Shapes> => ({
    ...serving({
      ...{ family, proto: UDP, port: NODE_PORT },
      backends: [{ address: a, port: BACKEND_PORT }],
    }),
    test_tunnel: [[0, { ...tunnelIn, vni }]],
  })

  test('what another node was asked arrives, and the backend’s answers leave by the uplink', () => {
    const flow = { where: 'here', proto: UDP, backend: a, service: node2 } as const
    world.check({
      what: 'stranger → node2',
      program: 'vector_from_overlay',
      maps: rows(VNI ^ DSR_VNI),
      packet: udpPacket(naming(a), { src: stranger, dst: node2 }, asks),
      expect: {
        ...{ verdict: 'redirect', redirect: peer },
        packetOut: udpPacket(links.toA, { src: stranger, dst: a, ttl: 63 }, gets),
        maps: {
          sb_flows: { added: begun(actors, flow, outside.uplink) },
          sb_counters: counted('from_overlay', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('pods’ packets are no more believed than on another network’s tunnel', () => {
    world.check({
      what: 'pod c → pod a, from its own node',
      program: 'vector_from_overlay',
      maps: rows(VNI),
      packet: udpPacket(links.in, { src: c, dst: a }, gets),
      expect: {
        verdict: 'shot',
        maps: { sb_counters: counted('from_overlay', 'DROP_WRONG_VNI') },
      },
    })
  })

  test('a pod’s packet for another node leaves by the link', () => {
    const there = { source: a, target: c, proto: UDP, ...gets }
    world.check({
      what: 'pod a → pod c',
      program: 'vector_from_pod',
      packet: udpPacket(links.fromA, { src: a, dst: c }, gets),
      expect: {
        ...{ verdict: 'redirect', redirect: { kind: 'neighbour', ifindex: IFINDEX_UPLINK } },
        packetOut: 'any',
        maps: {
          sb_flows: {
            added: [
              [keyOf(there), {}],
              [keyOf(reverse(there)), {}],
            ],
          },
          sb_counters: counted('from_pod', 'PASS_UPLINK'),
        },
      },
    })
  })

  test('what the stack sends there goes nowhere', () => {
    expect(config.overlayIfindex).not.toBe(0)
    world.check({
      what: 'own1 → pod c',
      program: 'vector_to_overlay',
      packet: udpPacket(links.out, { src: own1, dst: c }, gets),
      expect: {
        verdict: 'shot',
        maps: { sb_counters: counted('to_overlay', 'DROP_NO_NODE') },
      },
    })
  })
})
