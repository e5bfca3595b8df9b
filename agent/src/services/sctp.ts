// Those of the Services that have SCTP ports, as a source of its own: the rules for them need not look at all others.
import { type Source, Table } from '../state/table.ts'
import type { ServiceRows } from './rows.ts'

export class SctpServices implements Source {
  readonly name = 'Services with SCTP ports'
  readonly #rows: Table<ServiceRows>
  readonly #some = new Table<ServiceRows>('Services with SCTP ports', ({ key }) => key)

  constructor(rows: Table<ServiceRows>) {
    this.#rows = rows
    for (const row of rows.values()) this.#follow(row.key, row)
    rows.subscribe((changes) => {
      for (const { key, row } of changes) this.#follow(key, row)
      if (rows.isReady) this.#some.markReady()
    })
  }

  get isReady(): boolean {
    return this.#rows.isReady
  }

  list(): ServiceRows[] {
    return this.#some.values()
  }

  subscribe(listener: () => void): () => void {
    return this.#some.subscribe(listener)
  }

  #follow(key: string, row: ServiceRows | undefined): void {
    if (row !== undefined && hasSctp(row)) this.#some.upsert(row)
    else this.#some.remove(key)
  }
}

export function hasSctp(row: ServiceRows | undefined): boolean {
  return row?.ports.some(({ protocol }) => protocol === 'SCTP') === true
}
