// Makes what is like what should be: diff, coalescing, retry per row, slow refresh against drift, careful pruning.
import { Backoff, type BackoffOptions } from '../runtime/backoff.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Health } from '../runtime/health.ts'
import type { Log } from '../runtime/log.ts'
import type { RowStatus, TrackedRow } from './row-status.ts'
import { Standing } from './standing.ts'
import { type Source, Table } from './table.ts'
import type { Target } from './target.ts'
import { type Removal, TrackedRows } from './tracked-rows.ts'

export interface ReconcilerOptions<Row extends object, Actual> {
  readonly target: Target<Row, Actual>
  /**
   * A table, whose changes cost what changed; or a pure function of the sources, computed again after each of their changes,
   * of which only the rows that differ reach the target.
   */
  readonly desired: Table<Row> | (() => Iterable<Row>)
  /** Nothing is pruned before each of these has finished its first list. A desired table counts without being named. */
  readonly sources: readonly Source[]
  readonly log: Log
  readonly clock: Clock
  readonly health: Health
  /** How often everything is listed and compared again although nothing changed (± a tenth). */
  readonly refreshMs?: number
  readonly backoff?: BackoffOptions
  /** Whether an error in a row of the first pass keeps the process from being ready. */
  readonly readyAfter?: 'first-pass' | 'no-errors'
}

const DEFAULT_REFRESH_MS = 300_000
const DEFAULT_BACKOFF: BackoffOptions = { firstMs: 100, longestMs: 60_000 }
/** A pass that fails as a whole (a list that cannot be had) leaves every row waiting, so it is tried again sooner than a row. */
const LONGEST_PASS_RETRY_MS = 5_000

export class Reconciler<Row extends object, Actual> {
  readonly #target: Target<Row, Actual>
  readonly #desired: Table<Row> | (() => Iterable<Row>)
  readonly #sources: readonly Source[]
  readonly #options: ReconcilerOptions<Row, Actual>
  readonly #backoffOptions: BackoffOptions
  readonly #passBackoff: Backoff
  readonly #rows: TrackedRows<Row>
  readonly #standing: Standing
  #mustList = true
  #hasListed = false
  /** A refresh that is going on. */
  #parts: AsyncGenerator<readonly Actual[], void, undefined> | undefined
  #mustCompute = true
  /** A removal was held back because a source was not ready. */
  #owesPrune = false
  #isInPass = false
  #isListing = false
  #isOver = false
  #refreshAtMs = 0
  #wake: () => void = () => undefined
  readonly #settledWaiters = new Set<() => void>()
  /** They wait for a pass that begins after they came. */
  readonly #passWaiters = new Set<() => void>()

