// sb_xdp_uplink on the node's uplinks, as a reconciler's target; taken off devices that are none any more.
import type { RouteNetlink } from '@sinabro/node-netlink'
import type { Datapath } from '../datapath/datapath.ts'
import type { Target } from '../state/target.ts'

export interface XdpRow {
  readonly name: string
  readonly index: number
}

export interface XdpActual extends XdpRow {
  /** This program, in the mode that is wanted. */
  readonly isAttached: boolean
}

export interface XdpTargetDeps {
  readonly netlink: Pick<RouteNetlink, 'links'>
  readonly datapath: Pick<Datapath, 'attachXdp' | 'isXdpAttached' | 'detachXdp' | 'pinnedXdp'>
}

/** Of a pin whose device has gone, or has another name. */
const NO_DEVICE = 0

export class XdpTarget implements Target<XdpRow, XdpActual> {
  readonly name = 'xdp'
  readonly #deps: XdpTargetDeps

  constructor(deps: XdpTargetDeps) {
    this.#deps = deps
  }

  key({ name }: XdpRow): string {
    return name
  }

  keyOf({ name }: XdpActual): string {
    return name
  }

  isEqual(row: XdpRow, actual: XdpActual): boolean {
    return actual.index === row.index && actual.isAttached
  }

  async list(): Promise<XdpActual[]> {
    const { netlink, datapath } = this.#deps
    const links = new Map((await netlink.links.list()).map((link) => [link.name, link]))
    return datapath.pinnedXdp().map((name) => {
      const index = links.get(name)?.index ?? NO_DEVICE
      return { name, index, isAttached: datapath.isXdpAttached({ name, index }) }
    })
  }

  async update(row: XdpRow): Promise<void> {
    await this.#deps.datapath.attachXdp(row)
  }

  async remove({ name }: XdpActual): Promise<void> {
    await this.#deps.datapath.detachXdp(name)
  }
}
