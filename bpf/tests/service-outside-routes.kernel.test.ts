// Services asked for from outside, by packet vectors: what becomes of their flows while no route leads to a client or a backend.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { type Outside, openServing, UPLINK_MTU, unreachable } from './outside.ts'
import { links, tcpPacket } from './packets.ts'
import { BACKEND_PORT, CLIENT_PORT, NODE_PORT, served } from './service-outside-rows.ts'
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
const asks = { sport: CLIENT_PORT, dport: NODE_PORT }
const answers = { sport: BACKEND_PORT, dport: CLIENT_PORT }

describe.each(families)('IPv$family', (actors) => {
  const { family, a, c, node1, own1, stranger } = actors
  const nowhere = unreachable[family]
  const asking = { src: stranger, dst: node1 }
  const dropped = (place: 'from_uplink' | 'from_overlay' | 'from_pod') => ({
    verdict: 'shot' as const,
    maps: { sb_counters: counted(place, 'DROP_NO_ROUTE') },
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
