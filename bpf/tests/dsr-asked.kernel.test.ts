// Direct server return by packet vectors: what the node that is asked sends on.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  CONFIG_DSR,
  DSR_BACKENDS_MAX,
  FLOW_FIN,
  FLOW_SEEN,
  flow as flowCodec,
  flowKey,
} from '../src/layouts.ts'
import { TypedMap } from '../src/typed-map.ts'
import { type eth, ip, ip4, packet, payload, tooBig, udp } from '../testing/index.ts'
import { sweepOf } from './clock.ts'
import {
  asks,
  gets,
  isAnswered,
  makeOf,
  naming,
  overlay,
  PROTOCOLS,
  peer,
  TCP,
  throughNode1,
  UDP,
} from './dsr-packets.ts'
import { type Outside, openServing } from './outside.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import { BACKEND_PORT, begun, served } from './service-outside-rows.ts'
import { SERVICES } from './service-rows.ts'
import { counted, families, MTU, SB_DONE, type World } from './world.ts'

let outside: Outside
let world: World
beforeAll(async () => {
  ;({ outside, world } = await openServing(
    { flags: SERVICES | CONFIG_DSR },
    { maxSlots: 2 * DSR_BACKENDS_MAX },
  ))
})
afterAll(() => {
  world?.close()
  outside?.close()
})

describe.each(families)('IPv$family, the node that is asked', (actors) => {
  const { family, a, c, node1, node2, own1, stranger } = actors
  const program = 'sb_from_uplink'
  const { asking, rows, flow, sentOn } = throughNode1(actors)

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

  describe('of a service with as many backends as are looked through, and with one more', () => {
    /** Of one backend, in each slot. */
    const listOf = (count: number) => ({
      ...rows(UDP),
      sb_slots: [
        [
          { list: 1, slot: 0 },
          { backend: count, weight: 0 },
        ] as const,
        ...Array.from({ length: count }, (_, i) => {
          return [
            { list: 1, slot: i + 1 },
            { backend: 101, weight: 1 },
          ] as const
        }),
      ],
    })

    test(`${DSR_BACKENDS_MAX}: it goes on as it is`, () => {
      world.check({
        what: 'stranger → node1',
        program,
        maps: listOf(DSR_BACKENDS_MAX),
        packet: udpPacket(links.wire, asking, asks),
        expect: {
          ...sentOn(UDP),
          maps: {
            sb_flows: { added: begun(actors, flow(UDP), outside.uplink) },
            sb_counters: counted('from_uplink', 'PASS_NODE'),
          },
        },
      })
    })

    test(`${DSR_BACKENDS_MAX + 1}: the backend is asked in this node’s name`, () => {
      const lent = { where: 'tunnel', proto: UDP, backend: c, name: own1 } as const
      world.check({
        what: 'stranger → node1',
        program,
        maps: listOf(DSR_BACKENDS_MAX + 1),
        packet: udpPacket(links.wire, asking, asks),
        expect: {
          ...{ verdict: 'redirect', redirect: overlay, ctx: { mark: SB_DONE } },
          packetOut: udpPacket(links.out, { src: own1, dst: c, ttl: 63 }, gets),
          maps: {
            sb_flows: { added: begun(actors, lent, outside.uplink) },
            sb_counters: counted('from_uplink', 'PASS_NODE'),
          },
        },
      })
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

  test('a SYN again asks for its backend once a tick, and not in a list that is too long', async () => {
    const [[key, row], back] = served(actors, flow(TCP))
    const gone = rows(TCP, { backends: [{ address: a, port: BACKEND_PORT }] })
    const packet = tcpPacket(links.wire, asking, asks, ['syn'])
    const flows = new TypedMap(world.map('sb_flows'), flowKey, flowCodec)
    let seen: number | undefined
    let now: number | undefined
    // A tick may begin between the two: then it is asked for.
    for (let tries = 0; seen === undefined || seen !== now; tries++) {
      expect(tries).toBeLessThan(10)
      world.reset()
      now = (await sweepOf(world)).now
      world.put({ ...gone, sb_flows: [[key, { ...row, seen: now, created: now }], back] })
      world.program(program).testRun({ data: packet, netns: outside.netns })
      seen = flows.get(key)?.seen
    }
    expect(flows.get(key)?.way).toBe(row.way)
    const long = [
      { list: 1, slot: 0 },
      { backend: 1025, weight: 0 },
    ] as const
    world.check({
      what: 'too long',
      program,
      maps: { ...gone, sb_slots: [long], sb_flows: [[key, row], back] },
      packet,
      expect: {
        ...sentOn(TCP),
        maps: {
          sb_flows: { changed: [[key, {}]] },
          sb_counters: counted('from_uplink', 'PASS_NODE'),
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
