// sb_from_pod by packet vectors on the way out of the cluster: who leaves under the node's address, and who does not.
import { afterAll, beforeAll, describe, test } from 'vitest'
import {
  CONFIG_FIB_SOURCE,
  CONFIG_NATIVE,
  CONFIG_READY,
  ENDPOINT_KEEPS_ADDRESS,
  FLOW_SEEN,
  IPCACHE_STACK,
} from '../src/layouts.ts'
import { probeFibSource } from '../src/probe.ts'
import { ip, type Layer, packet, payload, type Rows } from '../testing/index.ts'
import { elsewhere, MASQUERADE, Outside, ruled, UPLINK_MTU, unreachable } from './outside.ts'
import {
  firstFragment,
  firstOfEcho,
  laterFragment,
  links,
  pingPacket,
  pongPacket,
  tcpPacket,
  udpPacket,
} from './packets.ts'
import { opened, stack, stackBack } from './rows.ts'
import {
  counted,
  type FlowSpec,
  families,
  flowExpected,
  flowRow,
  keyOf,
  loadWorld,
  podA,
  readyConfig,
  reverse,
  SB_DONE,
  SB_TO_TRANSLATE,
  type Shapes,
  type World,
} from './world.ts'

const TCP = 6
const UDP = 17
const SCTP = 132
const ports = { sport: 40000, dport: 53 }
const noPorts = { sport: 0, dport: 0 }

let outside: Outside
let world: World
beforeAll(async () => {
  outside = await Outside.open()
  world = await loadWorld({ rows: outside.rows, netns: outside.netns })
})
afterAll(() => {
  world?.close()
  outside?.close()
})

