// Addresses of the node's own ranges that nobody has, by packet vectors: the middle of a connection to a pod that is gone is reset.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { CONFIG_NATIVE, CONFIG_READY, FLOW_RST, FLOW_SEEN } from '../src/layouts.ts'
import { eth, type TcpFlag } from '../testing/index.ts'
import { laterFragment, links, tcpPacket, udpPacket } from './packets.ts'
import { stack, stackBack } from './rows.ts'
import { SERVICES } from './service-rows.ts'
import {
  counted,
  families,
  flowExpected,
  flowRow,
  INCARNATION_A,
  ipv4,
  keyOf,
  loadWorld,
  mac,
  NODE_2,
  nativeRows,
  readyConfig,
  reverse,
  VNI,
  type World,
} from './world.ts'

const TCP = 6
const SB_REFUSE = 0x40_0000
const ports = { sport: 40000, dport: 80 }
const gone = 99

let world: World
beforeAll(async () => {
  const sb_config = [[0, { ...readyConfig, flags: SERVICES }]] as const
  world = await loadWorld({ rows: { sb_config } })
})
afterAll(() => world?.close())

const withoutServices = { sb_config: [[0, { ...readyConfig, flags: CONFIG_READY }]] } as const
const native = {
  ...nativeRows,
  sb_config: (nativeRows.sb_config ?? []).map(
    ([key, row]) => [key, { ...row, flags: SERVICES | CONFIG_NATIVE }] as const,
  ),
}
/** What says that a connection goes on, and what does not. */
const middles: readonly (readonly TcpFlag[])[] = [['ack'], ['fin', 'ack'], ['syn', 'ack'], ['psh']]
const others: readonly (readonly TcpFlag[])[] = [['syn'], ['rst'], ['rst', 'ack']]

