// Destinations that our programs leave to the kernel, in sb_ipcache, as a reconciler's target. New flows see a change, running ones go on.
import { IPCACHE_STACK } from '@sinabro/libbpf-ts/layouts'
import type { DatapathMaps } from '../datapath/maps.ts'
import { formatKey, parseKey } from '../overlay/prefix.ts'
import type { Target } from '../state/target.ts'
import type { KeepRow } from './rows.ts'

export class KeepTarget implements Target<KeepRow, KeepRow> {
  readonly name = 'masquerade keeps'
  readonly #maps: Pick<DatapathMaps, 'ipcache'>

  constructor(maps: Pick<DatapathMaps, 'ipcache'>) {
    this.#maps = maps
  }

  key({ prefix }: KeepRow): string {
    return prefix
  }

  keyOf({ prefix }: KeepRow): string {
    return prefix
  }

  isEqual(): boolean {
    return true
  }

  async list(): Promise<KeepRow[]> {
    const kept = [...this.#maps.ipcache.entries()].filter(([, { flags }]) => isKeep(flags))
    return kept.map(([key]) => ({ prefix: formatKey(key) }))
  }

  async find(prefix: string): Promise<KeepRow> {
    return { prefix }
  }

  /** @throws Error while it still is a pod range's row: a node that goes takes its own away first, and this is tried again */
  async update({ prefix }: KeepRow): Promise<void> {
    const { ipcache } = this.#maps
    const key = parseKey(prefix)
    // What a look-up finds may be a wider row; a wider one of ours says the same.
    const before = ipcache.get(key)
    if (before !== undefined && !isKeep(before.flags)) {
      throw new Error(`${prefix} still is a node's range`)
    }
    ipcache.set(key, { node: 0, identity: 0, flags: IPCACHE_STACK })
  }

  /** One that is a node's range by now stays. */
  async remove({ prefix }: KeepRow): Promise<void> {
    const { ipcache } = this.#maps
    const key = parseKey(prefix)
    if (isKeep(ipcache.get(key)?.flags ?? 0)) ipcache.delete(key)
  }
}

function isKeep(flags: number): boolean {
  return (flags & IPCACHE_STACK) !== 0
}
