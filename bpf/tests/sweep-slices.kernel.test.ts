// A sweep in slices: cut short between two of them, with flows opened, used and reclaimed meanwhile.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { BpfIterator } from '../src/iterator.ts'
import {
  DEFAULT_TIMEOUTS,
  FLOW_OPENER,
  FLOW_SEEN,
  flow,
  flowKey,
  OPENER_POD,
  opened,
  opener,
  openerFlows,
  sweep,
  type Timeouts,
  timeouts,
} from '../src/layouts.ts'
import { u32 } from '../src/struct.ts'
import { TypedMap } from '../src/typed-map.ts'
import { type Clock, clockOf, sweepOf } from './clock.ts'
import { links, udpPacket } from './packets.ts'
import {
  type FlowSpec,
  flowRow,
  INCARNATION_A,
  INCARNATION_B,
  ipv4,
  keyOf,
  loadWorld,
  reverse,
  type World,
} from './world.ts'

const UDP = 17
const MAX_FLOWS = 24_000
/** Several slices' worth; a slice is 4,096 rows. */
const PAIRS = 5_000
const { a, b, stranger } = ipv4

let world: World
let clock: Clock
beforeAll(async () => {
  world = await loadWorld({ maxFlows: MAX_FLOWS })
})
afterAll(() => world?.close())
beforeEach(async () => {
  world.reset()
  clock = await clockOf(world)
})

const flows = () => new TypedMap(world.map('sb_flows'), flowKey, flow)
const openers = () => new TypedMap(world.map('sb_openers'), opener, openerFlows)
const podA = { kind: OPENER_POD, incarnation: INCARNATION_A, addr: '::' }
const podB = { ...podA, incarnation: INCARNATION_B }
/** Counts are signed, and may be below zero until a pass has ended. */
const countOf = (who: typeof podA) => (openers().get(who)?.flows ?? 0) | 0
const total = () => (new TypedMap(world.map('sb_opened'), u32, opened).get(0)?.flows ?? 0) | 0

const flowOf = (source: string, i: number): FlowSpec => ({
  source,
  target: stranger,
  proto: UDP,
  sport: 1000 + i,
  dport: 9,
})

function fill(source: string, incarnation: number, count: number, idleSec: number): void {
  const seen = clock.secondsAgo(idleSec)
  const there = { ...flowRow({ kind: 'stack', sourceIncarnation: incarnation }), seen }
  const back = { ...flowRow({ kind: 'stack', targetIncarnation: incarnation }), seen }
  const rows = Array.from({ length: count }, (_, i) => flowOf(source, i)).flatMap((spec) => [
    [keyOf(spec), { ...there, flags: FLOW_SEEN | FLOW_OPENER }] as const,
    [keyOf(reverse(spec)), { ...back, flags: FLOW_SEEN }] as const,
  ])
  world
    .map('sb_flows')
    .updateMany(rows.map(([key, row]) => [flowKey.encode(key), flow.encode(row)] as const))
}

const setTimeouts = (change: Partial<Timeouts>) =>
  new TypedMap(world.map('sb_timeouts'), u32, timeouts).set(0, { ...DEFAULT_TIMEOUTS, ...change })

/** A pass that waits after its first slice. */
async function begin() {
  const iterator = BpfIterator.open({
    program: world.program('sb_sweep'),
    map: world.map('sb_flows'),
  })
  const records = iterator.records(sweep, sweep.size)
  const first = await records.next()
  expect(first.value).toMatchObject([{ rows: 4096, isDone: 0 }])
  return {
    async abandon() {
      await records.return()
      iterator.close()
    },
    async finish() {
      const last = (await Array.fromAsync(records)).flat().at(-1)
      iterator.close()
      return last
    },
  }
}

const sendFrom = (i: number) =>
  world.program('sb_from_pod').testRun({
    data: udpPacket(links.fromA, { src: a, dst: stranger }, { sport: 1000 + i, dport: 9 }),
  })

