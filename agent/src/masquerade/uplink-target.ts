// The rows of sb_uplinks, as a reconciler's target: flows that leave are judged again when what is said of their uplink changes.
import { UPLINK_L3, type Uplink } from '@sinabro/libbpf-ts/layouts'
import type { DatapathMaps } from '../datapath/maps.ts'
import type { Target } from '../state/target.ts'
import type { UplinkMapRow } from './rows.ts'

export interface UplinkTargetDeps {
  readonly maps: Pick<DatapathMaps, 'uplinks'>
  /** Makes every flow be judged again; called after the map was written. */
  bumpGeneration(): void
}

export class UplinkMapTarget implements Target<UplinkMapRow, UplinkMapRow> {
  readonly name = 'masquerade uplinks'
  readonly #deps: UplinkTargetDeps

  constructor(deps: UplinkTargetDeps) {
    this.#deps = deps
  }

  key({ index }: UplinkMapRow): string {
    return String(index)
  }

  keyOf({ index }: UplinkMapRow): string {
    return String(index)
  }

  isEqual(row: UplinkMapRow, actual: UplinkMapRow): boolean {
    const names = ['source4', 'source6', 'mtu', 'isL3'] as const
    return names.every((name) => row[name] === actual[name])
  }

  async list(): Promise<UplinkMapRow[]> {
    return Array.from(this.#deps.maps.uplinks.entries(), ([index, row]) => decode(index, row))
  }

  async find(key: string): Promise<UplinkMapRow | undefined> {
    const index = Number(key)
    const row = this.#deps.maps.uplinks.get(index)
    return row === undefined ? undefined : decode(index, row)
  }

  /** One that comes takes no flow from another: what made it the way of some is a route, and that is heard of by itself. */
  async update(row: UplinkMapRow): Promise<void> {
    const { maps, bumpGeneration } = this.#deps
    const { index, source4, source6, mtu, isL3 } = row
    const before = maps.uplinks.get(index)
    if (before !== undefined && this.isEqual(row, decode(index, before))) return
    maps.uplinks.set(index, { source4, source6, mtu, flags: isL3 ? UPLINK_L3 : 0 })
    if (before !== undefined) bumpGeneration()
  }

  async remove({ index }: UplinkMapRow): Promise<void> {
    const { maps, bumpGeneration } = this.#deps
    if (maps.uplinks.delete(index)) bumpGeneration()
  }
}

function decode(index: number, { source4, source6, mtu, flags }: Uplink): UplinkMapRow {
  return { index, source4, source6, mtu, isL3: (flags & UPLINK_L3) !== 0 }
}
