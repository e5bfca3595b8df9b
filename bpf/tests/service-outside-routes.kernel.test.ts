// Services asked for from outside, by packet vectors: what becomes of their flows while no route leads to a client or a backend.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { NODE_ADDR_HOST_PORTS } from '../src/layouts.ts'
import { elsewhere, type Outside, openServing, UPLINK_MTU, unreachable } from './outside.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import { BACKEND_PORT, begun, CLIENT_PORT, NODE_PORT, served } from './service-outside-rows.ts'
import { serving } from './service-rows.ts'
import { counted, families, type World } from './world.ts'

let outside: Outside
let world: World
beforeAll(async () => {
  ;({ outside, world } = await openServing())
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const program = 'sb_from_uplink'
const TCP = 6
const UDP = 17
const asks = { sport: CLIENT_PORT, dport: NODE_PORT }
const gets = { sport: CLIENT_PORT, dport: BACKEND_PORT }
const answers = { sport: BACKEND_PORT, dport: CLIENT_PORT }

describe.each(families)('IPv$family', (actors) => {
  const { family, a, c, node1, own1, stranger } = actors
  const nowhere = unreachable[family]
  const asking = { src: stranger, dst: node1 }
  const rows = (proto: number, address: string) =>
    serving({ family, proto, port: NODE_PORT, backends: [{ address, port: BACKEND_PORT }] })
  const dropped = (place: 'from_uplink' | 'from_overlay' | 'from_pod') => ({
    verdict: 'shot' as const,
    maps: { sb_counters: counted(place, 'DROP_NO_ROUTE') },
  })

  test.each([
    ['TCP', TCP, tcpPacket(links.wire, asking, asks, ['syn'])],
    ['UDP', UDP, udpPacket(links.wire, asking, asks)],
  ] as const)(
    'a flow does not begin before a route leads to its backend: %s',
    (_, proto, packet) => {
      const maps = rows(proto, nowhere)
      world.check({ what: 'nowhere', program, maps, packet, expect: dropped('from_uplink') })
    },
  )

  test('the node itself, and what it reaches by another device, are the stack’s', () => {
    for (const backend of [nowhere, elsewhere[family]]) {
      const maps = rows(UDP, backend)
      const own = { ...maps, sb_node_addrs: [...(maps.sb_node_addrs ?? [])] }
      if (backend === nowhere) own.sb_node_addrs.push([backend, NODE_ADDR_HOST_PORTS])
      world.check({
        what: backend,
        program,
        maps: own,
        packet: udpPacket(links.wire, asking, asks),
        expect: {
          verdict: 'next',
          packetOut: udpPacket(links.wire, { src: stranger, dst: backend }, gets),
          maps: {
            sb_flows: { added: begun(actors, { where: 'node', proto: UDP, backend }, 0) },
            sb_counters: counted('from_uplink', 'PASS_STACK'),
          },
        },
      })
    }
  })

  test('what comes in for a flow waits for a route; the node would take it for its own', () => {
    const remote = { where: 'tunnel', proto: TCP, backend: c, name: own1, client: nowhere } as const
    const [asked, answered] = served(actors, remote)
    world.check({
      what: 'an answer, and none to the client',
      program: 'vector_from_overlay',
      maps: { sb_flows: [asked, answered] },
      packet: tcpPacket(links.in, { src: c, dst: own1 }, answers, ['ack']),
      expect: {
        ...dropped('from_overlay'),
        maps: {
          ...dropped('from_overlay').maps,
          sb_flows: { changed: [[answered[0], { way: answered[1].way }]] },
        },
      },
    })
    const out = { where: 'out', proto: TCP, backend: nowhere, name: node1 } as const
    const [there, back] = served(actors, { ...out, ifindex: outside.uplink, mtu: UPLINK_MTU })
    world.check({
      what: 'a client’s, and none to the backend',
      program,
      maps: { sb_flows: [there, back] },
      packet: tcpPacket(links.wire, asking, asks, ['ack']),
      expect: {
        ...dropped('from_uplink'),
        maps: {
          ...dropped('from_uplink').maps,
          sb_flows: { changed: [[there[0], { way: there[1].way }]] },
        },
      },
    })
  })

  test('a pod is told so by the stack', () => {
    const flow = { where: 'here', proto: TCP, backend: a, client: nowhere } as const
    const [asked, answered] = served(actors, flow)
    const packet = tcpPacket(links.fromA, { src: a, dst: nowhere }, answers, ['ack'])
    world.check({
      what: 'an answer, and none to the client',
      program: 'sb_from_pod',
      maps: { sb_flows: [asked, answered] },
      packet,
      expect: {
        ...{ verdict: 'next', packetOut: packet },
        maps: {
          sb_flows: { changed: [[answered[0], { way: answered[1].way }]] },
          sb_counters: counted('from_pod', 'PASS_STACK'),
        },
      },
    })
  })
})
