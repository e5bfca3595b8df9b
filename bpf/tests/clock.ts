// The clock of flow rows, as the sweep of a world tells it, and that sweep.
import { BpfIterator } from '../src/iterator.ts'
import { JIFFIES_PER_TICK, type Sweep, sweep } from '../src/layouts.ts'
import type { World } from './world.ts'

export interface Clock {
  /** Ticks at the time of asking: near enough for a test file's life. */
  readonly now: number
  readonly hz: number
  /** That long ago, rounded up; before the machine came up it wraps, as the C does. */
  secondsAgo(sec: number): number
}

/** One pass of sb_sweep; what it had found at its end. */
export async function sweepOf(world: Pick<World, 'program' | 'map'>): Promise<Sweep> {
  using iterator = BpfIterator.open({
    program: world.program('sb_sweep'),
    map: world.map('sb_flows'),
  })
  const records = (await Array.fromAsync(iterator.records(sweep))).flat()
  const last = records.at(-1)
  if (last?.isDone !== 1) throw new Error('a pass of sb_sweep ended before its end')
  return last
}

/** Empties expired rows, so ask before any are put. */
export async function clockOf(world: Pick<World, 'program' | 'map'>): Promise<Clock> {
  const { now, hz } = await sweepOf(world)
  return {
    now,
    hz,
    secondsAgo: (sec) => (now - Math.ceil((sec * hz) / JIFFIES_PER_TICK)) >>> 0,
  }
}
