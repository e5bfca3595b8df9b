// What goes to a service’s backend past the service, by packet vectors: the node’s own connections, and pods’ packets that the stack sends on.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { FLOW_SEEN, FLOW_TRANSLATED } from '../src/layouts.ts'
import type { Layer } from '../testing/index.ts'
import { Outside } from './outside.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import { BACKEND, CLIENT, kindsOf, type Pair, pairOf, standing, TCP, UDP } from './service-flows.ts'
import { BACKEND_PORT, CLIENT_PORT, served } from './service-outside-rows.ts'
import { SERVICES } from './service-rows.ts'
import {
  counted,
  families,
  flowExpected,
  flowRow,
  GENERATION,
  ipv4,
  keyOf,
  loadWorld,
  NODE_2,
  type RowSpec,
  readyConfig,
  tunnelIn,
  VNI,
  type World,
} from './world.ts'

const OTHER = 50_000

let outside: Outside
let world: World
beforeAll(async () => {
  outside = await Outside.open()
  const config = { ...readyConfig, flags: SERVICES, portMin: OTHER, portMax: OTHER }
  world = await loadWorld({ rows: { sb_config: [[0, config]] }, netns: outside.netns })
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const untouched = { source: '::', destination: '::', vni: 0, tos: 0, ttl: 0, flags: 0 } as const
const keySet = { source: ipv4.node1, destination: ipv4.node2, vni: VNI, ttl: 64 }
const sends = { sport: CLIENT_PORT, dport: BACKEND_PORT }
const leaves = { sport: OTHER, dport: BACKEND_PORT }

describe.each(families)('IPv$family', (actors) => {
  const { a, c, own1, stranger } = actors

  describe.each([
    ['a connection', TCP],
    ['a datagram', UDP],
  ])('%s', (_what, proto) => {
    type Ports = typeof sends
    const make = (
      link: Layer,
      route: Parameters<typeof udpPacket>[1],
      ports: Ports,
      flag?: 'ack',
    ) =>
      proto === TCP ? tcpPacket(link, route, ports, [flag ?? 'syn']) : udpPacket(link, route, ports)
    const clients = served(actors, { where: 'tunnel', proto, backend: c, name: own1 })
    const flow = { source: own1, target: c, proto, ...sends }
    const answers = { source: c, target: own1, proto, sport: BACKEND_PORT, dport: OTHER }
    const row: RowSpec = {
      kind: 'stack',
      node: NODE_2,
      flags: FLOW_TRANSLATED | FLOW_SEEN,
      to: { saddr: own1, daddr: c, ...leaves },
    }
    const backRow: RowSpec = {
      kind: 'stack',
      sourceNode: NODE_2,
      flags: FLOW_TRANSLATED,
      to: { saddr: c, daddr: own1, sport: BACKEND_PORT, dport: CLIENT_PORT },
    }
    const standingRows = (generation: number) =>
      [
        [keyOf(flow), flowRow({ ...row, generation })],
        [keyOf(answers), flowRow({ ...backRow, generation })],
      ] as const

    test('of the node to a pod of another one leaves from another port than a client has there', () => {
      const flags = FLOW_TRANSLATED | (proto === TCP ? 0 : FLOW_SEEN)
      world.check({
        what: 'node → c',
        program: 'vector_to_overlay',
        maps: { sb_flows: clients, test_tunnel: [[0, untouched]] },
        packet: make(links.out, { src: own1, dst: c }, sends),
        expect: {
          verdict: 'next',
          packetOut: make(links.out, { src: own1, dst: c }, leaves),
          maps: {
            sb_flows: {
              added: [
                [keyOf(flow), flowExpected({ ...row, flags })],
                [keyOf(answers), flowExpected(backRow)],
              ],
            },
            sb_counters: counted('to_overlay', 'PASS_NODE'),
            test_tunnel: { changed: [[0, keySet]] },
          },
        },
      })
    })

    test.each([
      ['in this generation', GENERATION],
      ['in another', GENERATION - 1],
    ])('goes on from there and is answered there, %s', (_when, generation) => {
      world.check({
        what: 'node → c',
        program: 'vector_to_overlay',
        maps: {
          sb_flows: [...clients, ...standingRows(generation)],
          test_tunnel: [[0, untouched]],
        },
        packet: make(links.out, { src: own1, dst: c }, sends, 'ack'),
        expect: {
          verdict: 'next',
          packetOut: make(links.out, { src: own1, dst: c }, leaves, 'ack'),
          maps: {
            sb_flows: { changed: [[keyOf(flow), {}]] },
            sb_counters: counted('to_overlay', 'PASS_NODE'),
            test_tunnel: { changed: [[0, keySet]] },
          },
        },
      })
      const back = { sport: BACKEND_PORT, dport: OTHER }
      world.check({
        what: 'c → node',
        program: 'vector_from_overlay',
        maps: { sb_flows: [...clients, ...standingRows(generation)], test_tunnel: [[0, tunnelIn]] },
        packet: make(links.in, { src: c, dst: own1 }, back, 'ack'),
        expect: {
          verdict: 'next',
          packetOut: make(links.in, { src: c, dst: own1 }, { ...back, dport: CLIENT_PORT }, 'ack'),
          maps: {
            sb_flows: { changed: [[keyOf(answers), {}]] },
            sb_counters: counted('from_overlay', 'PASS_TRANSLATED'),
          },
        },
      })
    })

    const kind = (name: string) => {
      const one = kindsOf(actors, outside).find((each) => each.kind === name)
      if (one === undefined) throw new RangeError(name)
      return one
    }
    const there = { sport: CLIENT, dport: BACKEND }
    /** The pod asks its backend past the service, too: that flow has another port. */
    const asideOf = (pair: Pair): Pair => ({
      ...pair,
      out: pair.seen,
      seen: { ...pair.seen, sport: OTHER },
    })

    test.each([
      ['alone', false],
      ['and asks its backend by itself, too', true],
    ])(
      'of a pod to a service leaves as the stack has sent it on, if it asks %s',
      (_how, isAside) => {
        const host = kind('a host outside that the stack masquerades for')
        const pair = pairOf(actors, host, proto)
        const rows = [...standing(pair), ...(isAside ? standing(asideOf(pair)) : [])]
        world.check({
          what: 'a → stranger',
          program: 'sb_to_uplink',
          maps: { ...host.node(), sb_flows: rows },
          packet: make(links.wire, { src: a, dst: stranger }, there),
          expect: {
            verdict: 'next',
            maps: { sb_flows: {}, sb_counters: counted('to_uplink', 'PASS_FOREIGN') },
          },
        })
      },
    )

    test('likewise into the tunnel, for which it was too long', () => {
      const node = kind('a pod of another node')
      const pair = pairOf(actors, node, proto)
      const aside = asideOf(pair)
      world.check({
        what: 'a → c',
        program: 'vector_to_overlay',
        maps: {
          ...node.node(),
          sb_flows: [...standing(pair), ...standing(aside)],
          test_tunnel: [[0, untouched]],
        },
        packet: make(links.out, { src: a, dst: c }, there, 'ack'),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { changed: [[keyOf(aside.out), {}]] },
            sb_counters: counted('to_overlay', 'PASS_NODE'),
            test_tunnel: { changed: [[0, keySet]] },
          },
        },
      })
    })
  })

  test('the middle of a connection of the node whose rows are lost has no port any more', () => {
    world.check({
      what: 'node → c',
      program: 'vector_to_overlay',
      maps: {
        sb_flows: served(actors, { where: 'tunnel', proto: TCP, backend: c, name: own1 }),
        test_tunnel: [[0, untouched]],
      },
      packet: tcpPacket(links.out, { src: own1, dst: c }, sends, ['ack']),
      expect: {
        verdict: 'shot',
        maps: { sb_counters: counted('to_overlay', 'DROP_TRANSLATION_TAKEN'), test_tunnel: {} },
      },
    })
  })
})
