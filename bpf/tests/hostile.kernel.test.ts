// What an honest pod says that looks like what a hostile one would: the guards of drops.kernel.test.ts let it pass.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { ip, packet, timeExceeded } from '../testing/index.ts'
import { links, udpPacket } from './packets.ts'
import { local, localBack, opened, remote, remoteBack, stack, stackBack } from './rows.ts'
import {
  counted,
  families,
  IFINDEX_B,
  IFINDEX_OVERLAY,
  loadWorld,
  nativeRows,
  SB_DONE,
  TUNNEL_PORT,
  type World,
} from './world.ts'

const UDP = 17
const ports = { sport: 40000, dport: TUNNEL_PORT }

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

describe.each(families)('IPv$family', ({ a, b, c, node2, stranger }) => {
  test("a pod's port of the tunnel's number is a port like any other", () => {
    const toB = { source: a, target: b, proto: UDP, ...ports }
    const toC = { source: a, target: c, proto: UDP, ...ports }
    world.check({
      what: 'to a pod of this node',
      program: 'sb_from_pod',
      packet: udpPacket(links.fromA, { src: a, dst: b }, ports),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_B },
        packetOut: 'any',
        maps: {
          sb_flows: { added: opened(toB, local, localBack) },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
    world.check({
      what: 'to a pod of another node',
      program: 'sb_from_pod',
      packet: udpPacket(links.fromA, { src: a, dst: c }, ports),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_OVERLAY },
        packetOut: 'any',
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: { added: opened(toC, remote, remoteBack) },
          sb_counters: counted('from_pod', 'PASS_NODE'),
        },
      },
    })
  })

  test('without a tunnel so it is towards nodes, who see the pod, and towards anybody else', () => {
    for (const target of [node2, stranger]) {
      const flow = { source: a, target, proto: UDP, ...ports }
      world.check({
        what: `to ${target}`,
        program: 'sb_from_pod',
        maps: nativeRows,
        packet: udpPacket(links.fromA, { src: a, dst: target }, ports),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: { added: opened(flow, stack, stackBack) },
            sb_counters: counted('from_pod', 'PASS_STACK'),
          },
        },
      })
    }
  })

  test('an ICMP error about what the pod was sent passes, whoever sent it', () => {
    for (const sender of [b, c, stranger]) {
      world.check({
        what: `about what ${sender} sent`,
        program: 'sb_from_pod',
        packet: packet(
          links.fromA,
          ip({ src: a, dst: sender }),
          timeExceeded(),
          ip({ src: sender, dst: a }),
        ),
        expect: { verdict: 'next', maps: { sb_counters: counted('from_pod', 'PASS_STACK_ERROR') } },
      })
    }
  })
})
