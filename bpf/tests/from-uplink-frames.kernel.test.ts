// Frames on an uplink that are for all, or for others, by packet vectors: the kernel would not forward them, and neither do we.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { CONFIG_NATIVE } from '../src/layouts.ts'
import { MASQUERADE, type Outside, openServing } from './outside.ts'
import { links, udpPacket } from './packets.ts'
import { BACKEND_PORT, CLIENT_PORT, NODE_PORT, served } from './service-outside-rows.ts'
import { SERVICES, serving } from './service-rows.ts'
import {
  counted,
  families,
  flowRow,
  INCARNATION_A,
  keyOf,
  NODE_2,
  nativeRows,
  readyConfig,
  type World,
} from './world.ts'

const UDP = 17

let outside: Outside
let world: World
beforeAll(async () => {
  ;({ outside, world } = await openServing())
})
afterAll(() => {
  world?.close()
  outside?.close()
})

describe.each(families)('IPv$family', (actors) => {
  const { family, a, b, c, node1, own1, stranger } = actors
  const asks = { sport: CLIENT_PORT, dport: NODE_PORT }
  const here = { address: a, port: BACKEND_PORT }
  const native = {
    ...nativeRows,
    sb_config: [[0, { ...readyConfig, flags: SERVICES | CONFIG_NATIVE }]],
  } as const
  const ping = { source: a, target: stranger, proto: UDP, sport: 7, dport: 9 }
  const fromC = { source: c, target: a, proto: UDP, ...asks }
  const row = { kind: 'local', targetIncarnation: INCARNATION_A, sourceNode: NODE_2 } as const

  test.each([
    ['for all', links.broadcast],
    ['for others', links.wire1],
  ])('%s', (_what, link) => {
    const cases = [
      [
        'a service is asked for',
        serving({ family, proto: UDP, port: NODE_PORT, backends: [here] }),
        udpPacket(link, { src: stranger, dst: node1 }, asks),
        'PASS_FOREIGN',
      ],
      [
        'a flow to a service',
        { sb_flows: served(actors, { where: 'here', proto: UDP, backend: a }) },
        udpPacket(link, { src: stranger, dst: node1 }, asks),
        'PASS_FOREIGN',
      ],
      [
        'the answer to a masqueraded pod',
        {
          sb_config: [[0, { ...readyConfig, flags: MASQUERADE }]],
          sb_flows: outside.standing(ping, 7),
        },
        udpPacket(link, { src: stranger, dst: node1 }, { sport: 9, dport: 7 }),
        'PASS_FOREIGN',
      ],
      [
        'to a pod, without a tunnel',
        { ...native, sb_flows: [[keyOf(fromC), flowRow(row)]] },
        udpPacket(link, { src: c, dst: a }, asks),
        'PASS_FOREIGN',
      ],
      [
        'in the name of a pod of this node, without a tunnel',
        native,
        udpPacket(link, { src: b, dst: a }, asks),
        'DROP_NATIVE_SOURCE',
      ],
      [
        'in the name of a pod of another',
        {},
        udpPacket(link, { src: c, dst: node1 }, asks),
        'DROP_NATIVE_SOURCE',
      ],
      [
        'to the node’s address in the pod network',
        {},
        udpPacket(link, { src: stranger, dst: own1 }, asks),
        'DROP_NATIVE_TARGET',
      ],
    ] as const
    for (const [what, maps, packet, outcome] of cases) {
      world.check({
        what,
        program: 'sb_from_uplink',
        maps,
        packet,
        expect: {
          verdict: outcome === 'PASS_FOREIGN' ? 'next' : 'shot',
          maps: { sb_flows: {}, sb_counters: counted('from_uplink', outcome) },
        },
      })
    }
  })
})
