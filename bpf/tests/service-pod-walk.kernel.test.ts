// One connection to a service, hop by hop over two nodes: the backend's node sees an ordinary one, and the pod nothing but the service.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { runScenario } from '../testing/index.ts'
import { links, tcpPacket } from './packets.ts'
import {
  answered,
  asked,
  BACKEND,
  begun,
  CLIENT,
  type Pair,
  SERVICE,
  service,
  TCP,
} from './service-flows.ts'
import { SERVICES } from './service-rows.ts'
import {
  counted,
  families,
  IFINDEX_HERE,
  IFINDEX_OVERLAY,
  INCARNATION_A,
  INCARNATION_C,
  keyOf,
  loadWorld,
  NODE_1,
  NODE_2,
  node2Rows,
  readyConfig,
  reverse,
  SB_DONE,
  type World,
} from './world.ts'

let one: World
let two: World
beforeAll(async () => {
  one = await loadWorld({ rows: { sb_config: [[0, { ...readyConfig, flags: SERVICES }]] } })
  two = await loadWorld({ rows: node2Rows })
})
afterAll(() => {
  one?.close()
  two?.close()
})

const there = { sport: CLIENT, dport: BACKEND }
const back = { sport: BACKEND, dport: CLIENT }
const peer = { kind: 'peer', ifindex: IFINDEX_HERE } as const
const overlay = { kind: 'device', ifindex: IFINDEX_OVERLAY } as const

describe.each(families)('IPv$family', (actors) => {
  const { a, c, service: address } = actors
  const pair: Pair = {
    out: { source: a, target: address, proto: TCP, sport: CLIENT, dport: SERVICE },
    seen: { source: a, target: c, proto: TCP, ...there },
    row: { kind: 'node', node: NODE_2, sourceIncarnation: INCARNATION_A },
    backRow: { kind: 'local', targetIncarnation: INCARNATION_A, sourceNode: NODE_2 },
  }

  test('a connection from a pod to a service, whose backend is on another node, and its end', () => {
    runScenario('a → service → c and back', [
      {
        what: 'a asks; node 1 picks c, and puts the SYN for it into the tunnel',
        at: one,
        program: 'sb_from_pod',
        maps: service(actors, [c]),
        packet: tcpPacket(links.fromA, { src: a, dst: address }, asked, ['syn']),
        expect: {
          verdict: 'redirect',
          redirect: overlay,
          ctx: { mark: SB_DONE },
          packetOut: tcpPacket(links.out, { src: a, dst: c, ttl: 63 }, there, ['syn']),
          maps: {
            sb_flows: { added: begun(pair) },
            sb_counters: counted('from_pod', 'PASS_NODE'),
          },
        },
      },
      {
        what: 'the overlay device finds it finished',
        at: one,
        program: 'sb_to_overlay',
        ctx: { mark: SB_DONE },
        expect: {
          verdict: 'next',
          ctx: { mark: 0 },
          maps: { sb_counters: counted('to_overlay', 'PASS_DONE') },
        },
      },
      {
        what: 'for node 2 it is an ordinary connection',
        at: two,
        program: 'vector_from_overlay',
        expect: {
          verdict: 'redirect',
          redirect: peer,
          packetOut: tcpPacket(links.toC, { src: a, dst: c, ttl: 62 }, there, ['syn']),
          maps: {
            sb_flows: {
              added: [
                [keyOf(pair.seen), { sourceNode: NODE_1, targetIncarnation: INCARNATION_C }],
                [keyOf(reverse(pair.seen)), { sourceIncarnation: INCARNATION_C }],
              ],
            },
            sb_counters: counted('from_overlay', 'PASS_LOCAL'),
          },
        },
      },
      {
        what: 'c answers a',
        at: two,
        program: 'sb_from_pod',
        packet: tcpPacket(links.fromC, { src: c, dst: a }, back, ['syn', 'ack']),
        expect: {
          verdict: 'redirect',
          redirect: overlay,
          packetOut: tcpPacket(links.in, { src: c, dst: a, ttl: 63 }, back, ['syn', 'ack']),
          maps: {
            sb_flows: { changed: [[keyOf(reverse(pair.seen)), {}]] },
            sb_counters: counted('from_pod', 'PASS_NODE'),
          },
        },
      },
      {
        what: 'node 1 makes it the answer of the service',
        at: one,
        program: 'vector_from_overlay',
        expect: {
          verdict: 'redirect',
          redirect: peer,
          packetOut: tcpPacket(links.toA, { src: address, dst: a, ttl: 62 }, answered, [
            'syn',
            'ack',
          ]),
          maps: {
            sb_flows: { changed: [[keyOf(reverse(pair.seen)), {}]] },
            sb_counters: counted('from_overlay', 'PASS_LOCAL'),
          },
        },
      },
      {
        what: 'nobody is left in its list; the connection goes on',
        at: one,
        program: 'sb_from_pod',
        packet: tcpPacket(links.fromA, { src: a, dst: address }, asked, ['ack', 'fin']),
        maps: {
          sb_slots: [
            [
              { list: 1, slot: 0 },
              { backend: 0, weight: 0 },
            ],
          ],
        },
        expect: {
          verdict: 'redirect',
          redirect: overlay,
          packetOut: tcpPacket(links.out, { src: a, dst: c, ttl: 63 }, there, ['ack', 'fin']),
          maps: {
            sb_flows: {
              changed: [
                [keyOf(pair.out), {}],
                [keyOf(reverse(pair.seen)), {}],
              ],
            },
            sb_counters: counted('from_pod', 'PASS_NODE', undefined, 2),
          },
        },
      },
    ])
  })
})
