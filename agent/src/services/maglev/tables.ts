// Consistent hashing as a part of Services: which ports want a table, the reconciler that gives them one, and whether programs look for any (ADR 0094).
import type { BpfMap } from '@sinabro/libbpf-ts'
import { CONFIG_MAGLEV } from '@sinabro/libbpf-ts/layouts'
import type { Datapath } from '../../datapath/datapath.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Health } from '../../runtime/health.ts'
import type { Histogram } from '../../runtime/histogram.ts'
import type { Log } from '../../runtime/log.ts'
import { Reconciler } from '../../state/reconcile.ts'
import type { RowStatus } from '../../state/row-status.ts'
import { Table } from '../../state/table.ts'
import { type TableRow, TableTarget } from './target.ts'
import { TableThread } from './thread.ts'

export interface ServiceTablesDeps {
  /** sb_maglev. */
  readonly map: BpfMap
  readonly config: Datapath['config']
  readonly log: Log
  readonly clock: Clock
  readonly health: Health
  readonly refreshMs: number
}

export class ServiceTables {
  readonly #wanted = new Table<TableRow>('wanted tables', ({ service }) => String(service))
  readonly #thread = new TableThread()
  readonly #target: TableTarget
  readonly #reconciler: Reconciler<TableRow, unknown>

  constructor({ map, config, ...common }: ServiceTablesDeps) {
    this.#target = new TableTarget({
      tables: map,
      thread: this.#thread,
      onChange: (count) => config.setFlags(CONFIG_MAGLEV, count > 0 ? CONFIG_MAGLEV : 0),
    })
    this.#reconciler = new Reconciler({
      ...common,
      ...{ target: this.#target, desired: this.#wanted, sources: [] },
    }) as Reconciler<TableRow, unknown>
  }

  want(row: TableRow): void {
    this.#wanted.upsert(row)
  }

  drop(service: number): void {
    this.#wanted.remove(String(service))
  }

  /** From here on a table that nobody wants is nobody's. */
  complete(): void {
    this.#wanted.markReady()
  }

  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#reconciler.run(signal)
    } finally {
      await this.#thread.end()
    }
  }

  get size(): number {
    return this.#target.size
  }

  /** How long each took to make. */
  get builds(): Histogram {
    return this.#target.builds
  }

  statuses(): RowStatus[] {
    return this.#reconciler.statuses()
  }

  /** Those that could not be made, in words. */
  problems(): string[] {
    return this.statuses().flatMap(({ message }) => (message === undefined ? [] : [message]))
  }
}
