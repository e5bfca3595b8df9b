// Kernel routes and neighbours towards other nodes, as reconcilers' targets: all that stands on the overlay device is ours.
import type { Neighbour, Route, RouteNetlink } from '@sinabro/node-netlink'
import { ROUTE_PROTOCOL } from '../marks.ts'
import type { OverlayNeighbourRow, OverlayRouteRow } from './rows.ts'
import type { WatchedTarget } from './watched.ts'

export interface OnOverlayDeps {
  readonly netlink: Pick<RouteNetlink, 'routes' | 'neighbours'>
  /** The overlay device, once it stands. */
  readonly standing: { readonly index: number | undefined }
}

export type ActualRoute = Pick<
  Route,
  'dst' | 'index' | 'protocol' | 'via' | 'onlink' | 'prefsrc' | 'mtu' | 'metric'
>

export class OverlayRouteTarget implements WatchedTarget<OverlayRouteRow, ActualRoute> {
  readonly name = 'overlay routes'
  readonly #deps: OnOverlayDeps

  constructor(deps: OnOverlayDeps) {
    this.#deps = deps
  }

  key(row: OverlayRouteRow): string {
    return row.dst
  }

  keyOf(actual: ActualRoute): string {
    return actual.dst
  }

  isOurs({ index, protocol }: ActualRoute): boolean {
    return protocol === ROUTE_PROTOCOL && index !== undefined && index === this.#deps.standing.index
  }

  isEqual(row: OverlayRouteRow, actual: ActualRoute): boolean {
    return (
      actual.index === row.index &&
      actual.protocol === ROUTE_PROTOCOL &&
      actual.via === row.via &&
      actual.onlink &&
      actual.prefsrc === row.prefsrc &&
      actual.mtu === row.mtu
    )
  }

  async list(): Promise<ActualRoute[]> {
    const { netlink, standing } = this.#deps
    if (standing.index === undefined) return []
    return netlink.routes.list({ protocol: ROUTE_PROTOCOL, index: standing.index })
  }

  /** Enough to remove it by; what is absent goes without complaint. */
  async find(dst: string): Promise<ActualRoute | undefined> {
    const { index } = this.#deps.standing
    return index === undefined ? undefined : { dst, index, protocol: ROUTE_PROTOCOL, onlink: true }
  }

  async update(row: OverlayRouteRow): Promise<void> {
    await this.#deps.netlink.routes.replace({ ...row, onlink: true, protocol: ROUTE_PROTOCOL })
  }

  async remove({ dst, index, metric, protocol }: ActualRoute): Promise<void> {
    await this.#deps.netlink.routes.del({ dst, index, metric, protocol })
  }
}

export type ActualNeighbour = Pick<Neighbour, 'index' | 'address' | 'mac' | 'state'>

export class OverlayNeighbourTarget implements WatchedTarget<OverlayNeighbourRow, ActualNeighbour> {
  readonly name = 'overlay neighbours'
  readonly #deps: OnOverlayDeps

  constructor(deps: OnOverlayDeps) {
    this.#deps = deps
  }

  key(row: OverlayNeighbourRow): string {
    return row.address
  }

  keyOf(actual: ActualNeighbour): string {
    return actual.address
  }

  /** What the kernel makes by itself (multicast, noarp) goes by itself. */
  isOurs({ state }: ActualNeighbour): boolean {
    return state === 'permanent'
  }

  isEqual(row: OverlayNeighbourRow, actual: ActualNeighbour): boolean {
    return actual.index === row.index && actual.state === 'permanent' && actual.mac === row.mac
  }

  async list(): Promise<ActualNeighbour[]> {
    const { netlink, standing } = this.#deps
    if (standing.index === undefined) return []
    const neighbours = await netlink.neighbours.list({ index: standing.index })
    return neighbours.filter((one) => this.isOurs(one))
  }

  /** Enough to remove it by. */
  async find(address: string): Promise<ActualNeighbour | undefined> {
    const { index } = this.#deps.standing
    return index === undefined ? undefined : { index, address, state: 'permanent' }
  }

  async update(row: OverlayNeighbourRow): Promise<void> {
    await this.#deps.netlink.neighbours.replace({ ...row, state: 'permanent' })
  }

  async remove({ index, address }: ActualNeighbour): Promise<void> {
    await this.#deps.netlink.neighbours.del({ index, address })
  }
}
