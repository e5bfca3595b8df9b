// The rows of one reconciler by key, with what became of each: which changed, which failed, and when those are tried again.
import { isDeepStrictEqual } from 'node:util'
import type { BackoffOptions } from '../runtime/backoff.ts'
import type { Clock } from '../runtime/clock.ts'
import { deepFreeze } from './freeze.ts'
import { type RowStatus, TrackedRow } from './row-status.ts'

/** An object that is there and its row, which does not ask for it. */
export type Removal<Row, Actual> = readonly [TrackedRow<Row>, Actual]

export class TrackedRows<Row extends object> {
  readonly #clock: Clock
  readonly #backoff: BackoffOptions
  readonly #rows = new Map<string, TrackedRow<Row>>()
  /** Keys whose row changed since they were last handed to the target. */
  readonly #dirty = new Set<string>()
  /** Those in state error: what is retried and reported is found without a walk over all rows. */
  readonly #failing = new Set<TrackedRow<Row>>()

  constructor(clock: Clock, backoff: BackoffOptions) {
    this.#clock = clock
    this.#backoff = backoff
  }

  get hasChanges(): boolean {
    return this.#dirty.size > 0
  }

  /** Without a row: it is no longer wanted. */
  change(key: string, row: Row | undefined): void {
    const tracked = this.#rows.get(key)
    if (tracked === undefined) {
      this.#rows.set(key, this.#newRow(key, row))
    } else {
      tracked.change(row, this.#clock.now())
      this.#failing.delete(tracked)
    }
    this.#dirty.add(key)
  }

  /** What is equal to what was wanted before is no change. */
  changeTo(wanted: ReadonlyMap<string, Row>): void {
    for (const [key, row] of wanted) {
      const before = this.#rows.get(key)?.row
      if (before === row || (before !== undefined && isDeepStrictEqual(before, row))) continue
      this.change(key, deepFreeze(row))
    }
    for (const [key, tracked] of this.#rows) {
      if (tracked.row !== undefined && !wanted.has(key)) this.change(key, undefined)
    }
  }

  /**
   * What has to be done so that exactly the rows are there, but for what is in back-off. Takes `actuals` apart, and every change
   * with it.
   */
  compare<Actual>(
    actuals: Map<string, Actual>,
    isEqual: (row: Row, actual: Actual) => boolean,
  ): { updates: TrackedRow<Row>[]; removals: Removal<Row, Actual>[] } {
    const updates: TrackedRow<Row>[] = []
    for (const tracked of this.#rows.values()) {
      if (tracked.row === undefined) continue
      const actual = actuals.get(tracked.key)
      actuals.delete(tracked.key)
      const isChanged = this.takeChange(tracked.key)
      if (actual !== undefined && isEqual(tracked.row, actual)) this.done(tracked)
      else if (isChanged || !this.#isWaiting(tracked)) updates.push(tracked)
    }
    const removals: Removal<Row, Actual>[] = []
    for (const [key, actual] of actuals) {
      const tracked = this.#rows.get(key) ?? this.#newRow(key, undefined)
      this.#rows.set(key, tracked)
      if (this.takeChange(key) || !this.#isWaiting(tracked)) removals.push([tracked, actual])
    }
    for (const [key, tracked] of this.#rows) {
      if (tracked.row === undefined && !actuals.has(key)) this.forget(tracked)
    }
    return { updates, removals }
  }

  /** The same of some that are there: rows without any of them stay as they are. */
  compareSome<Actual>(
    actuals: readonly (readonly [string, Actual])[],
    isEqual: (row: Row, actual: Actual) => boolean,
  ): { updates: TrackedRow<Row>[]; removals: Removal<Row, Actual>[] } {
    const updates: TrackedRow<Row>[] = []
    const removals: Removal<Row, Actual>[] = []
    for (const [key, actual] of actuals) {
      const tracked = this.#rows.get(key) ?? this.#newRow(key, undefined)
      this.#rows.set(key, tracked)
      const isDue = this.takeChange(key) || !this.#isWaiting(tracked)
      if (tracked.row === undefined) {
        if (isDue) removals.push([tracked, actual])
      } else if (isEqual(tracked.row, actual)) this.done(tracked)
      else if (isDue) updates.push(tracked)
    }
    return { updates, removals }
  }

  /** Those that changed, and those whose back-off is over. */
  due(): TrackedRow<Row>[] {
    const due = [...this.#failing].filter((tracked) => !this.#isWaiting(tracked))
    for (const key of this.#dirty) {
      const tracked = this.#rows.get(key)
      if (tracked !== undefined) due.push(tracked)
    }
    return due
  }

  /** Hands the change of a key over; says whether there was one. */
  takeChange(key: string): boolean {
    return this.#dirty.delete(key)
  }

  done(tracked: TrackedRow<Row>): void {
    tracked.done(this.#clock.now())
    this.#failing.delete(tracked)
  }

  failed(tracked: TrackedRow<Row>, error: unknown): void {
    tracked.failed(error, this.#clock.now(), this.#clock.monotonicMs())
    this.#failing.add(tracked)
  }

  forget(tracked: TrackedRow<Row>): void {
    this.#rows.delete(tracked.key)
    this.#dirty.delete(tracked.key)
    this.#failing.delete(tracked)
  }

  /** When the next one that failed is to be tried again, on the monotonic clock; `otherwiseMs` if that is sooner or none failed. */
  nextRetryAtMs(otherwiseMs: number): number {
    let nextMs = otherwiseMs
    for (const { retryAtMs } of this.#failing) nextMs = Math.min(nextMs, retryAtMs ?? nextMs)
    return nextMs
  }

  /** The one that failed first and how many others; undefined when none fails. */
  failure(): string | undefined {
    const [first] = this.#failing
    if (first === undefined) return undefined
    const others = this.#failing.size > 1 ? ` (and ${this.#failing.size - 1} more)` : ''
    return `${first.key}: ${first.message}${others}`
  }

  statuses(): RowStatus[] {
    return [...this.#rows.values()].map((tracked) => tracked.status())
  }

  /** In back-off. */
  #isWaiting({ retryAtMs }: TrackedRow<Row>): boolean {
    return retryAtMs !== undefined && retryAtMs > this.#clock.monotonicMs()
  }

  #newRow(key: string, row: Row | undefined): TrackedRow<Row> {
    return new TrackedRow(key, row, this.#clock.now(), this.#backoff)
  }
}
