// Ranges that service addresses come from, in sb_ipcache, as a reconciler's target: nothing is behind an address there that no Service has.
import { IPCACHE_SERVICES } from '@sinabro/libbpf-ts/layouts'
import type { DatapathMaps } from '../datapath/maps.ts'
import { formatKey, parseKey } from '../overlay/prefix.ts'
import type { Target } from '../state/target.ts'

export interface ServiceRangeRow {
  readonly prefix: string
}

export class ServiceRangeTarget implements Target<ServiceRangeRow, ServiceRangeRow> {
  readonly name = 'service ranges'
  readonly #maps: Pick<DatapathMaps, 'ipcache'>

  constructor(maps: Pick<DatapathMaps, 'ipcache'>) {
    this.#maps = maps
  }

  key({ prefix }: ServiceRangeRow): string {
    return prefix
  }

  keyOf({ prefix }: ServiceRangeRow): string {
    return prefix
  }

  isEqual(): boolean {
    return true
  }

  async list(): Promise<ServiceRangeRow[]> {
    const ours = [...this.#maps.ipcache.entries()].filter(([, { flags }]) => isServices(flags))
    return ours.map(([key]) => ({ prefix: formatKey(key) }))
  }

  async find(prefix: string): Promise<ServiceRangeRow> {
    return { prefix }
  }

  /** @throws Error while it is a node's range of pods: that node goes first, or somebody has chosen one range for both */
  async update({ prefix }: ServiceRangeRow): Promise<void> {
    const { ipcache } = this.#maps
    const key = parseKey(prefix)
    const before = ipcache.get(key)
    if (before !== undefined && before.node !== 0) {
      throw new Error(
        `${prefix} is a node's range of pods; service addresses need one of their own`,
      )
    }
    // Masquerading may have left it to the kernel until now.
    ipcache.set(key, { node: 0, identity: 0, flags: IPCACHE_SERVICES })
  }

  /** One that is somebody else's by now stays. */
  async remove({ prefix }: ServiceRangeRow): Promise<void> {
    const { ipcache } = this.#maps
    const key = parseKey(prefix)
    if (isServices(ipcache.get(key)?.flags ?? 0)) ipcache.delete(key)
  }
}

function isServices(flags: number): boolean {
  return (flags & IPCACHE_SERVICES) !== 0
}
