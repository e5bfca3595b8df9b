// What the short way owes routing, by packet vectors: TTL, MTU by packet and by segment, checksums.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { FLOW_SEEN } from '../src/layouts.ts'
import { ip, ip4, packet, payload, tcp, udp } from '../testing/index.ts'
import { links, udpPacket } from './packets.ts'
import { local, localBack, opened, remote, remoteBack } from './rows.ts'
import {
  counted,
  families,
  flowRow,
  IFINDEX_B,
  ipv4,
  keyOf,
  loadWorld,
  MTU,
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

describe.each(families)('IPv$family', ({ a, b, c, family }) => {
  const toB = { source: a, target: b, proto: UDP, ...ports }
  const toC = { source: a, target: c, proto: UDP, ...ports }

  test.each([
    ['a pod of this node', b, toB, local, localBack],
    ['a pod of another node', c, toC, remote, remoteBack],
  ] as const)('TTL 1 to %s goes to the stack, which answers', (_what, dst, flow, row, back) => {
    world.check({
      what: `a → ${dst}, TTL 1`,
      program: 'sb_from_pod',
      packet: udpPacket(links.fromA, { src: a, dst, ttl: 1 }, ports),
      expect: {
        verdict: 'next',
        maps: {
          sb_flows: { added: opened(flow, row, back) },
          sb_counters: counted('from_pod', 'PASS_STACK_TTL'),
        },
      },
    })
  })

  test.each([
    ['a pod of this node', b, toB, local, localBack],
    ['a pod of another node', c, toC, remote, remoteBack],
  ] as const)(
    'above the MTU of %s goes to the stack, which answers',
    (_what, dst, flow, row, back) => {
      const headers = (family === 4 ? 20 : 40) + 8
      const sized = (bytes: number, ttl = 64) =>
        udpPacket(links.fromA, { src: a, dst, ttl }, ports, bytes - headers)
      world.check({
        what: `a → ${dst}, ${MTU + 1} bytes`,
        program: 'sb_from_pod',
        packet: sized(MTU + 1),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { added: opened(flow, row, back) },
            sb_counters: counted('from_pod', 'PASS_STACK_MTU'),
          },
        },
      })
      world.check({
        what: `a → ${dst}, ${MTU} bytes`,
        program: 'sb_from_pod',
        packet: sized(MTU),
        expect: {
          verdict: 'redirect',
          redirect: () => true,
          packetOut: 'any',
          maps: {
            sb_flows: { added: opened(flow, row, back) },
            sb_counters: counted('from_pod', dst === b ? 'PASS_LOCAL' : 'PASS_NODE'),
          },
        },
      })
    },
  )

  test('a GSO packet is judged by its segments', () => {
    const flow = { source: a, target: b, proto: TCP, sport: 40000, dport: 80 }
    const headers = (family === 4 ? 20 : 40) + 32
    const options = new Uint8Array(12).fill(1)
    const big = (ttl: number, link = links.fromA) =>
      packet(
        link,
        ip({ src: a, dst: b, ttl }),
        tcp({ sport: 40000, dport: 80, options }),
        payload(3000),
      )
    const run = (gsoSize: number, isFit: boolean) =>
      world.check({
        what: `a → b, segments of ${gsoSize}`,
        program: 'sb_from_pod',
        maps: { sb_flows: [[keyOf(flow), flowRow(local)]] },
        packet: big(64),
        ctx: { gsoSize, gsoSegs: 3 },
        expect: {
          verdict: isFit ? 'redirect' : 'next',
          ...(isFit ? { redirect: { kind: 'peer', ifindex: IFINDEX_B } } : {}),
          packetOut: isFit ? big(63, links.toB) : big(64),
          maps: {
            sb_flows: { changed: [[keyOf(flow), { flags: FLOW_SEEN }]] },
            sb_counters: counted('from_pod', isFit ? 'PASS_LOCAL' : 'PASS_STACK_MTU'),
          },
        },
      })
    run(MTU - headers, true)
    run(MTU - headers + 1, false)
  })
})

test('the header checksum stays right for any sum it can have', () => {
  for (let id = 0; id < 65536; id += 251) {
    const header = (ttl: number) => ip4({ src: ipv4.a, dst: ipv4.b, ttl, id, tos: id & 0xff })
    const ttl = 2 + (id % 254)
    world.reset()
    world.step({
      what: `a → b, id ${id}`,
      program: 'sb_from_pod',
      packet: packet(links.fromA, header(ttl), udp(ports)),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_B },
        packetOut: packet(links.toB, header(ttl - 1), udp(ports)),
        maps: {
          sb_flows: {
            added: opened(
              { source: ipv4.a, target: ipv4.b, proto: UDP, ...ports },
              local,
              localBack,
            ),
          },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  }
})
