// How long changes wait until they are in the maps: for metrics, and for those who ask whether this node keeps up.
import type { Clock } from '../runtime/clock.ts'
import { Histogram } from '../runtime/histogram.ts'
import type { Source, Table } from '../state/table.ts'
import type { Sync } from './health-answers.ts'
import type { ServiceRows } from './rows.ts'
import { whenReady } from './when-ready.ts'

const BUCKETS_SEC = Array.from({ length: 15 }, (_, at) => 0.001 * 2 ** at)

export interface WriteLagDeps {
  readonly rows: Table<ServiceRows>
  /** Nothing is to be written before each of these is known. */
  readonly sources: readonly Source[]
  /** What an earlier agent wrote is served. */
  readonly isServing: () => boolean
  /** Until what is wanted by now is written. */
  readonly caughtUp: () => Promise<void>
  /** After each batch of changes that is in the maps. */
  readonly onWritten?: () => void
  readonly clock: Clock
}

export class WriteLag {
  /** Batches of changes, until the last map was written. */
  readonly batches = new Histogram(BUCKETS_SEC)
  readonly #deps: WriteLagDeps
  /** Since when the oldest of the changes that are being written waits, by the monotonic clock; undefined: none is. */
  #waitingSinceMs: number | undefined
  /** The same of those that came since. */
  #nextSinceMs: number | undefined
  #lastAt: number | undefined

  constructor(deps: WriteLagDeps) {
    const { rows, clock } = deps
    this.#deps = deps
    this.#waitingSinceMs = clock.monotonicMs()
    rows.subscribe((changes) => {
      if (changes.length > 0) this.#nextSinceMs ??= clock.monotonicMs()
    })
  }

  /** The first complete list counts as one change. */
  get now(): Sync {
    const { clock } = this.#deps
    // Nobody has told of a change: what an earlier agent wrote is all there is to know.
    if (this.#goesOn()) return {}
    const since = this.#waitingSinceMs ?? this.#nextSinceMs
    const at = this.#lastAt
    return {
      ...(since === undefined ? {} : { waitingMs: clock.monotonicMs() - since }),
      ...(at === undefined ? {} : { lastAt: at }),
    }
  }

  /** Works until the signal is aborted: hand it to a job. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, sources, rows, caughtUp, onWritten } = this.#deps
    const goesOn = this.#goesOn()
    for (const source of sources) await whenReady(source, signal)
    if (goesOn) this.#waitingSinceMs = clock.monotonicMs()
    while (!signal.aborted) {
      const { revision } = rows
      const startedAt = clock.monotonicMs()
      this.#waitingSinceMs ??= this.#nextSinceMs
      this.#nextSinceMs = undefined
      await caughtUp()
      this.batches.observe({}, (clock.monotonicMs() - startedAt) / 1000)
      this.#waitingSinceMs = undefined
      this.#lastAt = clock.now()
      onWritten?.()
      await rows.changed(revision, signal)
    }
  }

  /** As the agent before left it, while the cluster says nothing. */
  #goesOn(): boolean {
    const { sources, isServing } = this.#deps
    return !sources.every(({ isReady }) => isReady) && isServing()
  }
}
