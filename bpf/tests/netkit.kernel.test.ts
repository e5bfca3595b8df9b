// Pods whose pair is netkit, by packet vectors: their program runs where they send, so what they send goes by devices, not into peers.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { ENDPOINT_LOCAL_POD, ENDPOINT_NETKIT } from '../src/layouts.ts'
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
const netkit = ENDPOINT_LOCAL_POD | ENDPOINT_NETKIT

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

describe.each(families)('IPv$family', ({ a, b, c }) => {
  const pods = (flagsOfA: number, flagsOfB: number): Rows<Shapes> => ({
    sb_endpoints: [
      [a, { ...podA, flags: flagsOfA }],
      [b, { ...podB, flags: flagsOfB }],
    ],
  })
  const toB = { source: a, target: b, proto: UDP, ...ports }
  const fromC = { source: c, target: a, proto: UDP, ...ports }
  const arrivedB = udpPacket(links.toB, { src: a, dst: b, ttl: 63 }, ports)

  test.each([
    ['netkit', netkit],
    ['veth', ENDPOINT_LOCAL_POD],
  ])('to a pod of this node on %s', (_on, flagsOfB) => {
    world.check({
      what: 'a → b',
      program: 'sb_from_pod',
      packet: udpPacket(links.fromA, { src: a, dst: b }, ports),
      ctx: { mark: 0xff, tstamp: 12345n },
      maps: pods(netkit, flagsOfB),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_B },
        packetOut: arrivedB,
        ctx: { mark: SB_DONE, tstamp: 0n },
        maps: {
          sb_flows: { added: opened(toB, local, localBack) },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('from a pod on veth, or another node, into the peer', () => {
    world.check({
      what: 'a → b',
      program: 'sb_from_pod',
      packet: udpPacket(links.fromA, { src: a, dst: b }, ports),
      maps: pods(ENDPOINT_LOCAL_POD, netkit),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_B },
        packetOut: arrivedB,
        maps: {
          sb_flows: { added: opened(toB, local, localBack) },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
    world.check({
      what: 'c → a',
      program: 'vector_from_overlay',
      packet: udpPacket(links.in, { src: c, dst: a }, ports),
      maps: pods(netkit, netkit),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_HERE },
        packetOut: udpPacket(links.toA, { src: c, dst: a, ttl: 63 }, ports),
        maps: {
          sb_flows: { added: opened(fromC, remoteBack, remote) },
          sb_counters: counted('from_overlay', 'PASS_LOCAL'),
        },
      },
    })
  })
})
