// Rows by key, frozen, with the changes told to whoever subscribes: the memory of what should be true, no domain words.
import { isDeepStrictEqual } from 'node:util'
import { deepFreeze } from './freeze.ts'

export interface Change<Row> {
  readonly key: string
  /** Absent when the row is gone. */
  readonly row?: Row
  readonly previous?: Row
}

export type TableListener<Row> = (changes: readonly Change<Row>[]) => void

/** What a reconciler needs to know of a table it does not read the rows of. */
export interface Source {
  readonly name: string
  readonly isReady: boolean
  /** Called after changes and when the table becomes ready. */
  subscribe(listener: () => void): () => void
}

export class Table<Row extends object> implements Source {
  readonly name: string
  readonly #keyOf: (row: Row) => string
  readonly #rows = new Map<string, Row>()
  readonly #listeners = new Set<TableListener<Row>>()
  #revision = 0
  #isReady = false

  constructor(name: string, keyOf: (row: Row) => string) {
    this.name = name
    this.#keyOf = keyOf
  }

  get size(): number {
    return this.#rows.size
  }

  /** Grows with every change that changed something. */
  get revision(): number {
    return this.#revision
  }

  /** The first complete list is in: before that, absence of a row means nothing. */
  get isReady(): boolean {
    return this.#isReady
  }

  get(key: string): Row | undefined {
    return this.#rows.get(key)
  }

  has(key: string): boolean {
    return this.#rows.has(key)
  }

  values(): Row[] {
    return [...this.#rows.values()]
  }

  entries(): [string, Row][] {
    return [...this.#rows]
  }

  /** Adds or replaces; a row equal to the one that is there is no change. The table freezes what it takes. */
  upsert(row: Row): boolean {
    const change = this.#put(row)
    if (change === undefined) return false
    this.#publish([change])
    return true
  }

  /** As one change of what differs. */
  upsertAll(rows: Iterable<Row>): number {
    const changes = [...rows].flatMap((row) => this.#put(row) ?? [])
    if (changes.length > 0) this.#publish(changes)
    return changes.length
  }

  remove(key: string): boolean {
    const previous = this.#rows.get(key)
    if (previous === undefined) return false
    this.#rows.delete(key)
    this.#publish([{ key, previous }])
    return true
  }

  /**
   * Makes the table hold exactly these rows, as one change of only what differs.
   * @throws if two rows have one key: which of them wins is for the caller to decide.
   */
  replaceAll(rows: Iterable<Row>): number {
    const wanted = new Map<string, Row>()
    for (const row of rows) {
      const key = this.#keyOf(row)
      if (wanted.has(key)) throw new Error(`table ${this.name}: two rows with the key ${key}`)
      wanted.set(key, row)
    }
    const changes: Change<Row>[] = []
    for (const [key, previous] of this.#rows) {
      if (wanted.has(key)) continue
      this.#rows.delete(key)
      changes.push({ key, previous })
    }
    for (const row of wanted.values()) {
      const change = this.#put(row)
      if (change !== undefined) changes.push(change)
    }
    if (changes.length > 0) this.#publish(changes)
    return changes.length
  }

  markReady(): void {
    if (this.#isReady) return
    this.#isReady = true
    this.#tell([])
  }

  /** Calls back after each change, in the order they happen; with no changes when the table becomes ready. */
  subscribe(listener: TableListener<Row>): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Resolves with the revision as soon as it is above `since`. */
  changed(since: number, signal: AbortSignal): Promise<number> {
    return this.#until(() => this.#revision > since, signal).then(() => this.#revision)
  }

  whenReady(signal: AbortSignal): Promise<void> {
    return this.#until(() => this.#isReady, signal)
  }

  #put(row: Row): Change<Row> | undefined {
    const key = this.#keyOf(row)
    const previous = this.#rows.get(key)
    if (previous !== undefined && isDeepStrictEqual(previous, row)) return undefined
    this.#rows.set(key, deepFreeze(row))
    return previous === undefined ? { key, row } : { key, row, previous }
  }

  #publish(changes: readonly Change<Row>[]): void {
    this.#revision++
    this.#tell(changes)
  }

  #tell(changes: readonly Change<Row>[]): void {
    for (const listener of [...this.#listeners]) listener(changes)
  }

  #until(isReached: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (isReached()) {
        resolve()
        return
      }
      if (signal.aborted) {
        reject(signal.reason)
        return
      }
      const onAbort = (): void => {
        end()
        reject(signal.reason)
      }
      const end = this.subscribe(() => {
        if (!isReached()) return
        end()
        signal.removeEventListener('abort', onAbort)
        resolve()
      })
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }
}