describe.each(families)('IPv$family', ({ a, c, d, vacant, stranger }) => {
  describe('by the tunnel', () => {
    const program = 'vector_from_overlay'
    const flow = { source: c, target: vacant, proto: TCP, ...ports }
    const sent = (flags: readonly TcpFlag[], link = links.in, route = {}) =>
      tcpPacket(link, { src: c, dst: vacant, ...route }, ports, flags, 10)
    const dropped = (symbol: string) =>
      ({
        verdict: 'shot',
        ctx: { mark: 0 },
        maps: { sb_flows: {}, sb_counters: counted('from_overlay', symbol) },
      }) as const

    test.each(middles)('%s %s: given to the stack by the loopback, to be refused', (...flags) => {
      const loopback = eth({ src: mac.loopback, dst: mac.loopback })
      const expect = {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: 1 },
        packetOut: sent(flags, loopback),
        ctx: { mark: SB_REFUSE },
        maps: { sb_flows: {}, sb_counters: counted('from_overlay', 'PASS_REFUSED') },
      } as const
      world.check({ what: 'of no flow', program, packet: sent(flags), expect })
      const row = flowRow({
        ...{ kind: 'local', targetIncarnation: gone, sourceNode: NODE_2, flags: FLOW_SEEN },
      })
      const maps = { sb_flows: [[keyOf(flow), row]] } as const
      world.check({ what: 'of a pod’s that is gone', program, maps, packet: sent(flags), expect })
    })

    test.each(others)('%s %s is dropped', (...flags) => {
      const expect = dropped('DROP_NO_ENDPOINT')
      world.check({ what: `c → vacant ${flags}`, program, packet: sent(flags), expect })
    })

    test.each([
      ['DROP_FOREIGN_SOURCE', 'from who is not of that node', { src: d }, {}],
      ['DROP_FOREIGN_SOURCE', 'from outside', { src: stranger }, {}],
      ['DROP_NO_ENDPOINT', 'to an address that is not of this node', { dst: stranger }, {}],
      ['DROP_NO_ENDPOINT', 'where services are somebody else’s', {}, withoutServices],
    ])('%s: %s', (symbol, what, route, maps) => {
      const packet = sent(['ack'], links.in, route)
      world.check({ what, program, maps, packet, expect: dropped(symbol) })
    })

    test('datagrams and later fragments are dropped', () => {
      const expect = dropped('DROP_NO_ENDPOINT')
      const route = { src: c, dst: vacant }
      const datagram = udpPacket(links.in, route, ports)
      world.check({ what: 'a datagram', program, packet: datagram, expect })
      const later = laterFragment(links.in, route, 1, TCP)
      world.check({ what: 'a later fragment', program, packet: later, expect })
    })

    test('the reset goes back under its name, and leaves the rows of the pod alone', () => {
      const back = reverse(flow)
      const untouched = { source: '::', destination: '::', vni: 0, tos: 0, ttl: 0, flags: 0 }
      const rows = [
        [keyOf(flow), flowRow({ kind: 'local', targetIncarnation: gone, sourceNode: NODE_2 })],
        [keyOf(back), flowRow({ kind: 'node', node: NODE_2, sourceIncarnation: gone })],
      ] as const
      for (const [what, sb_flows] of [
        ['without rows', []],
        ['with rows', rows],
      ] as const) {
        world.check({
          what,
          program: 'vector_to_overlay',
          maps: { sb_flows, test_tunnel: [[0, untouched]] },
          packet: tcpPacket(links.out, { src: vacant, dst: c }, { sport: 80, dport: 40000 }, [
            'rst',
          ]),
          expect: {
            verdict: 'next',
            maps: {
              sb_flows: {},
              sb_counters: counted('to_overlay', 'PASS_NODE'),
              test_tunnel: {
                changed: [[0, { source: ipv4.node1, destination: ipv4.node2, vni: VNI, ttl: 64 }]],
              },
            },
          },
        })
      }
    })
  })

  describe('from a pod of this node', () => {
    const program = 'sb_from_pod'
    const flow = { source: a, target: vacant, proto: TCP, ...ports }
    const sent = (flags: readonly TcpFlag[]) =>
      tcpPacket(links.fromA, { src: a, dst: vacant }, ports, flags, 10)
    const short = {
      kind: 'local',
      sourceIncarnation: INCARNATION_A,
      targetIncarnation: gone,
    } as const

    test.each(middles)('%s %s: the stack is asked to refuse it', (...flags) => {
      const expect = {
        verdict: 'next',
        packetOut: sent(flags),
        ctx: { mark: SB_REFUSE },
        maps: { sb_flows: {}, sb_counters: counted('from_pod', 'PASS_REFUSED') },
      } as const
      world.check({ what: 'of no flow', program, packet: sent(flags), expect })
    })

    test('of a flow to a pod that is gone, likewise', () => {
      const row = flowRow({ ...short, flags: FLOW_SEEN })
      world.check({
        what: 'a → vacant',
        program,
        maps: { sb_flows: [[keyOf(flow), row]] },
        packet: sent(['ack']),
        expect: {
          verdict: 'next',
          ctx: { mark: SB_REFUSE },
          maps: {
            sb_flows: { changed: [[keyOf(flow), {}]] },
            sb_counters: counted('from_pod', 'PASS_REFUSED'),
          },
        },
      })
    })

    test.each([
      ['a SYN', ['syn'], 0, {}],
      ['the middle, where services are somebody else’s', ['ack'], FLOW_SEEN, withoutServices],
    ] as const)('%s stays with the stack', (what, tcpFlags, flags, maps) => {
      world.check({
        what,
        program,
        maps,
        packet: sent(tcpFlags),
        expect: {
          verdict: 'next',
          ctx: { mark: 0 },
          maps: {
            sb_flows: {
              added: [
                [keyOf(flow), flowExpected({ ...stack, flags })],
                [keyOf(reverse(flow)), flowExpected(stackBack)],
              ],
            },
            sb_counters: counted('from_pod', 'PASS_STACK'),
          },
        },
      })
    })

    test('the reset reaches the pod, and leaves the way in its rows alone', () => {
      const back = reverse(flow)
      const rows = [
        [keyOf(flow), flowRow({ ...short, flags: FLOW_SEEN })],
        [
          keyOf(back),
          flowRow({
            kind: 'local',
            sourceIncarnation: gone,
            targetIncarnation: INCARNATION_A,
            flags: FLOW_SEEN,
          }),
        ],
      ] as const
      world.check({
        what: 'vacant → a',
        program: 'sb_to_pod',
        maps: { sb_flows: rows },
        packet: tcpPacket(links.toA, { src: vacant, dst: a }, { sport: 80, dport: 40000 }, ['rst']),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: {
              changed: rows.map(([key]) => [key, { flags: FLOW_SEEN | FLOW_RST }] as const),
            },
            sb_counters: counted('to_pod', 'PASS_STACK'),
          },
        },
      })
    })
  })

  describe('by the wire, without a tunnel', () => {
    const program = 'sb_from_uplink'
    const sent = (flags: readonly TcpFlag[], route = {}) =>
      tcpPacket(links.wire, { src: c, dst: vacant, ...route }, ports, flags, 10)
    const goes = (symbol: string, mark: number) =>
      ({
        verdict: 'next',
        ctx: { mark },
        maps: { sb_flows: {}, sb_counters: counted('from_uplink', symbol) },
      }) as const

    test.each(middles)('%s %s: the stack is asked to refuse it', (...flags) => {
      const expect = goes('PASS_REFUSED', SB_REFUSE)
      world.check({ what: 'c → vacant', program, maps: native, packet: sent(flags), expect })
    })

    test.each(others)('%s %s is left to the stack', (...flags) => {
      const expect = goes('PASS_FOREIGN', 0)
      world.check({
        what: `c → vacant ${flags}`,
        program,
        maps: native,
        packet: sent(flags),
        expect,
      })
    })

    test('what is not for this node is left to the stack, and nobody is in this node’s ranges but by itself', () => {
      const maps = native
      const elsewhere = sent(['ack'], { dst: stranger })
      const expect = goes('PASS_FOREIGN', 0)
      world.check({ what: 'to a stranger', program, maps, packet: elsewhere, expect })
      world.check({
        what: 'in a pod’s name',
        ...{ program, maps, packet: sent(['ack'], { src: a }) },
        expect: {
          verdict: 'shot',
          maps: { sb_flows: {}, sb_counters: counted('from_uplink', 'DROP_NATIVE_SOURCE') },
        },
      })
    })

    test('the same by a tunnel’s uplink is dropped, as ever', () => {
      world.check({
        what: 'past the tunnel',
        program,
        packet: sent(['ack'], { src: stranger }),
        expect: {
          verdict: 'shot',
          maps: { sb_counters: counted('from_uplink', 'DROP_NATIVE_TARGET') },
        },
      })
    })
  })
})
