// Arrival at a pod that is held to a rate, by packet vectors: out of the host end, where its qdisc is, from wherever it comes.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { ENDPOINT_LOCAL_POD, ENDPOINT_SHAPED } from '../src/layouts.ts'
import type { Rows } from '../testing/index.ts'
import { links, udpPacket } from './packets.ts'
import { local, localBack, opened, remote, remoteBack } from './rows.ts'
import {
  counted,
  families,
  IFINDEX_B,
  IFINDEX_HERE,
  loadWorld,
  podA,
  podB,
  SB_DONE,
  type Shapes,
  type World,
} from './world.ts'

const UDP = 17
const ports = { sport: 40000, dport: 53 }
const flags = ENDPOINT_LOCAL_POD | ENDPOINT_SHAPED

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

describe.each(families)('IPv$family', ({ a, b, c }) => {
  const shaped: Rows<Shapes> = {
    sb_endpoints: [
      [a, { ...podA, flags }],
      [b, { ...podB, flags }],
    ],
  }

  const toB = { source: a, target: b, proto: UDP, ...ports }
  const fromC = { source: c, target: a, proto: UDP, ...ports }

  test('from a pod of this node', () => {
    const sent = udpPacket(links.fromA, { src: a, dst: b }, ports)
    world.check({
      what: 'a → b',
      program: 'sb_from_pod',
      packet: sent,
      ctx: { mark: 0xff, tstamp: 12345n },
      maps: shaped,
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_B },
        packetOut: udpPacket(links.toB, { src: a, dst: b, ttl: 63 }, ports),
        ctx: { mark: SB_DONE, tstamp: 0n },
        maps: {
          sb_flows: { added: opened(toB, local, localBack) },
          sb_counters: counted('from_pod', 'PASS_LOCAL', sent.length),
        },
      },
    })
  })

  test('from another node, and then past sb_to_pod', () => {
    const arrived = udpPacket(links.toA, { src: c, dst: a, ttl: 63 }, ports)
    world.check({
      what: 'c → a',
      program: 'vector_from_overlay',
      packet: udpPacket(links.in, { src: c, dst: a }, ports),
      maps: shaped,
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_HERE },
        packetOut: arrived,
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: { added: opened(fromC, remoteBack, remote) },
          sb_counters: counted('from_overlay', 'PASS_LOCAL'),
        },
      },
    })
    world.check({
      what: 'out of the host end',
      program: 'sb_to_pod',
      packet: arrived,
      ctx: { mark: SB_DONE },
      maps: shaped,
      expect: {
        verdict: 'next',
        packetOut: arrived,
        ctx: { mark: 0 },
        maps: { sb_flows: {}, sb_counters: counted('to_pod', 'PASS_DONE') },
      },
    })
  })
})
