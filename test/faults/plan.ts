// Which fault comes in which round: the same seed gives the same faults, and each round its own numbers, whoever ran before it.
import { POINTS, type Point } from './points.ts'

export type Fault =
  | { readonly kind: 'point'; readonly point: Point }
  /** The agent while pods come and go; with `startMs` the next one too, on its way to ready. */
  | { readonly kind: 'agent'; readonly afterMs: number; readonly startMs?: number }
  /** The executable in the middle of one call. */
  | { readonly kind: 'executable'; readonly verb: 'ADD' | 'DEL'; readonly afterMs: number }

export type Random = () => number

/** About as long as two pods take to come. */
const LONGEST_WORK_MS = 150
/** About as long as an agent takes to be ready. */
const LONGEST_START_MS = 1_000
const LONGEST_CALL_MS = 60

/** mulberry32. */
export function randomFrom(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Half named points, half random moments; every point comes once before any comes again. */
export function planFaults(rounds: number, seed: number): Fault[] {
  const random = randomFrom(seed)
  let deck: Point[] = []
  return Array.from({ length: rounds }, () => {
    if (random() < 0.5) return randomFault(random)
    if (deck.length === 0) deck = shuffled(POINTS, random)
    const point = deck.pop()
    if (point === undefined) throw new Error('there are no points')
    return { kind: 'point', point }
  })
}

function randomFault(random: Random): Fault {
  const dice = random()
  if (dice < 0.35) return { kind: 'agent', afterMs: random() * LONGEST_WORK_MS }
  if (dice < 0.7) {
    const startMs = random() * LONGEST_START_MS
    return { kind: 'agent', afterMs: random() * LONGEST_WORK_MS, startMs }
  }
  const verb = dice < 0.85 ? 'ADD' : 'DEL'
  return { kind: 'executable', verb, afterMs: random() * LONGEST_CALL_MS }
}

function shuffled<T>(values: readonly T[], random: Random): T[] {
  const deck = [...values]
  for (let last = deck.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const [a, b] = [deck[last], deck[other]]
    if (a !== undefined && b !== undefined) [deck[last], deck[other]] = [b, a]
  }
  return deck
}

export function describeFault(fault: Fault): string {
  if (fault.kind === 'point') return fault.point.name
  const ms = (value: number) => `${value.toFixed(0)} ms`
  if (fault.kind === 'executable') return `executable in ${fault.verb} after ${ms(fault.afterMs)}`
  const again = fault.startMs === undefined ? '' : `, the next after ${ms(fault.startMs)}`
  return `agent after ${ms(fault.afterMs)}${again}`
}
