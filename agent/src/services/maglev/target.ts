// Tables of sb_maglev as a reconciler's target: one at a time, made and put in place by the thread; between the ends of two, the latest backends win.
import type { BpfMap } from '@sinabro/libbpf-ts'
import { u32 } from '@sinabro/libbpf-ts'
import { Histogram } from '../../runtime/histogram.ts'
import type { Target } from '../../state/target.ts'
import type { NumberedBackend, TableThread } from './thread.ts'

/** What one port of a Service needs a table of. */
export interface TableRow {
  /** Of its row in sb_services. */
  readonly service: number
  /** Which port, for people. */
  readonly port: string
  readonly backends: readonly NumberedBackend[]
}

export interface ActualTable {
  readonly service: number
  /** As this agent made it; undefined: somebody else did. */
  readonly row: TableRow | undefined
}

export interface TableTargetDeps {
  /** sb_maglev. */
  readonly tables: BpfMap
  readonly thread: TableThread
  /** How many there are by now. */
  readonly onChange: (tables: number) => void
}

const BUILD_BUCKETS_SEC = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
const FULL = 'E2BIG'

export class TableTarget implements Target<TableRow, ActualTable> {
  readonly name = 'service tables'
  readonly builds = new Histogram(BUILD_BUCKETS_SEC)
  readonly #deps: TableTargetDeps
  /** By service: what was put there, and as which map. */
  readonly #written = new Map<number, { readonly row: TableRow; readonly mapId: number }>()
  /** Services that have one, whoever made it. */
  #there = new Set<number>()

  constructor(deps: TableTargetDeps) {
    this.#deps = deps
  }

  /** Tables, with the entries they have. */
  get size(): number {
    return this.#there.size
  }

  key({ service }: TableRow): string {
    return String(service)
  }

  keyOf({ service }: ActualTable): string {
    return String(service)
  }

  isEqual(row: TableRow, actual: ActualTable): boolean {
    return actual.row === row
  }

  /** After a restart each is made once more, as ids are all that is known of an old one: it serves until then. */
  async list(): Promise<ActualTable[]> {
    const found: ActualTable[] = []
    for (const [key, value] of this.#deps.tables.entries()) {
      const service = u32.decode(key)
      const written = this.#written.get(service)
      found.push({ service, row: written?.mapId === u32.decode(value) ? written.row : undefined })
    }
    this.#there = new Set(found.map(({ service }) => service))
    this.#changed()
    return found
  }

  async find(key: string): Promise<ActualTable | undefined> {
    const service = Number(key)
    if (!this.#there.has(service)) return undefined
    return { service, row: this.#written.get(service)?.row }
  }

  /** @throws Error naming the port: its clients get backends by chance, or by an older table, until it is there */
  async update(row: TableRow): Promise<void> {
    const { tables, thread } = this.#deps
    const { service, port, backends } = row
    try {
      const { mapId, buildMs } = await thread.carryOut({ mapFd: tables.fd, service, backends })
      this.builds.observe({}, buildMs / 1000)
      this.#written.set(service, { row, mapId })
    } catch (error) {
      throw this.#explain(port, error)
    }
    this.#there.add(service)
    this.#changed()
  }

  async remove({ service }: ActualTable): Promise<void> {
    const { tables, thread } = this.#deps
    await thread.carryOut({ mapFd: tables.fd, service })
    this.#written.delete(service)
    this.#there.delete(service)
    this.#changed()
    if (this.#there.size === 0) await thread.end()
  }

  #changed(): void {
    this.#deps.onChange(this.#there.size)
  }

  #explain(port: string, error: unknown): Error {
    const { code, message } = error as Error & { code?: string }
    const { maxEntries } = this.#deps.tables.info
    const advice = `no more than ${maxEntries} have room; --services-max makes more, with the next boot`
    const why = code === FULL ? advice : message
    const text = `${port}: its backends are chosen by chance, or by its last table: ${why}`
    return Object.assign(new Error(text, { cause: error }), { code: code ?? 'unknown' })
  }
}