  constructor(options: ReconcilerOptions<Row, Actual>) {
    this.#options = options
    this.#target = options.target
    this.#desired = options.desired
    this.#sources =
      options.desired instanceof Table ? [options.desired, ...options.sources] : options.sources
    this.#backoffOptions = options.backoff ?? DEFAULT_BACKOFF
    this.#rows = new TrackedRows(options.clock, this.#backoffOptions)
    this.#passBackoff = new Backoff({
      ...this.#backoffOptions,
      longestMs: Math.min(this.#backoffOptions.longestMs, LONGEST_PASS_RETRY_MS),
    })
    const { target, health, readyAfter = 'first-pass' } = options
    this.#standing = new Standing(target.name, health, readyAfter)
  }

  /** Works until the signal is aborted: hand it to a job. */
  async run(signal: AbortSignal): Promise<void> {
    const ends = this.#subscribe()
    const onAbort = (): void => this.#wake()
    signal.addEventListener('abort', onAbort)
    this.#isOver = false
    this.#mustList = true
    this.#mustCompute = true
    try {
      while (!signal.aborted) {
        await this.#pass(signal)
        await this.#sleep(signal)
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      for (const end of ends) end()
      this.#isOver = true
      this.#tellSettled()
    }
  }

  /** Something outside may have changed: list and compare soon. Rows in back-off stay there. */
  kick(): void {
    this.#mustList = true
    this.#wake()
  }

  statuses(): RowStatus[] {
    return this.#rows.statuses()
  }

  /** Resolves once every row, also what comes meanwhile, is done or has failed at least once, or nothing more will happen because `run` ended. */
  settled(): Promise<void> {
    if (this.#isAtRest()) return Promise.resolve()
    return new Promise((resolve) => this.#settledWaiters.add(resolve))
  }

  /** The same of rows known now: however much comes meanwhile, it is not waited for. */
  caughtUp(): Promise<void> {
    if (this.#isAtRest()) return Promise.resolve()
    return new Promise((resolve) => this.#passWaiters.add(resolve))
  }

  #isAtRest(): boolean {
    return this.#isOver || (!this.#isInPass && !this.#hasWork())
  }

  #subscribe(): (() => void)[] {
    const desired = this.#desired
    const ends = this.#sources.map((source) =>
      source.subscribe(() => {
        if (source !== desired) this.#mustCompute = true
        if (this.#owesPrune && this.#canPrune()) this.#mustList = true
        this.#wake()
      }),
    )
    if (desired instanceof Table) {
      ends.push(
        desired.subscribe((changes) => {
          for (const { key, row } of changes) this.#rows.change(key, row)
          this.#wake()
        }),
      )
    }
    return ends
  }

  #compute(): void {
    const desired = this.#desired
    const wanted = new Map<string, Row>()
    for (const row of desired instanceof Table ? desired.values() : desired()) {
      const key = this.#target.key(row)
      if (wanted.has(key)) throw new Error(`${this.#target.name}: two desired rows for ${key}`)
      wanted.set(key, row)
    }
    this.#rows.changeTo(wanted)
  }

  /** One pass over what is due. */
  async #pass(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options
    this.#isInPass = true
    const waiters = [...this.#passWaiters]
    const isListing = this.#mustList
    const isComputing = this.#mustCompute
    try {
      this.#mustCompute = false
      if (isComputing) this.#compute()
      this.#mustList = false
      if (isListing && this.#hasListed) this.#parts = this.#target.listInParts?.(signal)
      this.#isListing = isListing || this.#parts !== undefined
      if (isListing && this.#parts === undefined) await this.#passOverAll(signal)
      else await this.#passOverDue(signal)
      if (this.#parts !== undefined) await this.#passOverPart(this.#parts, signal)
      this.#passBackoff.reset()
      this.#standing.passed(this.#rows.failure())
      for (const resolve of waiters) {
        this.#passWaiters.delete(resolve)
        resolve()
      }
    } catch (error) {
      if (signal.aborted) return
      this.#mustList ||= isListing || this.#parts !== undefined
      this.#parts = undefined
      this.#mustCompute ||= isComputing
      const delayMs = this.#passBackoff.nextMs()
      this.#standing.brokeOff(error)
      log.error({ target: this.#target.name, error, retryInMs: Math.round(delayMs) }, 'pass failed')
      await clock.sleep(delayMs, signal).catch(() => undefined)
    } finally {
      this.#isInPass = false
    }
    if (!this.#hasWork()) this.#tellSettled()
  }

  #tellSettled(): void {
    for (const waiters of [this.#settledWaiters, this.#passWaiters]) {
      for (const resolve of waiters) resolve()
      waiters.clear()
    }
  }

  async #passOverAll(signal: AbortSignal): Promise<void> {
    this.#owesPrune = false
    const actuals = new Map<string, Actual>()
    for (const actual of await this.#target.list(signal)) {
      actuals.set(this.#target.keyOf(actual), actual)
    }
    const { updates, removals } = this.#rows.compare(actuals, (row, actual) =>
      this.#target.isEqual(row, actual),
    )
    await this.#apply(updates, removals, signal)
    this.#hasListed = true
    this.#planRefresh()
  }

  /** What changed meanwhile is written before the next. */
  async #passOverPart(
    parts: AsyncGenerator<readonly Actual[], void, undefined>,
    signal: AbortSignal,
  ): Promise<void> {
    const { value: actuals, done } = await parts.next()
    if (done === true) {
      this.#parts = undefined
      this.#planRefresh()
      return
    }
    const { updates, removals } = this.#rows.compareSome(
      actuals.map((actual) => [this.#target.keyOf(actual), actual] as const),
      (row, actual) => this.#target.isEqual(row, actual),
    )
    await this.#apply(updates, removals, signal)
  }

  #planRefresh(): void {
    const { clock, refreshMs = DEFAULT_REFRESH_MS } = this.#options
    const random = this.#backoffOptions.random ?? Math.random
    this.#refreshAtMs = clock.monotonicMs() + refreshMs * (0.9 + random() / 5)
  }

  async #passOverDue(signal: AbortSignal): Promise<void> {
    const due = this.#rows.due()
    const updates = due.filter((tracked) => tracked.row !== undefined)
    const gone = due.filter((tracked) => tracked.row === undefined)
    if (gone.length > 0 && !this.#canPrune()) {
      this.#owesPrune = true
      for (const { key } of gone) this.#rows.takeChange(key)
    } else if (gone.length > 0) {
      const find = this.#target.find?.bind(this.#target)
      if (find === undefined) return this.#passOverAll(signal)
      const removals: Removal<Row, Actual>[] = []
      for (const tracked of gone) {
        const actual = await find(tracked.key, signal)
        if (tracked.row !== undefined) continue
        this.#rows.takeChange(tracked.key)
        if (actual === undefined) this.#rows.forget(tracked)
        else removals.push([tracked, actual])
      }
      return this.#apply(updates, removals, signal)
    }
    return this.#apply(updates, [], signal)
  }

  async #apply(
    updates: readonly TrackedRow<Row>[],
    removals: readonly Removal<Row, Actual>[],
    signal: AbortSignal,
  ): Promise<void> {
    const target = this.#target
    const claims = new Set(
      updates.flatMap(({ row }) => (row === undefined ? [] : (target.claim?.(row) ?? []))),
    )
    const isInTheWay = ([, actual]: Removal<Row, Actual>): boolean => {
      const claim = target.claimOf?.(actual)
      return claim !== undefined && claims.has(claim)
    }
    for (const removal of removals) if (isInTheWay(removal)) await this.#remove(...removal, signal)
    for (const tracked of updates) await this.#update(tracked, signal)
    for (const removal of removals) if (!isInTheWay(removal)) await this.#remove(...removal, signal)
  }

  async #update(tracked: TrackedRow<Row>, signal: AbortSignal): Promise<void> {
    const row = tracked.row
    if (row === undefined) return
    this.#rows.takeChange(tracked.key)
    try {
      await this.#target.update(row, signal)
      if (tracked.row === row) this.#rows.done(tracked)
    } catch (error) {
      this.#failed(tracked, row, error, signal)
    }
  }

  async #remove(tracked: TrackedRow<Row>, actual: Actual, signal: AbortSignal): Promise<void> {
    if (!this.#canPrune()) {
      this.#owesPrune = true
      return
    }
    // Of all that there is: a source that became ready meanwhile may ask for it, and that is computed first.
    if (this.#isListing && this.#mustCompute) {
      this.#mustList = true
      return
    }
    // Wanted again while this pass ran: its own update comes with the next one.
    if (tracked.row !== undefined) return
    try {
      await this.#target.remove(actual, signal)
      if (tracked.row === undefined) this.#rows.forget(tracked)
    } catch (error) {
      this.#failed(tracked, undefined, error, signal)
    }
  }

  #failed(
    tracked: TrackedRow<Row>,
    row: Row | undefined,
    error: unknown,
    signal: AbortSignal,
  ): void {
    if (signal.aborted) throw signal.reason
    if (tracked.row !== row) return
    this.#rows.failed(tracked, error)
    this.#standing.countFailure()
    this.#options.log.warn(
      { target: this.#target.name, row: tracked.key, isRemoval: row === undefined, error },
      'row failed',
    )
  }

  #canPrune(): boolean {
    return this.#sources.every((source) => source.isReady)
  }

  #hasWork(): boolean {
    return this.#mustList || this.#mustCompute || this.#rows.hasChanges || this.#parts !== undefined
  }

  /** How long there is nothing to do, if nothing happens. */
  #idleMs(): number {
    const dueAtMs = this.#rows.nextRetryAtMs(this.#refreshAtMs)
    return Math.max(0, dueAtMs - this.#options.clock.monotonicMs())
  }

  async #sleep(signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#hasWork()) return
    const { clock } = this.#options
    const woken = new AbortController()
    this.#wake = () => woken.abort()
    try {
      await clock.sleep(this.#idleMs(), woken.signal)
    } catch {
      // Woken before the time was over: the loop looks at what there is to do.
    }
    if (clock.monotonicMs() >= this.#refreshAtMs) this.#mustList = true
  }
}
