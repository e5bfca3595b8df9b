// Which rows the maps say as they were written last, for those who must not go on before: an ADD whose pod has host ports.
import type { Table } from '../state/table.ts'
import type { ServiceRows } from './rows.ts'

export class WrittenRows {
  readonly #rows: Table<ServiceRows>
  readonly #has: (row: ServiceRows) => boolean
  readonly #waiting = new Set<() => void>()

  /** `has`: the maps say all of this very row. */
  constructor(rows: Table<ServiceRows>, has: (row: ServiceRows) => boolean) {
    this.#rows = rows
    this.#has = has
  }

  /** One more is. */
  tell(): void {
    for (const look of [...this.#waiting]) look()
  }

  /** Until the maps say what is wanted by then; at once if nothing is. @throws the signal's reason */
  async when(key: string, signal: AbortSignal): Promise<void> {
    const isWritten = (): boolean => {
      const row = this.#rows.get(key)
      return row === undefined || this.#has(row)
    }
    signal.throwIfAborted()
    if (isWritten()) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const look = (): void => {
      if (isWritten()) resolve()
    }
    const giveUp = (): void => reject(signal.reason)
    const endOfRow = this.#rows.subscribe(look)
    this.#waiting.add(look)
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      await promise
    } finally {
      endOfRow()
      this.#waiting.delete(look)
      signal.removeEventListener('abort', giveUp)
    }
  }
}
