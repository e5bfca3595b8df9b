// Takes over what an agent of the layout before this one pinned, while its programs still run: maps are copied, links moved, the old pins removed (ADR 0073).
import { mkdirSync, readdirSync, renameSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { BpfError, BpfMap, unpin } from '@sinabro/libbpf-ts'
import { LAYOUT_VERSION, MAP_NAMES } from '@sinabro/libbpf-ts/layouts'
import { type CrashPoint, noCrash } from '../ipam/crash-point.ts'
import { codeOf, type Log } from '../runtime/log.ts'
import { DatapathError } from './error.ts'
import { pinPaths, requireOwn } from './load.ts'

/** The only one whose structs begin as ours do: what came since stands at their ends, and is zero until somebody writes it. */
const OLDER_LAYOUT = 1

/** In this order; the configuration last, for where it is, everything is. Fragments and counters begin anew. */
const COPIED = [
  MAP_NAMES.endpoints,
  MAP_NAMES.nodes,
  MAP_NAMES.nodeIds,
  MAP_NAMES.ipcache,
  MAP_NAMES.flows,
  'sb_openers',
  'sb_opened',
  MAP_NAMES.config,
]

export const MIGRATION_CRASH_POINTS: readonly string[] = [
  ...COPIED.map((name) => `migrate.${name}`),
  ...['migrate.link', 'migrate.flows', 'migrate.pin'],
]

export interface MigrationOptions {
  readonly bpfDir: string
  readonly log: Log
  readonly crashPoint?: CrashPoint
}

/** The maps of this layout. */
export interface NewMaps {
  map(name: string): BpfMap
}

export class Migration {
  readonly #options: MigrationOptions
  readonly #crashPoint: CrashPoint

  private constructor(options: MigrationOptions) {
    this.#options = options
    this.#crashPoint = options.crashPoint ?? noCrash
  }

  /** Undefined when there is nothing of an older layout. @throws DatapathError foreign-pins */
  static find(options: MigrationOptions): Migration | undefined {
    const { root, maps, links, uplinks } = pinPaths(options.bpfDir, OLDER_LAYOUT)
    for (const folder of [options.bpfDir, root, maps, links, uplinks]) requireOwn(folder)
    return listFolder(root) === undefined ? undefined : new Migration(options)
  }

  /** Rows that the new flow table needs room for. */
  get flowsMax(): number | undefined {
    using flows = this.#older(MAP_NAMES.flows)
    return flows?.info.maxEntries
  }

  /**
   * Before any program of ours is attached, so that the first packet one meets finds everything. Interrupted it begins again: until
   * the configuration is copied, nothing of the new layout is used by anybody.
   */
  async copy(to: NewMaps): Promise<void> {
    const { log } = this.#options
    if (!isWritten(to.map(MAP_NAMES.config))) {
      for (const name of COPIED) {
        using from = this.#older(name)
        if (from !== undefined) await copyRows(from, to.map(name), 'any')
        await this.#crashPoint(`migrate.${name}`)
      }
    }
    await this.#moveLinks()
    log.info({ from: OLDER_LAYOUT, to: LAYOUT_VERSION }, 'took over the maps of an older layout')
  }

  /** Once the programs of this layout are everywhere: flows that began meanwhile come too, and the older layout goes. */
  async finish(to: NewMaps): Promise<void> {
    {
      using flows = this.#older(MAP_NAMES.flows)
      if (flows !== undefined) await copyRows(flows, to.map(MAP_NAMES.flows), 'noexist')
    }
    await this.#crashPoint('migrate.flows')
    const { root, maps, links, uplinks } = this.#paths
    for (const folder of [maps, links, uplinks]) {
      for (const name of listFolder(folder) ?? []) {
        unpin(join(folder, name))
        await this.#crashPoint('migrate.pin')
      }
      removeFolder(folder)
    }
    removeFolder(root)
    this.#options.log.info({ layout: OLDER_LAYOUT }, 'the older layout is gone')
  }

  get #paths() {
    return pinPaths(this.#options.bpfDir, OLDER_LAYOUT)
  }

  /** Under the new name a link is found and its program replaced; under the old one there would be two on the hook. */
  async #moveLinks(): Promise<void> {
    const { links, uplinks } = pinPaths(this.#options.bpfDir)
    for (const [from, to] of [
      [this.#paths.links, links],
      [this.#paths.uplinks, uplinks],
    ] as const) {
      for (const name of listFolder(from) ?? []) {
        mkdirSync(to, { recursive: true, mode: 0o700 })
        renameSync(join(from, name), join(to, name))
        await this.#crashPoint('migrate.link')
      }
    }
  }

  #older(name: string): BpfMap | undefined {
    try {
      return BpfMap.openPinned(join(this.#paths.maps, name))
    } catch (error) {
      if (error instanceof BpfError && error.code === 'ENOENT') return undefined
      throw error
    }
  }
}

async function copyRows(from: BpfMap, to: BpfMap, mode: 'any' | 'noexist'): Promise<void> {
  if (from.info.keySize !== to.info.keySize || from.info.valueSize > to.info.valueSize) {
    throw new DatapathError('layout', `map ${to.info.name}: its rows are of no layout known here`)
  }
  for await (const rows of from.chunks()) {
    const wider = rows
      // Arrays have every row from the start.
      .filter(([, value]) => value.some((byte) => byte !== 0))
      .map(([key, value]) => [key, widen(value, to.info.valueSize)] as const)
    if (mode === 'any') to.updateMany(wider)
    else for (const [key, value] of wider) addRow(to, key, value)
    await setImmediate()
  }
}

/** What is there by now is newer; what finds no room is judged anew with its next packet. */
function addRow(to: BpfMap, key: Uint8Array, value: Uint8Array): void {
  try {
    to.update(key, value, 'noexist')
  } catch (error) {
    if (!(error instanceof BpfError) || !['EEXIST', 'E2BIG'].includes(error.code)) throw error
  }
}

function widen(value: Uint8Array, size: number): Uint8Array {
  const wider = new Uint8Array(size)
  wider.set(value)
  return wider
}

function isWritten(config: BpfMap): boolean {
  const row = config.lookup(new Uint8Array(config.info.keySize))
  return row?.some((byte) => byte !== 0) === true
}

function listFolder(folder: string): string[] | undefined {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

function removeFolder(folder: string): void {
  try {
    rmdirSync(folder)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
}
