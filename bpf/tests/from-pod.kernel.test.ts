// sb_from_pod by packet vectors: both ways, first packets and later ones, what the short way owes routing.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { FLOW_SEEN } from '../src/layouts.ts'
import { ip, packet, payload } from '../testing/index.ts'
import { links, pingPacket, tcpPacket, udpPacket } from './packets.ts'
import { local, localBack, opened, remote, remoteBack, stack, stackBack } from './rows.ts'
import {
  counted,
  families,
  flowExpected,
  flowRow,
  GENERATION,
  IFINDEX_B,
  IFINDEX_OVERLAY,
  ipv4,
  keyOf,
  loadWorld,
  MTU,
  NODE_2,
  reverse,
  SB_DONE,
  VNI,
  type World,
} from './world.ts'

const UDP = 17
const TCP = 6
const ports = { sport: 40000, dport: 53 }

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

describe.each(families)('IPv$family', ({ a, b, c, d, own1, vacant, stranger, family }) => {
  const toB = { source: a, target: b, proto: UDP, ...ports }
  const toC = { source: a, target: c, proto: UDP, ...ports }
  const sentTo = (dst: string) => udpPacket(links.fromA, { src: a, dst }, ports)

  test('first packet to a pod of this node makes both rows and goes in by its peer', () => {
    world.check({
      what: 'a → b',
      program: 'sb_from_pod',
      packet: sentTo(b),
      ctx: { mark: 0xff, tstamp: 12345n },
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_B },
        packetOut: udpPacket(links.toB, { src: a, dst: b, ttl: 63 }, ports),
        ctx: { mark: 0, tstamp: 0n },
        maps: {
          sb_flows: { added: opened(toB, local, localBack) },
          sb_counters: counted('from_pod', 'PASS_LOCAL', sentTo(b).length),
        },
      },
    })
  })

  test('later packets to a pod of this node follow the row and renew it', () => {
    world.check({
      what: 'a → b again',
      program: 'sb_from_pod',
      maps: { sb_flows: [[keyOf(toB), flowRow(local)]] },
      packet: sentTo(b),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_B },
        packetOut: udpPacket(links.toB, { src: a, dst: b, ttl: 63 }, ports),
        maps: {
          sb_flows: {
            changed: [[keyOf(toB), { flags: FLOW_SEEN, seen: (s: number) => s > 0, created: 0 }]],
          },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('first packet to a pod of another node gets its tunnel key and the mark of a finished packet', () => {
    world.check({
      what: 'a → c',
      program: 'vector_from_pod',
      packet: udpPacket(links.fromA, { src: a, dst: c, tos: 0xb8 }, ports),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_OVERLAY },
        packetOut: udpPacket(links.out, { src: a, dst: c, tos: 0xb8, ttl: 63 }, ports),
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: { added: opened(toC, remote, remoteBack) },
          sb_counters: counted('from_pod', 'PASS_NODE'),
          test_tunnel: {
            changed: [
              [
                0,
                {
                  source: ipv4.node1,
                  destination: ipv4.node2,
                  vni: VNI,
                  tos: 0xb8,
                  ttl: 64,
                },
              ],
            ],
          },
        },
      },
    })
  })

  test('later packets to a pod of another node need no LPM lookup', () => {
    world.check({
      what: 'a → c again, with an empty ipcache',
      program: 'sb_from_pod',
      maps: { sb_flows: [[keyOf(toC), flowRow({ ...remote, flags: FLOW_SEEN })]] },
      packet: sentTo(c),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_OVERLAY },
        packetOut: udpPacket(links.out, { src: a, dst: c, ttl: 63 }, ports),
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: { changed: [[keyOf(toC), { seen: (s: number) => s > 0 }]] },
          sb_counters: counted('from_pod', 'PASS_NODE'),
        },
      },
    })
  })

  test('the tunnel goes over the family of the node row', () => {
    const outer = { source: '2001:db8::1', destination: '2001:db8::2', tos: 0, ttl: 64 }
    world.check({
      what: 'a → c over IPv6',
      program: 'vector_from_pod',
      maps: {
        sb_nodes: [
          [NODE_2, { tunnel: '2001:db8::2', mac: '02:00:00:00:10:02', mtu: MTU, flags: 1 }],
        ],
      },
      packet: sentTo(c),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_OVERLAY },
        packetOut: 'any',
        maps: {
          sb_flows: { added: opened(toC, remote, remoteBack) },
          sb_counters: counted('from_pod', 'PASS_NODE'),
          test_tunnel: { changed: [[0, { ...outer, vni: VNI }]] },
        },
      },
    })
  })

  test.each([
    ['an address nobody of ours has', stranger],
    ["this node's own address", own1],
    ['an address of this node without a pod', vacant],
    ['a pod of a node without a tunnel', d],
  ])('a packet to %s takes the stack, untouched, and so will its answers', (_what, dst) => {
    const flow = { source: a, target: dst, proto: UDP, ...ports }
    const node = dst === d ? { node: 3 } : {}
    const sourceNode = dst === d ? { sourceNode: 3 } : {}
    world.check({
      what: `a → ${dst}`,
      program: 'sb_from_pod',
      packet: sentTo(dst),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: {
            added: opened(flow, { ...stack, ...node }, { ...stackBack, ...sourceNode }),
          },
          sb_counters: counted('from_pod', 'PASS_STACK'),
        },
      },
    })
  })

  test('a flow on the stack way stays there, also when its destination becomes known', () => {
    world.check({
      what: 'a → c, row on the stack way of an older generation',
      program: 'sb_from_pod',
      maps: { sb_flows: [[keyOf(toC), flowRow({ ...stack, generation: GENERATION - 1 })]] },
      packet: sentTo(c),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: { changed: [[keyOf(toC), { flags: FLOW_SEEN }]] },
          sb_counters: counted('from_pod', 'PASS_STACK'),
        },
      },
    })
  })

  test('a flow whose answers take the stack way takes it too', () => {
    world.check({
      what: 'a → b, only the row of the other direction is there',
      program: 'sb_from_pod',
      maps: { sb_flows: [[keyOf(reverse(toB)), flowRow({ ...localBack, kind: 'stack' })]] },
      packet: sentTo(b),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: {
            added: [[keyOf(toB), flowExpected({ ...local, kind: 'stack', flags: FLOW_SEEN })]],
            changed: [[keyOf(reverse(toB)), { seen: (s: number) => s > 0 }]],
          },
          sb_counters: counted('from_pod', 'PASS_STACK'),
        },
      },
    })
  })

  test('a TCP packet from the middle of an unknown connection takes the stack', () => {
    const flow = { source: a, target: b, proto: TCP, sport: 40000, dport: 80 }
    world.check({
      what: 'a → b, ACK without a row',
      program: 'sb_from_pod',
      packet: tcpPacket(links.fromA, { src: a, dst: b }, flow, ['ack'], 100),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: {
            added: opened(flow, { ...local, kind: 'stack' }, { ...localBack, kind: 'stack' }),
          },
          sb_counters: counted('from_pod', 'PASS_STACK'),
        },
      },
    })
  })

  test('echo request and reply are one flow', () => {
    const echo = {
      source: a,
      target: b,
      proto: family === 4 ? 1 : 58,
      sport: 4711,
      dport: 4711,
      icmpClass: 1,
    }
    world.check({
      what: 'ping a → b',
      program: 'sb_from_pod',
      packet: pingPacket(links.fromA, { src: a, dst: b }, 4711),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_B },
        packetOut: pingPacket(links.toB, { src: a, dst: b, ttl: 63 }, 4711),
        maps: {
          sb_flows: { added: opened(echo, local, localBack) },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('a protocol we do not know is a flow by addresses and protocol', () => {
    const flow = { source: a, target: b, proto: 132 }
    const layers = [ip({ src: a, dst: b, protocol: 132 }), payload(32)] as const
    world.check({
      what: 'SCTP a → b',
      program: 'sb_from_pod',
      packet: packet(links.fromA, ...layers),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_B },
        packetOut: packet(links.toB, ip({ src: a, dst: b, protocol: 132, ttl: 63 }), payload(32)),
        maps: {
          sb_flows: { added: opened(flow, local, localBack) },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })
})
