// Kernel routes and neighbours towards other nodes, as reconcilers' targets: all that stands on the overlay device is ours.
import type { Neighbour, Route, RouteNetlink } from '@sinabro/node-netlink'
import { ROUTE_PROTOCOL } from '../marks.ts'
import type { Target } from '../state/target.ts'
import { findOverlayDevice } from './device-target.ts'
import type { OverlayNeighbourRow, OverlayRouteRow } from './rows.ts'

/** Not an accident but an order of events: the device comes first, and then these are tried again. */
export class NoDeviceError extends Error {
  override readonly name = 'NoDeviceError'
  readonly code = 'no-device'
}

async function overlayIndex(netlink: RouteNetlink): Promise<number> {
  const link = await findOverlayDevice(netlink)
  if (link === undefined) throw new NoDeviceError('the overlay device is not there yet')
  return link.index
}

export class OverlayRouteTarget implements Target<OverlayRouteRow, Route> {
  readonly name = 'overlay routes'
  readonly #netlink: RouteNetlink

  constructor(netlink: RouteNetlink) {
    this.#netlink = netlink
  }

  key(row: OverlayRouteRow): string {
    return row.dst
  }

  keyOf(actual: Route): string {
    return actual.dst
  }

  isEqual(row: OverlayRouteRow, actual: Route): boolean {
    return (
      actual.via === row.via &&
      actual.onlink &&
      actual.prefsrc === row.prefsrc &&
      actual.mtu === row.mtu
    )
  }

  async list(): Promise<Route[]> {
    const link = await findOverlayDevice(this.#netlink)
    if (link === undefined) return []
    return this.#netlink.routes.list({ protocol: ROUTE_PROTOCOL, index: link.index })
  }

  async update({ dst, via, prefsrc, mtu }: OverlayRouteRow): Promise<void> {
    const index = await overlayIndex(this.#netlink)
    await this.#netlink.routes.replace({
      dst,
      via,
      index,
      onlink: true,
      prefsrc,
      mtu,
      protocol: ROUTE_PROTOCOL,
    })
  }

  async remove({ dst, index, metric, protocol }: Route): Promise<void> {
    await this.#netlink.routes.del({ dst, index, metric, protocol })
  }
}

export class OverlayNeighbourTarget implements Target<OverlayNeighbourRow, Neighbour> {
  readonly name = 'overlay neighbours'
  readonly #netlink: RouteNetlink

  constructor(netlink: RouteNetlink) {
    this.#netlink = netlink
  }

  key(row: OverlayNeighbourRow): string {
    return row.address
  }

  keyOf(actual: Neighbour): string {
    return actual.address
  }

  isEqual(row: OverlayNeighbourRow, actual: Neighbour): boolean {
    return actual.state === 'permanent' && actual.mac === row.mac
  }

  async list(): Promise<Neighbour[]> {
    const link = await findOverlayDevice(this.#netlink)
    if (link === undefined) return []
    const neighbours = await this.#netlink.neighbours.list({ index: link.index })
    // What the kernel makes by itself (multicast, noarp) goes by itself.
    return neighbours.filter(({ state }) => state === 'permanent')
  }

  async update({ address, mac }: OverlayNeighbourRow): Promise<void> {
    const index = await overlayIndex(this.#netlink)
    await this.#netlink.neighbours.replace({ index, address, mac, state: 'permanent' })
  }

  async remove({ index, address }: Neighbour): Promise<void> {
    await this.#netlink.neighbours.del({ index, address })
  }
}
