// A connection from outside to a service of node 1, hop by hop: to a pod there, and to a pod of node 2, with its answer.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { runScenario } from '../testing/index.ts'
import { Outside } from './outside.ts'
import { links, tcpPacket } from './packets.ts'
import { BACKEND_PORT, begun, CLIENT_PORT, NODE_PORT } from './service-outside-rows.ts'
import { SERVICES, serving } from './service-rows.ts'
import {
  counted,
  families,
  flowExpected,
  IFINDEX_HERE,
  IFINDEX_OVERLAY,
  INCARNATION_C,
  keyOf,
  loadWorld,
  NODE_1,
  node2Rows,
  readyConfig,
  reverse,
  SB_DONE,
  type World,
} from './world.ts'

const TCP = 6
const asks = { sport: CLIENT_PORT, dport: NODE_PORT }
const gets = { sport: CLIENT_PORT, dport: BACKEND_PORT }
const answers = { sport: BACKEND_PORT, dport: CLIENT_PORT }
const isAnswered = { sport: NODE_PORT, dport: CLIENT_PORT }
const peer = { kind: 'peer', ifindex: IFINDEX_HERE } as const
const overlay = { kind: 'device', ifindex: IFINDEX_OVERLAY } as const

describe.each(families)('IPv$family', (actors) => {
  const { family, a, c, node1, own1, stranger } = actors
  let outside: Outside
  let two: World
  beforeAll(async () => {
    outside = await Outside.open()
    two = await loadWorld({ rows: node2Rows })
  })
  afterAll(() => {
    two?.close()
    outside?.close()
  })

  /** Node 1, whose service has that backend. */
  const nodeOf = async (address: string) => {
    const backends = [{ address, port: BACKEND_PORT }]
    const sb_config = [[0, { ...readyConfig, flags: SERVICES }]] as const
    const rows = serving({ family, proto: TCP, port: NODE_PORT, backends })
    const { uplinks: sb_uplinks, netns } = outside
    return await loadWorld({ rows: { ...rows, sb_config, sb_uplinks }, netns })
  }
  const asked = tcpPacket(links.wire, { src: stranger, dst: node1 }, asks, ['syn'])
  const finished = (device: 'to_overlay' | 'to_uplink') => ({
    what: `${device} finds it finished`,
    program: `sb_${device}`,
    ctx: { mark: SB_DONE },
    expect: {
      verdict: 'next' as const,
      ctx: { mark: 0 },
      maps: { sb_counters: counted(device, 'PASS_DONE') },
    },
  })

  test('a pod of this node answers the client under the service’s name', async () => {
    using one = await nodeOf(a)
    const rows = begun(actors, { where: 'here', proto: TCP, backend: a }, outside.uplink)
    runScenario('stranger → a and back', [
      {
        what: 'node 1 gives it to its pod',
        at: one,
        program: 'sb_from_uplink',
        packet: asked,
        expect: {
          verdict: 'redirect',
          redirect: peer,
          packetOut: tcpPacket(links.toA, { src: stranger, dst: a, ttl: 63 }, gets, ['syn']),
          maps: {
            sb_flows: { added: rows },
            sb_counters: counted('from_uplink', 'PASS_LOCAL'),
          },
        },
      },
      {
        what: 'a answers',
        at: one,
        program: 'sb_from_pod',
        packet: tcpPacket(links.fromA, { src: a, dst: stranger }, answers, ['syn', 'ack']),
        expect: {
          verdict: 'redirect',
          redirect: { kind: 'neighbour' as const, ifindex: outside.uplink },
          packetOut: tcpPacket(links.fromA, { src: node1, dst: stranger, ttl: 63 }, isAnswered, [
            'syn',
            'ack',
          ]),
          ctx: { mark: SB_DONE },
          maps: {
            sb_flows: { changed: [[rows[1][0], {}]] },
            sb_counters: counted('from_pod', 'PASS_OUT'),
          },
        },
      },
      { ...finished('to_uplink'), at: one },
    ])
  })

  test('a pod of another node answers by the node that it was asked by', async () => {
    using one = await nodeOf(c)
    const served = { where: 'tunnel', proto: TCP, backend: c, name: own1 } as const
    const rows = begun(actors, served, outside.uplink)
    const flow = { source: own1, target: c, proto: TCP, ...gets }
    const into = { kind: 'local', targetIncarnation: INCARNATION_C, sourceNode: NODE_1 } as const
    const back = { kind: 'node', node: NODE_1, sourceIncarnation: INCARNATION_C } as const
    const flags = () => true
    runScenario('stranger → c and back', [
      {
        what: 'node 1 asks in its own name',
        at: one,
        program: 'sb_from_uplink',
        packet: asked,
        expect: {
          verdict: 'redirect',
          redirect: overlay,
          packetOut: tcpPacket(links.out, { src: own1, dst: c, ttl: 63 }, gets, ['syn']),
          ctx: { mark: SB_DONE },
          maps: {
            sb_flows: { added: rows },
            sb_counters: counted('from_uplink', 'PASS_NODE'),
          },
        },
      },
      { ...finished('to_overlay'), at: one },
      {
        what: 'node 2 takes it out of the tunnel and into c',
        at: two,
        program: 'vector_from_overlay',
        expect: {
          verdict: 'redirect',
          redirect: peer,
          packetOut: tcpPacket(links.toC, { src: own1, dst: c, ttl: 62 }, gets, ['syn']),
          maps: {
            sb_flows: {
              added: [
                [keyOf(flow), { ...flowExpected(into), flags }],
                [keyOf(reverse(flow)), { ...flowExpected(back), flags }],
              ],
            },
            sb_counters: counted('from_overlay', 'PASS_LOCAL'),
          },
        },
      },
      {
        what: 'c answers; node 2 follows its row',
        at: two,
        program: 'sb_from_pod',
        packet: tcpPacket(links.fromC, { src: c, dst: own1 }, answers, ['syn', 'ack']),
        expect: {
          verdict: 'redirect',
          redirect: overlay,
          packetOut: tcpPacket(links.in, { src: c, dst: own1, ttl: 63 }, answers, ['syn', 'ack']),
          ctx: { mark: SB_DONE },
          maps: {
            sb_flows: { changed: [[keyOf(reverse(flow)), { ...flowExpected(back), flags }]] },
            sb_counters: counted('from_pod', 'PASS_NODE'),
          },
        },
      },
      {
        what: 'node 1 gives it to the client, under the service’s name',
        at: one,
        program: 'vector_from_overlay',
        expect: {
          verdict: 'redirect',
          redirect: { kind: 'neighbour' as const, ifindex: outside.uplink },
          packetOut: tcpPacket(links.in, { src: node1, dst: stranger, ttl: 62 }, isAnswered, [
            'syn',
            'ack',
          ]),
          ctx: { mark: SB_DONE },
          maps: {
            sb_flows: { changed: [[rows[1][0], {}]] },
            sb_counters: counted('from_overlay', 'PASS_OUT'),
          },
        },
      },
      { ...finished('to_uplink'), at: one },
    ])
  })
})
