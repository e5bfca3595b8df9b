// How many events are told: a token bucket for each kind of object, so that whoever may write Services does not make every node write Events
// without end, nor keeps the node's own from being heard.
import type { Clock } from '../runtime/clock.ts'
import type { ObjectRef } from './sink.ts'

/** At once. */
const MOST_AT_ONCE = 25
/** And then one in so long. */
const REFILL_MS = 10_000

export class EventBudget {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #buckets = new Map<ObjectRef['kind'], { tokens: number; atMs: number }>()

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock
  }

  /** False: not this one. */
  take(kind: ObjectRef['kind']): boolean {
    const atMs = this.#clock.monotonicMs()
    const bucket = this.#buckets.get(kind) ?? { tokens: MOST_AT_ONCE, atMs }
    const refilled = bucket.tokens + (atMs - bucket.atMs) / REFILL_MS
    const tokens = Math.min(MOST_AT_ONCE, refilled)
    const isThere = tokens >= 1
    this.#buckets.set(kind, { tokens: isThere ? tokens - 1 : tokens, atMs })
    return isThere
  }
}
