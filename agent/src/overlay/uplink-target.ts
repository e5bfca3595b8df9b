// sb_from_uplink on the node's uplinks, as a reconciler's target; taken off devices that are none any more.
import type { RouteNetlink } from '@sinabro/node-netlink'
import type { Datapath } from '../datapath/datapath.ts'
import { isL3, isOurs, type UplinkRow } from './uplinks.ts'
import type { WatchedTarget } from './watched.ts'

export interface UplinkActual extends UplinkRow {
  /** With the programs for a device of its kind. */
  readonly isAttached: boolean
}

export interface UplinkTargetDeps {
  readonly netlink: Pick<RouteNetlink, 'links'>
  readonly datapath: Pick<
    Datapath,
    'attachUplink' | 'isUplinkAttached' | 'hasUplinkProgram' | 'detachUplink' | 'pinnedUplinks'
  >
}

/** Of a pinned link whose device has gone, or has another name. */
const NO_DEVICE = 0

export class UplinkTarget implements WatchedTarget<UplinkRow, UplinkActual> {
  readonly name = 'uplinks'
  readonly #deps: UplinkTargetDeps

  constructor(deps: UplinkTargetDeps) {
    this.#deps = deps
  }

  key({ name }: UplinkRow): string {
    return name
  }

  keyOf({ name }: UplinkActual): string {
    return name
  }

  isEqual(row: UplinkRow, actual: UplinkActual): boolean {
    return actual.index === row.index && actual.isAttached
  }

  async list(): Promise<UplinkActual[]> {
    const { netlink, datapath } = this.#deps
    const pinned = new Set(datapath.pinnedUplinks())
    const found: UplinkActual[] = []
    for (const link of await netlink.links.list()) {
      const { name, index, alias } = link
      if (isOurs(alias)) continue
      const isPinned = pinned.delete(name)
      const device = { name, index, isL3: isL3(link) }
      if (!isPinned && !(await datapath.hasUplinkProgram(device))) continue
      found.push({ ...device, isAttached: await datapath.isUplinkAttached(device) })
    }
    for (const name of pinned)
      found.push({ name, index: NO_DEVICE, isL3: false, isAttached: false })
    return found
  }

  async update(row: UplinkRow): Promise<void> {
    await this.#deps.datapath.attachUplink(row)
  }

  async remove({ name, index, isL3 }: UplinkActual): Promise<void> {
    await this.#deps.datapath.detachUplink({ name, index, isL3 })
  }
}
