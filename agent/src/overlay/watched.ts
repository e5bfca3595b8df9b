// A reconciler of this room that hears what happens in the kernel, and looks again only at what is not as it should be.
import { setImmediate } from 'node:timers/promises'
import { Reconciler, type ReconcilerOptions } from '../state/reconcile.ts'
import type { RowStatus } from '../state/row-status.ts'
import type { Target } from '../state/target.ts'

/** After so many rows the loop has a turn: the kernel answers at once, and else a thousand rows would hold everything up. */
const ROWS_PER_TURN = 64

export interface WatchedTarget<Row, Actual> extends Target<Row, Actual> {
  /** Whether `list` would give this one. Absent: it would. */
  isOurs?(actual: Actual): boolean
}

export type Common = Omit<ReconcilerOptions<object, unknown>, 'target' | 'desired'>

/** What all of them have in common, whatever their rows. */
export interface AnyWatched {
  readonly name: string
  run(signal: AbortSignal): Promise<void>
  kick(): void
  statuses(): RowStatus[]
  settled(): Promise<void>
}

export class Watched<Row extends object, Actual> implements AnyWatched {
  readonly #target: WatchedTarget<Row, Actual>
  readonly #reconciler: Reconciler<Row, Actual>
  /** As computed last: what the reconciler works towards. */
  #wanted = new Map<string, Row>()

  constructor(target: WatchedTarget<Row, Actual>, desired: () => Iterable<Row>, common: Common) {
    this.#target = target
    this.#reconciler = new Reconciler<Row, Actual>({
      ...common,
      target: takingTurns(target),
      desired: () => {
        const rows = [...desired()]
        this.#wanted = new Map(rows.map((row) => [target.key(row), row]))
        return rows
      },
    })
  }

  get name(): string {
    return this.#target.name
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#reconciler.run(signal)
  }

  kick(): void {
    this.#reconciler.kick()
  }

  statuses(): RowStatus[] {
    return this.#reconciler.statuses()
  }

  settled(): Promise<void> {
    return this.#reconciler.settled()
  }

  /** Most of what is heard is our own doing: what came and is wanted, what went and is not. */
  saw(change: 'new' | 'del', actual: Actual): void {
    const row = this.#wanted.get(this.#target.keyOf(actual))
    if (row === undefined) {
      const isOurs = this.#target.isOurs?.(actual) ?? true
      if (change === 'new' && isOurs) this.kick()
    } else if (change === 'del' || !this.#target.isEqual(row, actual)) {
      this.kick()
    }
  }
}

function takingTurns<Row, Actual>(target: Target<Row, Actual>): Target<Row, Actual> {
  let rows = 0
  const turn = async (): Promise<void> => {
    if (++rows % ROWS_PER_TURN === 0) await setImmediate()
  }
  const find = target.find?.bind(target)
  return {
    name: target.name,
    key: (row) => target.key(row),
    keyOf: (actual) => target.keyOf(actual),
    isEqual: (row, actual) => target.isEqual(row, actual),
    list: (signal) => target.list(signal),
    async update(row, signal) {
      await turn()
      await target.update(row, signal)
    },
    async remove(actual, signal) {
      await turn()
      await target.remove(actual, signal)
    },
    ...(find === undefined ? {} : { find }),
  }
}
