// Masqueraded flows that are judged again, by packet vectors: another generation, route or address, another pod, another connection.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  encodeWay,
  FLOW_FIN,
  FLOW_FIN_REPLY,
  FLOW_SEEN,
  type FlowKey,
  flow as flowCodec,
  flowKey,
} from '../src/layouts.ts'
import { Outside, unreachable } from './outside.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import { opened, stack, stackBack } from './rows.ts'
import {
  counted,
  type FlowSpec,
  families,
  flowRow,
  GENERATION,
  INCARNATION_A,
  keyOf,
  loadWorld,
  reverse,
  type World,
} from './world.ts'

const TCP = 6
const UDP = 17
const ports = { sport: 40000, dport: 80 }
const OLD = { generation: GENERATION - 1 }

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

describe.each(families)('IPv$family', ({ family, a, stranger, node1 }) => {
  const udp: FlowSpec = { source: a, target: stranger, proto: UDP, ...ports }
  const tcp: FlowSpec = { ...udp, proto: TCP }
  const sent = udpPacket(links.fromA, { src: a, dst: stranger }, ports)
  const ack = tcpPacket(links.fromA, { src: a, dst: stranger }, ports, ['ack'], 10)
  const syn = tcpPacket(links.fromA, { src: a, dst: stranger }, ports, ['syn'])
  const as = (port: number) =>
    udpPacket(links.fromA, { src: node1, dst: stranger, ttl: 63 }, { ...ports, sport: port })
  const left = (ifindex: number) =>
    ({ verdict: 'redirect', redirect: { kind: 'neighbour', ifindex } }) as const
  /** An address that the node had. */
  const gone = family === 4 ? '192.0.2.66' : '2001:db8::66'

  test('in another generation the same route leaves all as it was', () => {
    const way = encodeWay({ kind: 'out', node: outside.uplink, generation: GENERATION })
    world.check({
      what: 'a → stranger',
      program: 'sb_from_pod',
      maps: { sb_flows: outside.standing(udp, 50000, OLD) },
      packet: sent,
      expect: {
        ...left(outside.uplink),
        packetOut: as(50000),
        maps: {
          sb_flows: { changed: [[keyOf(udp), { way }]] },
          sb_counters: counted('from_pod', 'PASS_OUT'),
        },
      },
    })
  })

  // The second as if no agent had seen the route change: a flow asks once a tick.
  test.each([
    ['another generation', OLD],
    ['another tick', {}],
  ])(
    'a route by another uplink takes the flow along, under its old address: %s',
    async (_, age) => {
      const dst = `${stranger}/${family === 4 ? 32 : 128}`
      await outside.netlink.routes.replace({ dst, index: outside.second })
      const way = encodeWay({ kind: 'out', node: outside.second, generation: GENERATION })
      try {
        for (const [flow, bytes] of [
          [udp, sent],
          [tcp, ack],
        ] as const) {
          world.check({
            what: 'a → stranger',
            program: 'sb_from_pod',
            maps: { sb_flows: outside.standing(flow, 50000, age) },
            packet: bytes,
            expect: {
              ...left(outside.second),
              packetOut: 'any',
              maps: {
                sb_flows: { changed: [[keyOf(flow), { way }]] },
                sb_counters: counted('from_pod', 'PASS_OUT'),
              },
            },
          })
        }
      } finally {
        await outside.netlink.routes.del({ dst, index: outside.second })
      }
    },
  )

  test('while there is no route the stack tells the pod, and the flow waits', () => {
    const target = unreachable[family]
    const flow = { ...udp, target }
    const rows = outside.standing(flow, 50000, OLD)
    world.check({
      what: `a → ${target}`,
      program: 'sb_from_pod',
      maps: { sb_flows: rows },
      packet: udpPacket(links.fromA, { src: a, dst: target }, ports),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: { changed: [[keyOf(flow), { way: rows[0][1].way }]] },
          sb_counters: counted('from_pod', 'PASS_STACK'),
        },
      },
    })
  })

  test('a datagram whose address is gone leaves under another', () => {
    const [, [oldBack]] = outside.standing(udp, 50000, OLD, gone)
    const [own, back] = outside.opened(udp, ports.sport)
    world.check({
      what: 'a → stranger',
      program: 'sb_from_pod',
      maps: { sb_flows: outside.standing(udp, 50000, OLD, gone) },
      packet: sent,
      expect: {
        ...left(outside.uplink),
        packetOut: as(ports.sport),
        maps: {
          sb_flows: { changed: [own], added: [back], removed: [oldBack] },
          sb_counters: counted('from_pod', 'PASS_OUT'),
        },
      },
    })
  })

  test('a connection whose address is gone goes to the stack, where it meets its end', () => {
    const [, [oldBack]] = outside.standing(tcp, 50000, OLD, gone)
    const [own, back] = opened(tcp, stack, stackBack)
    world.check({
      what: 'a → stranger',
      program: 'sb_from_pod',
      maps: { sb_flows: outside.standing(tcp, 50000, OLD, gone) },
      packet: ack,
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: { changed: [own], added: [back], removed: [oldBack] },
          sb_counters: counted('from_pod', 'PASS_STACK'),
        },
      },
    })
  })

  test('a SYN on a connection that has ended begins another, from its own port', () => {
    const closed = FLOW_FIN | FLOW_FIN_REPLY
    const rows = outside
      .standing(tcp, 50000)
      .map(([key, row]) => [key, { ...row, flags: row.flags | closed }] as const)
    const [, oldBack] = rows.map(([key]) => key) as [FlowKey, FlowKey]
    const [own, back] = outside.opened(tcp, ports.sport)
    world.check({
      what: 'a → stranger',
      program: 'sb_from_pod',
      maps: { sb_flows: rows },
      packet: syn,
      expect: {
        ...left(outside.uplink),
        packetOut: 'any',
        maps: {
          sb_flows: { changed: [own], added: [back], removed: [oldBack] },
          sb_counters: counted('from_pod', 'PASS_OUT'),
        },
      },
    })
  })

  test('a pod on a re-used address gets nothing of its predecessor', () => {
    const rows = outside.standing(udp, 50000).map(
      ([key, row]) =>
        [
          key,
          {
            ...row,
            sourceIncarnation: row.sourceIncarnation && INCARNATION_A - 1,
            targetIncarnation: row.targetIncarnation && INCARNATION_A - 1,
          },
        ] as const,
    )
    const [, oldBack] = rows.map(([key]) => key) as [FlowKey, FlowKey]
    const [own, back] = outside.opened(udp, ports.sport)
    world.check({
      what: 'a → stranger',
      program: 'sb_from_pod',
      maps: { sb_flows: rows },
      packet: sent,
      expect: {
        ...left(outside.uplink),
        packetOut: as(ports.sport),
        maps: {
          sb_flows: { changed: [own], added: [back], removed: [oldBack] },
          sb_counters: counted('from_pod', 'PASS_OUT'),
        },
      },
    })
  })

  test('nor is a row of the stack way that was its predecessor’s in its way', () => {
    const before = { ...stack, sourceIncarnation: INCARNATION_A - 1, flags: FLOW_SEEN }
    const [own, back] = outside.opened(udp, ports.sport)
    world.check({
      what: 'a → stranger',
      program: 'sb_from_pod',
      maps: {
        sb_flows: [
          [keyOf(udp), flowRow(before)],
          [keyOf(reverse(udp)), flowRow({ ...stackBack, targetIncarnation: INCARNATION_A - 1 })],
        ],
      },
      packet: sent,
      expect: {
        ...left(outside.uplink),
        packetOut: as(ports.sport),
        maps: {
          sb_flows: { changed: [own], added: [back], removed: [keyOf(reverse(udp))] },
          sb_counters: counted('from_pod', 'PASS_OUT'),
        },
      },
    })
  })

  test('a table without room refuses new flows and keeps the living', async () => {
    const { netns, rows } = outside
    using small = await loadWorld({ rows, netns, maxFlows: 64 })
    small.reset()
    const program = small.program('sb_from_pod')
    const run = (sport: number) =>
      program.testRun({
        data: udpPacket(links.fromA, { src: a, dst: stranger }, { ...ports, sport }),
        ctx: new Uint8Array(192),
        netns,
      }).retval
    const verdicts = Array.from({ length: 100 }, (_, i) => run(40000 + i))
    const begun = verdicts.filter((verdict) => verdict === 7).length
    expect(begun).toBeGreaterThan(8)
    expect(begun).toBeLessThan(33)
    const living = Array.from(small.map('sb_flows').entries())
    expect(living).toHaveLength(2 * begun)
    for (const [key, value] of living) {
      const { to } = flowCodec.decode(value)
      const { proto } = flowKey.decode(key)
      const other = { saddr: to.daddr, daddr: to.saddr, sport: to.dport, dport: to.sport }
      const partner = flowKey.encode({ ...other, proto, icmpClass: 0 })
      expect(small.map('sb_flows').lookup(partner)).toBeDefined()
    }
    for (let i = 0; i < begun; i++) expect(run(40000 + i)).toBe(7)
  })
})
