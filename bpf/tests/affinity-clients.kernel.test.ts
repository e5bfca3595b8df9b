// Very many clients with affinity: each keeps the backend that it had first, and all of them together ask every backend.
// SINABRO_AFFINITY_CLIENTS: how many (default 10,000; each runs the program twice).
import { afterAll, beforeAll, expect, test } from 'vitest'
import { affinity, affinityKey, SERVICE_AFFINITY } from '../src/layouts.ts'
import { TypedMap } from '../src/typed-map.ts'
import { encodeSkBuff } from '../testing/index.ts'
import { type Outside, openServing } from './outside.ts'
import { links, udpPacket } from './packets.ts'
import { NODE_PORT } from './service-outside-rows.ts'
import { serving } from './service-rows.ts'
import { ipv4, type World } from './world.ts'

const CLIENTS = Number(process.env.SINABRO_AFFINITY_CLIENTS ?? 10_000)
const BACKENDS = 20
const UDP = 17
let outside: Outside
let world: World

beforeAll(async () => {
  const sizes = {
    // An LRU gives rows away before it is full; whoever asks has a flow of two rows, and no opener may have all.
    maxAffinity: 4 * CLIENTS,
    maxFlows: 16 * CLIENTS,
  }
  ;({ outside, world } = await openServing({}, sizes))
})

afterAll(() => {
  world?.close()
  outside?.close()
})

const addressOf = (client: number): string =>
  `198.${18 + (client >> 16)}.${(client >> 8) & 255}.${client & 255}`

test(`${CLIENTS} clients keep their backends`, () => {
  const { a, node1 } = ipv4
  world.reset()
  world.put(
    serving({
      ...{ family: 4, proto: UDP, port: NODE_PORT, flags: SERVICE_AFFINITY, affinitySec: 3600 },
      backends: Array.from({ length: BACKENDS }, (_, i) => ({ address: a, port: 1000 + i })),
    }),
  )
  const program = world.program('sb_from_uplink')
  const clients = new TypedMap(world.map('sb_affinity'), affinityKey, affinity)
  const askAll = (sport: number): Map<string, number> => {
    for (let client = 0; client < CLIENTS; client++) {
      const route = { src: addressOf(client), dst: node1 }
      const data = udpPacket(links.wire, route, { sport, dport: NODE_PORT })
      program.testRun({ data, ctx: encodeSkBuff({}), netns: outside.netns })
    }
    return new Map([...clients.entries()].map(([{ client }, { backend }]) => [client, backend]))
  }
  const first = askAll(40_000)
  expect(first.size).toBe(CLIENTS)
  expect(new Set(first.values()).size).toBe(BACKENDS)
  expect(askAll(40_001)).toEqual(first)
  expect([...world.map('sb_flows').keys()]).toHaveLength(4 * CLIENTS)
}, 120_000)
