// Datagrams to a service follow its list: sb_sweep takes the rows of those whose backend is none any more, and of no others.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { flow, flowKey, SLOT_MEMBER, slot, slotKey } from '../src/layouts.ts'
import { TypedMap } from '../src/typed-map.ts'
import type { Rows } from '../testing/index.ts'
import { clockOf, sweepOf } from './clock.ts'
import type { Outside } from './outside.ts'
import { kindsOf, type Pair, pairOf, service, standing, TCP, UDP } from './service-flows.ts'
import { families, loadWorld, readyConfig, type Shapes, type World } from './world.ts'

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

const unplugged = { uplink: 0, uplinks: [] } as unknown as Outside

describe.each(families)('IPv$family', (actors) => {
  const { a, b, c } = actors
  const [local] = kindsOf(actors, unplugged)
  if (local === undefined) throw new RangeError('no kind of backend')
  const config = local.node()
  const datagrams = pairOf(actors, local, UDP)
  const fromOutside: Pair = {
    ...datagrams,
    out: { ...datagrams.out, source: actors.stranger },
    seen: { ...datagrams.seen, source: actors.stranger },
    row: { ...datagrams.row, sourceIncarnation: 0 },
    backRow: { ...datagrams.backRow, targetIncarnation: 0 },
  }
  const direct: Pair = { ...datagrams, out: { ...datagrams.seen, sport: 7 } }

  test.each<[string, number, Pair, Rows<Shapes>]>([
    ['datagrams to a backend that is none any more', 2, datagrams, service(actors, [c])],
    ['datagrams to a service that nobody serves', 2, datagrams, service(actors, [])],
    ['datagrams to a service that is gone', 2, datagrams, {}],
    ['datagrams from outside, likewise', 2, fromOutside, service(actors, [c])],
    ['datagrams to a backend that is in the list', 0, datagrams, service(actors, [c, a, b])],
    ['a connection', 0, pairOf(actors, local, TCP), service(actors, [c])],
    ['a flow that has stepped aside for another', 0, direct, service(actors, [c])],
    [
      'all of them, if services are not ours',
      0,
      datagrams,
      { sb_config: [[0, { ...readyConfig }]] },
    ],
  ])('%s: %i rows go', async (_what, removed, pair, rows) => {
    world.reset()
    const { now } = await clockOf(world)
    world.put({ ...config, ...rows })
    const flows = new TypedMap(world.map('sb_flows'), flowKey, flow)
    for (const [key, row] of standing(pair)) flows.set(key, { ...row, seen: now, created: now })
    expect(await sweepOf(world)).toMatchObject({ removed })
    expect([...flows.keys()].length).toBe(2 - removed)
  })

  test('a list is looked through once for each backend, and asked for it from then on', async () => {
    world.reset()
    const { now } = await clockOf(world)
    world.put({ ...config, ...service(actors, [c, local.backend]) })
    const flows = new TypedMap(world.map('sb_flows'), flowKey, flow)
    const sweep = async () => {
      for (const [key, row] of standing(datagrams)) {
        flows.set(key, { ...row, seen: now, created: now })
      }
      return await sweepOf(world)
    }
    expect(await sweep()).toMatchObject({ removed: 0 })
    // It is in its slot yet, as while a list shrinks.
    const slots = new TypedMap(world.map('sb_slots'), slotKey, slot)
    slots.delete({ list: 1, slot: SLOT_MEMBER + 102 })
    expect(await sweep()).toMatchObject({ removed: 2 })
    // An id that is another one's by now says nothing.
    world.put(service(actors, [local.backend, c]))
    expect(await sweep()).toMatchObject({ removed: 0 })
  })
})
