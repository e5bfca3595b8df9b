// The clock of flow rows, as the sweep of a world tells it.
import { DEFAULT_SWEEP, JIFFIES_PER_TICK, sweep } from '../src/layouts.ts'
import type { World } from './world.ts'

export interface Clock {
  /** Ticks at the time of asking: near enough for a test file's life. */
  readonly now: number
  readonly hz: number
  /** That long ago, rounded up; before the machine came up it wraps, as the C does. */
  secondsAgo(sec: number): number
}

/** Empties expired rows, so ask before any are put. */
export function clockOf(world: Pick<World, 'program'>): Clock {
  const ctx = sweep.encode(DEFAULT_SWEEP)
  const { now, hz } = sweep.decode(world.program('sb_sweep').testRun({ ctx }).ctx)
  return {
    now,
    hz,
    secondsAgo: (sec) => (now - Math.ceil((sec * hz) / JIFFIES_PER_TICK)) >>> 0,
  }
}
