// Writes rows of maps in the order it is told, many in one call; says which map is full, and lets a test stop the world after each write.
import { BpfError, type TypedMap } from '@sinabro/libbpf-ts'
import { MAP_NAMES } from '@sinabro/libbpf-ts/layouts'
import type { CrashPoint } from '../ipam/crash-point.ts'

/** E2BIG of hashes, ENOSPC of tries; and the kernel may have no memory for one more. */
const FULL: ReadonlySet<string> = new Set(['E2BIG', 'ENOSPC', 'ENOMEM'])

/** For all others what was there stays. */
const LEFT: Readonly<Record<string, string>> = {
  [MAP_NAMES.sourceRanges]: 'clients in source ranges that did not fit are refused',
}

export class MapFullError extends Error {
  override readonly name = 'MapFullError'
  readonly code = 'map-full'
  readonly map: string

  constructor(map: string, rows: number, options: ErrorOptions) {
    const left = LEFT[map] ?? 'what was there stays'
    const advice = '--services-max makes room, with the next boot'
    super(`map ${map} has no room beyond ${rows} rows: ${left}; ${advice}`, options)
    this.map = map
  }
}

export class MapWriter {
  readonly #crashPoint: CrashPoint
  /** Calls to the kernel that write, since the start. */
  writes = 0
  /** By map. */
  readonly refusals = new Map<string, number>()

  constructor(crashPoint: CrashPoint) {
    this.#crashPoint = crashPoint
  }

  /** In this order; tells of each row once the map has it. @throws MapFullError after telling of those before */
  async put<K, V>(
    map: TypedMap<K, V>,
    rows: readonly (readonly [K, V])[],
    tell: (row: readonly [K, V]) => void,
  ): Promise<void> {
    if (rows.length === 0) return
    if (rows.length > 1 && this.#putAll(map, rows)) {
      for (const row of rows) tell(row)
    } else {
      for (const row of rows) {
        this.#putOne(map, row)
        tell(row)
      }
    }
    await this.#crashPoint(`services.${map.map.info.name}`)
  }

  async drop<K, V>(map: TypedMap<K, V>, keys: readonly K[]): Promise<void> {
    const [first] = keys
    if (first === undefined) return
    this.writes++
    if (keys.length === 1) map.delete(first)
    else map.deleteMany(keys)
    await this.#crashPoint(`services.${map.map.info.name}`)
  }

  /** What the kernel refuses in the middle is tried again one by one, to know which are in. */
  #putAll<K, V>(map: TypedMap<K, V>, rows: readonly (readonly [K, V])[]): boolean {
    this.writes++
    try {
      map.setMany(rows)
      return true
    } catch (error) {
      if (error instanceof BpfError && FULL.has(error.code)) return false
      throw error
    }
  }

  #putOne<K, V>(map: TypedMap<K, V>, [key, value]: readonly [K, V]): void {
    this.writes++
    try {
      map.set(key, value)
    } catch (error) {
      if (!(error instanceof BpfError) || !FULL.has(error.code)) throw error
      const { name, maxEntries } = map.map.info
      this.refusals.set(name, (this.refusals.get(name) ?? 0) + 1)
      throw new MapFullError(name, maxEntries, { cause: error })
    }
  }
}