describe.each(families)('IPv$family', (actors) => {
  const { family, a, b, stranger, node1, node2 } = actors
  const flow: FlowSpec = { source: a, target: stranger, proto: UDP, ...ports }
  const icmp = family === 4 ? 1 : 58
  const sent = udpPacket(links.fromA, { src: a, dst: stranger }, ports)
  const left = (layers: readonly Layer[] = []) =>
    layers.length > 0
      ? packet(links.fromA, ip({ src: node1, dst: stranger, ttl: 63 }), ...layers)
      : udpPacket(links.fromA, { src: node1, dst: stranger, ttl: 63 }, ports)

  /** What a packet that leaves has in common with all others. */
  const leaves = (ifindex = outside.uplink) =>
    ({
      verdict: 'redirect',
      redirect: { kind: 'neighbour', ifindex },
      ctx: { mark: SB_DONE },
    }) as const

  describe('leaves under the address of the node', () => {
    test('a first datagram, and keeps its port', () => {
      world.check({
        what: 'a → stranger',
        program: 'sb_from_pod',
        packet: sent,
        expect: {
          ...leaves(),
          packetOut: left(),
          maps: {
            sb_flows: { added: outside.opened(flow, ports.sport) },
            sb_counters: counted('from_pod', 'PASS_OUT', sent.length),
          },
        },
      })
    })

    test('a connection, from its SYN on', () => {
      const route = { src: a, dst: stranger }
      const out = { src: node1, dst: stranger, ttl: 63 }
      const tcp = { ...flow, proto: TCP }
      world.check({
        what: 'SYN',
        program: 'sb_from_pod',
        packet: tcpPacket(links.fromA, route, ports, ['syn']),
        expect: {
          ...leaves(),
          packetOut: tcpPacket(links.fromA, out, ports, ['syn']),
          maps: {
            sb_flows: { added: outside.opened(tcp, ports.sport) },
            sb_counters: counted('from_pod', 'PASS_OUT'),
          },
        },
      })
      world.step({
        what: 'data',
        program: 'sb_from_pod',
        maps: { sb_flows: outside.standing(tcp, ports.sport) },
        packet: tcpPacket(links.fromA, route, ports, ['ack', 'psh'], 1000),
        expect: {
          ...leaves(),
          packetOut: tcpPacket(links.fromA, out, ports, ['ack', 'psh'], 1000),
          maps: {
            sb_flows: { changed: [[keyOf(tcp), {}]] },
            sb_counters: counted('from_pod', 'PASS_OUT', undefined, 2),
          },
        },
      })
    })

    test('a ping whose id is among the ports', () => {
      const echo = { source: a, target: stranger, proto: icmp, icmpClass: 1 }
      const id = 40001
      world.check({
        what: 'ping a → stranger',
        program: 'sb_from_pod',
        packet: pingPacket(links.fromA, { src: a, dst: stranger }, id),
        expect: {
          ...leaves(),
          packetOut: pingPacket(links.fromA, { src: node1, dst: stranger, ttl: 63 }, id),
          maps: {
            sb_flows: { added: outside.opened({ ...echo, sport: id, dport: id }, id) },
            sb_counters: counted('from_pod', 'PASS_OUT'),
          },
        },
      })
    })

    test('a ping whose id is not, with another one', () => {
      const echo = { source: a, target: stranger, proto: icmp, icmpClass: 1 }
      world.check({
        what: 'ping a → stranger',
        program: 'sb_from_pod',
        maps: { sb_config: [[0, only(50000)]] },
        packet: pingPacket(links.fromA, { src: a, dst: stranger }, 7),
        expect: {
          ...leaves(),
          packetOut: pingPacket(links.fromA, { src: node1, dst: stranger, ttl: 63 }, 50000),
          maps: {
            sb_flows: { added: outside.opened({ ...echo, sport: 7, dport: 7 }, 50000) },
            sb_counters: counted('from_pod', 'PASS_OUT'),
          },
        },
      })
    })

    test('no reply with the id of a ping, which answers what came by somebody’s translation', () => {
      const id = 40001
      const echo = { source: a, target: stranger, proto: icmp, icmpClass: 1, sport: id, dport: id }
      world.check({
        what: 'pong a → stranger',
        program: 'sb_from_pod',
        maps: { sb_flows: outside.standing(echo, id) },
        packet: pongPacket(links.fromA, { src: a, dst: stranger }, id),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { changed: [[keyOf(echo), { seen: (s: number) => s > 0 }]] },
            sb_counters: counted('from_pod', 'PASS_STACK'),
          },
        },
      })
    })

    test('a flow that has a row, whatever is configured by now', () => {
      world.check({
        what: 'a → stranger again',
        program: 'sb_from_pod',
        maps: {
          sb_config: [[0, { ...readyConfig, flags: CONFIG_READY, portMin: 1, portMax: 1 }]],
          sb_flows: outside.standing(flow, 50000),
        },
        packet: sent,
        expect: {
          ...leaves(),
          packetOut: udpPacket(
            links.fromA,
            { src: node1, dst: stranger, ttl: 63 },
            { ...ports, sport: 50000 },
          ),
          maps: {
            sb_flows: { changed: [[keyOf(flow), { seen: (s: number) => s > 0 }]] },
            sb_counters: counted('from_pod', 'PASS_OUT'),
          },
        },
      })
    })

    test('by the address that its route says', async ({ skip }) => {
      skip(!probeFibSource(), 'routes say it since Linux 6.7')
      const other = family === 4 ? '192.0.2.77' : '2001:db8::77'
      const prefixLen = family === 4 ? 24 : 64
      const index = outside.uplink
      await outside.netlink.addresses.replace({
        index,
        address: other,
        prefixLen,
        flags: family === 6 ? ['nodad'] : [],
      })
      const dst = `${stranger}/${family === 4 ? 32 : 128}`
      const via = family === 4 ? '192.0.2.253' : '2001:db8::fd'
      await outside.netlink.routes.replace({ dst, via, index, prefsrc: other })
      try {
        world.check({
          what: 'a → stranger',
          program: 'sb_from_pod',
          maps: { sb_config: [[0, { ...readyConfig, flags: MASQUERADE | CONFIG_FIB_SOURCE }]] },
          packet: sent,
          expect: {
            ...leaves(),
            packetOut: udpPacket(links.fromA, { src: other, dst: stranger, ttl: 63 }, ports),
            maps: {
              sb_flows: { added: outside.opened(flow, ports.sport, other) },
              sb_counters: counted('from_pod', 'PASS_OUT'),
            },
          },
        })
      } finally {
        await outside.netlink.routes.del({ dst, via, index })
        await outside.netlink.addresses.del({ index, address: other, prefixLen })
      }
    })

    test('fragments, the later ones by the ports of the first', () => {
      const route = { src: a, dst: stranger }
      const out = { src: node1, dst: stranger, ttl: 63 }
      world.reset()
      world.put({ sb_config: [[0, only(50000)]] })
      world.step({
        what: 'the first',
        program: 'sb_from_pod',
        packet: firstFragment(links.fromA, route, ports),
        expect: {
          ...leaves(),
          packetOut: firstFragment(links.fromA, out, { ...ports, sport: 50000 }),
          maps: {
            sb_flows: { added: outside.opened(flow, 50000) },
            sb_counters: counted('from_pod', 'PASS_OUT'),
          },
        },
      })
      world.step({
        what: 'a later one',
        program: 'sb_from_pod',
        maps: { sb_flows: outside.standing(flow, 50000) },
        packet: laterFragment(links.fromA, route),
        expect: {
          ...leaves(),
          packetOut: laterFragment(links.fromA, out),
          maps: {
            sb_flows: { changed: [[keyOf(flow), {}]] },
            sb_counters: counted('from_pod', 'PASS_OUT', undefined, 2),
          },
        },
      })
    })
  })

  test('a ping in fragments leaves whole, and a reply with its id does not', () => {
    const [id, port] = [40001, 50000]
    const echo = { source: a, target: stranger, proto: icmp, icmpClass: 1, sport: id, dport: id }
    const route = { src: a, dst: stranger }
    const out = { src: node1, dst: stranger, ttl: 63 }
    const standing = { sb_flows: outside.standing(echo, port) }
    for (const isReply of [false, true]) {
      const outcome = isReply ? 'PASS_STACK' : 'PASS_OUT'
      const becomes = (packetOut: Uint8Array, total: number) => ({
        ...(isReply ? { verdict: 'next' as const } : { ...leaves(), packetOut }),
        maps: {
          sb_flows: { changed: [[keyOf(echo), {}] as const] },
          sb_counters: counted('from_pod', outcome, undefined, total),
        },
      })
      world.reset()
      world.step({
        what: 'the first',
        program: 'sb_from_pod',
        maps: standing,
        packet: firstOfEcho(links.fromA, route, id, isReply),
        expect: becomes(firstOfEcho(links.fromA, out, port), 1),
      })
      world.step({
        what: 'a later one',
        program: 'sb_from_pod',
        maps: standing,
        packet: laterFragment(links.fromA, route, 1, icmp),
        expect: becomes(laterFragment(links.fromA, out, 1, icmp), 2),
      })
    }
  })

  describe('stays with the stack, and so do its answers', () => {
    const local = family === 4 ? '192.0.2.78' : '2001:db8::78'
    const native = [0, { ...readyConfig, flags: MASQUERADE | CONFIG_NATIVE }] as const
    const kept = [
      { prefixLen: family === 4 ? 96 + 8 : 16, addr: family === 4 ? '198.0.0.0' : '2001::' },
      { node: 0, identity: 0, flags: IPCACHE_STACK },
    ] as const
    const optedOut = [a, { ...podA, flags: podA.flags | ENDPOINT_KEEPS_ADDRESS }] as const
    const named = (source4: string, source6: string): Rows<Shapes> => ({
      sb_uplinks: [[outside.uplink, { source4, source6, mtu: UPLINK_MTU, flags: 0 }]],
    })
    interface Case {
      readonly what: string
      readonly target?: string
      readonly rows?: () => Rows<Shapes>
      readonly bytes?: Uint8Array
      readonly spec?: Partial<FlowSpec>
    }
    const fromA = (layer: Layer, protocol: number) =>
      packet(links.fromA, ip({ src: a, dst: stranger, protocol }), layer)
    const stays: readonly Case[] = [
      { what: 'masquerading is off', rows: () => ({ sb_config: [[0, readyConfig]] }) },
      { what: 'an address of the node', target: node1 },
      { what: 'a local address that the agent knows nothing of', target: local },
      { what: 'an address that nobody can reach', target: unreachable[family] },
      { what: 'a destination that sees pods', rows: () => ({ sb_ipcache: [kept] }) },
      { what: 'a pod that keeps its address', rows: () => ({ sb_endpoints: [optedOut] }) },
      { what: 'a node, without a tunnel', target: node2, rows: () => ({ sb_config: [native] }) },
      { what: 'a device that the agent knows nothing of', target: elsewhere[family] },
      { what: "a route that holds for the pod's own address alone", target: ruled[family] },
      { what: 'an uplink without an address', rows: () => named('::', '::') },
      { what: 'an address that is gone', rows: () => named('192.0.2.66', '2001:db8::66') },
      {
        what: 'the middle of a connection',
        bytes: tcpPacket(links.fromA, { src: a, dst: stranger }, ports, ['ack'], 8),
        spec: { proto: TCP },
      },
      { what: 'SCTP', bytes: fromA(payload(16), SCTP), spec: { proto: SCTP, ...noPorts } },
      {
        what: "an echo reply, which answers what came by somebody's translation",
        bytes: pongPacket(links.fromA, { src: a, dst: stranger }, 40000),
        spec: { proto: icmp, icmpClass: 1, sport: 40000, dport: 40000 },
      },
    ]
    beforeAll(async () => {
      const at = { index: outside.uplink, address: local, prefixLen: family === 4 ? 24 : 64 }
      await outside.netlink.addresses.replace({ ...at, flags: family === 6 ? ['nodad'] : [] })
    })

    test.each(stays)('$what', ({ what, target = stranger, rows, bytes, spec = {} }) => {
      world.check({
        what,
        program: 'sb_from_pod',
        maps: rows?.() ?? {},
        packet: bytes ?? udpPacket(links.fromA, { src: a, dst: target }, ports),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { added: opened({ ...flow, target, ...spec }, stack, stackBack) },
            sb_counters: counted('from_pod', 'PASS_STACK'),
          },
        },
      })
    })

    test('the answer to a flow that came in through the stack', () => {
      world.check({
        what: 'a → stranger, after stranger → a',
        program: 'sb_from_pod',
        maps: { sb_flows: [[keyOf(reverse(flow)), flowRow(stackBack)]] },
        packet: sent,
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: {
              added: [[keyOf(flow), flowExpected({ ...stack, flags: FLOW_SEEN })]],
              changed: [[keyOf(reverse(flow)), {}]],
            },
            sb_counters: counted('from_pod', 'PASS_STACK'),
          },
        },
      })
    })

    test('a later fragment of what is not translated', () => {
      for (const [target, flags] of [
        [stranger, CONFIG_READY],
        [b, MASQUERADE],
        [unreachable[family], MASQUERADE],
      ] as const) {
        world.check({
          what: `a → ${target}`,
          program: 'sb_from_pod',
          maps: { sb_config: [[0, { ...readyConfig, flags }]] },
          packet: laterFragment(links.fromA, { src: a, dst: target }),
          expect: {
            verdict: 'next',
            maps: { sb_counters: counted('from_pod', 'PASS_STACK_FRAGMENT') },
          },
        })
      }
    })
  })

  test.each([
    ['PASS_STACK_TTL', 'the last hop', 1, 20],
    ['PASS_STACK_MTU', 'more than the uplink takes', 64, UPLINK_MTU],
  ])(
    '%s: %s goes to the stack as it is, to be translated behind it',
    (outcome, what, ttl, size) => {
      world.check({
        what,
        program: 'sb_from_pod',
        maps: { sb_flows: outside.standing(flow, 50000) },
        packet: udpPacket(links.fromA, { src: a, dst: stranger, ttl }, ports, size),
        expect: {
          verdict: 'next',
          ctx: { mark: SB_TO_TRANSLATE },
          maps: {
            sb_flows: { changed: [[keyOf(flow), {}]] },
            sb_counters: counted('from_pod', outcome),
          },
        },
      })
    },
  )

  test('all pieces go there of a pod that may send longer ones than its uplink', () => {
    world.reset()
    const maps = {
      sb_flows: outside.standing(flow, 50000),
      sb_endpoints: [[a, { ...podA, mtu: 9000 }]],
    } as const
    const route = { src: a, dst: stranger }
    const pieces = [firstFragment(links.fromA, route, ports), laterFragment(links.fromA, route)]
    for (const [index, piece] of pieces.entries()) {
      world.step({
        what: `piece ${index}`,
        program: 'sb_from_pod',
        maps,
        packet: piece,
        expect: {
          verdict: 'next',
          ctx: { mark: SB_TO_TRANSLATE },
          maps: {
            sb_flows: { changed: [[keyOf(flow), {}]] },
            sb_counters: counted('from_pod', 'PASS_STACK', undefined, index + 1),
          },
        },
      })
    }
  })

  test('what the stack sends to the pod in answer to such a packet leaves the flow alone', () => {
    world.check({
      what: 'stranger → a by the stack',
      program: 'sb_to_pod',
      maps: { sb_flows: outside.standing(flow, 50000) },
      packet: udpPacket(links.toA, { src: stranger, dst: a }, { sport: 53, dport: 40000 }),
      expect: {
        verdict: 'next',
        maps: { sb_flows: {}, sb_counters: counted('to_pod', 'PASS_STACK') },
      },
    })
  })
})

/** A node that may give out one port only. */
function only(port: number) {
  return { ...readyConfig, flags: MASQUERADE, portMin: port, portMax: port }
}
