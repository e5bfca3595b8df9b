// sb_from_pod by packet vectors on the way out of the cluster: who leaves under the node's address, and who does not.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { Outside } from './outside.ts'
import { links, udpPacket } from './packets.ts'
import { counted, families, loadWorld, SB_DONE, type World } from './world.ts'

const UDP = 17
const ports = { sport: 40000, dport: 53 }

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

describe.each(families)('IPv$family', ({ a, stranger, node1 }) => {
  const flow = { source: a, target: stranger, proto: UDP, ...ports }
  const sent = udpPacket(links.fromA, { src: a, dst: stranger }, ports)
  const left = udpPacket(links.fromA, { src: node1, dst: stranger, ttl: 63 }, ports)

  test('a first datagram leaves under the address of the node and keeps its port', () => {
    world.check({
      what: 'a → stranger',
      program: 'sb_from_pod',
      packet: sent,
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'neighbour', ifindex: outside.uplink },
        packetOut: left,
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: { added: outside.opened(flow, ports.sport) },
          sb_counters: counted('from_pod', 'PASS_OUT', sent.length),
        },
      },
    })
  })
})