test('a pass that is never finished has changed no counts, and the next one counts all', async () => {
  fill(a, INCARNATION_A, PAIRS, 10)
  openers().set(podA, { flows: 17, recount: 5 })
  const pass = await begin()
  await pass.abandon()
  expect(countOf(podA)).toBe(17)
  expect(await sweepOf(world)).toMatchObject({ rows: 2 * PAIRS, removed: 0 })
  expect(countOf(podA)).toBe(PAIRS)
  expect(total()).toBe(PAIRS)
})

test('what a pass that is never finished has removed is given back at once', async () => {
  fill(a, INCARNATION_A, PAIRS, DEFAULT_TIMEOUTS.udpStream + 10)
  await sweepOf(world)
  fill(a, INCARNATION_A, PAIRS, DEFAULT_TIMEOUTS.udpStream + 10)
  openers().set(podA, { flows: PAIRS, recount: 0 })
  const pass = await begin()
  await pass.abandon()
  const left = [...flows().keys()].length
  expect(left).toBeLessThan(2 * PAIRS)
  expect(countOf(podA)).toBe(left / 2)
})

test('a flow that is opened between two slices is not forgotten', async () => {
  fill(a, INCARNATION_A, PAIRS, 10)
  await sweepOf(world)
  const pass = await begin()
  for (let i = 0; i < 10; i++) sendFrom(PAIRS + i)
  expect(await pass.finish()).toMatchObject({ isDone: 1 })
  // At most counted twice: by its opener, and by the pass that meets its row.
  expect(countOf(podA)).toBeGreaterThanOrEqual(PAIRS + 10)
  expect(countOf(podA)).toBeLessThanOrEqual(PAIRS + 20)
  await sweepOf(world)
  expect(countOf(podA)).toBe(PAIRS + 10)
  expect(total()).toBe(PAIRS + 10)
})

test('a later pass takes over from one under way', async () => {
  fill(a, INCARNATION_A, PAIRS, 10)
  const early = await begin()
  expect(await sweepOf(world)).toMatchObject({ rows: 2 * PAIRS })
  expect(await early.finish()).toBeUndefined()
  expect(countOf(podA)).toBe(PAIRS)
})

test('a program that finds the table full between two slices leaves right counts', async () => {
  fill(b, INCARNATION_B, MAX_FLOWS / 2 - PAIRS, DEFAULT_TIMEOUTS.udpStream - 5)
  fill(a, INCARNATION_A, PAIRS, 10)
  expect(await sweepOf(world)).toMatchObject({ rows: MAX_FLOWS, removed: 0 })
  const pass = await begin()
  setTimeouts({ udpStream: 100 })
  sendFrom(PAIRS)
  expect([...flows().keys()].filter(({ saddr }) => saddr === b)).toEqual([])
  expect(flows().get(keyOf(flowOf(a, PAIRS)))).toBeDefined()
  await pass.finish()
  await sweepOf(world)
  expect([countOf(podA), countOf(podB), total()]).toEqual([PAIRS + 1, 0, PAIRS + 1])
})

test('no flow that is used goes, however often the table is swept', async () => {
  const moving = 50
  setTimeouts({ udpBrief: 1, udpStream: 1 })
  fill(a, INCARNATION_A, PAIRS, 6)
  for (let i = 0; i < moving; i++) sendFrom(i)
  const created = Array.from(
    { length: moving },
    (_, i) => flows().get(keyOf(flowOf(a, i)))?.created,
  )
  let passes = 0
  let isOver = false
  const sweeping = (async () => {
    for (; passes < 20; passes++) {
      fill(b, INCARNATION_B, 500, 100)
      await sweepOf(world)
    }
    isOver = true
  })()
  // Reads are made by other threads: what is sent here goes on meanwhile.
  while (!isOver) {
    for (let i = 0; i < moving; i++) sendFrom(i)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await sweeping
  expect([...flows().keys()]).toHaveLength(2 * moving)
  for (let i = 0; i < moving; i++) {
    expect(flows().get(keyOf(flowOf(a, i)))?.created).toBe(created[i])
  }
})
