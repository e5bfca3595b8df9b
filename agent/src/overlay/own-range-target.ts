// This node's own pod ranges in sb_ipcache, as a reconciler's target: what comes from outside in their name is nobody's of ours.
import { IPCACHE_OWN_RANGE } from '@sinabro/libbpf-ts/layouts'
import type { PeerTargetDeps } from './peer-target.ts'
import { formatKey, parseKey } from './prefix.ts'
import type { WatchedTarget } from './watched.ts'

export interface OwnRangeRow {
  readonly prefix: string
}

export class OwnRangeTarget implements WatchedTarget<OwnRangeRow, OwnRangeRow> {
  readonly name = 'own ranges'
  readonly #deps: PeerTargetDeps

  constructor(deps: PeerTargetDeps) {
    this.#deps = deps
  }

  key({ prefix }: OwnRangeRow): string {
    return prefix
  }

  keyOf({ prefix }: OwnRangeRow): string {
    return prefix
  }

  isEqual(): boolean {
    return true
  }

  async list(): Promise<OwnRangeRow[]> {
    const own = [...this.#deps.maps.ipcache.entries()].filter(([, { flags }]) => isOwn(flags))
    return own.map(([key]) => ({ prefix: formatKey(key) }))
  }

  async find(prefix: string): Promise<OwnRangeRow> {
    return { prefix }
  }

  async update({ prefix }: OwnRangeRow): Promise<void> {
    const { maps, bumpGeneration } = this.#deps
    const key = parseKey(prefix)
    const before = maps.ipcache.get(key)?.node ?? 0
    maps.ipcache.set(key, { node: 0, identity: 0, flags: IPCACHE_OWN_RANGE })
    // It was another node's: flows would go on to it.
    if (before !== 0) bumpGeneration()
  }

  /** One that is another node's by now stays. */
  async remove({ prefix }: OwnRangeRow): Promise<void> {
    const { ipcache } = this.#deps.maps
    const key = parseKey(prefix)
    if (isOwn(ipcache.get(key)?.flags ?? 0)) ipcache.delete(key)
  }
}

function isOwn(flags: number): boolean {
  return (flags & IPCACHE_OWN_RANGE) !== 0
}
