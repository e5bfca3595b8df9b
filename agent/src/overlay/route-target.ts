// Kernel routes, neighbours and forwarding entries towards other nodes, as reconcilers' targets: what stands on the overlay device is ours.
import {
  type FdbEntry,
  isCode,
  type Neighbour,
  type Route,
  type RouteNetlink,
} from '@sinabro/node-netlink'
import { ROUTE_PROTOCOL } from '../marks.ts'
import type { OverlayFdbRow, OverlayNeighbourRow, OverlayRouteRow } from './rows.ts'
import type { WatchedTarget } from './watched.ts'

export interface OnOverlayDeps {
  readonly netlink: Pick<RouteNetlink, 'routes' | 'neighbours' | 'fdb'>
  /** The overlay device, once it stands. */
  readonly standing: { readonly index: number | undefined }
}

export type ActualRoute = Pick<
  Route,
  'type' | 'dst' | 'index' | 'protocol' | 'via' | 'onlink' | 'prefsrc' | 'mtu' | 'metric'
>

/** Behind whatever another network put there for the same range: that is for a person to remove, and doctor tells of it. */
const VACANT_METRIC = 0xffff
const VACANT = 'unreachable '

export class OverlayRouteTarget implements WatchedTarget<OverlayRouteRow, ActualRoute> {
  readonly name = 'overlay routes'
  readonly #deps: OnOverlayDeps

  constructor(deps: OnOverlayDeps) {
    this.#deps = deps
  }

  key({ type, dst }: OverlayRouteRow): string {
    return type === 'unreachable' ? `${VACANT}${dst}` : dst
  }

  keyOf({ type, dst }: ActualRoute): string {
    return type === 'unreachable' ? `${VACANT}${dst}` : dst
  }

  /** Those without a gateway are pods'. */
  isOurs({ type, index, protocol, via }: ActualRoute): boolean {
    if (protocol !== ROUTE_PROTOCOL) return false
    const isOnDevice = index !== undefined && index === this.#deps.standing.index
    return type !== 'unicast' || via !== undefined || isOnDevice
  }

  isEqual(row: OverlayRouteRow, actual: ActualRoute): boolean {
    if (row.type === 'unreachable') {
      return actual.type === row.type && actual.metric === VACANT_METRIC
    }
    return (
      actual.type === row.type &&
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
    const routes = await netlink.routes.list({ protocol: ROUTE_PROTOCOL })
    return routes.filter((route) => this.isOurs(route))
  }

  /** Enough to remove it by; what is absent goes without complaint. */
  async find(key: string): Promise<ActualRoute> {
    const common = { protocol: ROUTE_PROTOCOL, onlink: true }
    if (!key.startsWith(VACANT)) return { ...common, type: 'unicast', dst: key }
    return { ...common, type: 'unreachable', dst: key.slice(VACANT.length) }
  }

  async update(row: OverlayRouteRow): Promise<void> {
    const { routes } = this.#deps.netlink
    const { dst } = row
    const protocol = ROUTE_PROTOCOL
    if (row.type === 'unreachable') {
      await routes.replace({ ...row, metric: VACANT_METRIC, protocol })
      return
    }
    const replace = () => routes.replace({ ...row, onlink: true, protocol })
    try {
      await replace()
    } catch (error) {
      if (!isCode(error, 'EINVAL')) throw error
      // IPv6 takes no gateway that the route in its place leads to by another device.
      await routes.replace({ dst, type: 'blackhole', protocol })
      await replace()
    }
  }

  async remove({ type, dst, index, metric, protocol }: ActualRoute): Promise<void> {
    const device = type === 'unicast' ? { index } : {}
    await this.#deps.netlink.routes.del({ type, dst, metric, protocol, ...device })
  }
}

export type ActualFdbEntry = Pick<FdbEntry, 'index' | 'mac' | 'dst' | 'state'>

export class OverlayFdbTarget implements WatchedTarget<OverlayFdbRow, ActualFdbEntry> {
  readonly name = 'overlay fdb'
  readonly #deps: OnOverlayDeps

  constructor(deps: OnOverlayDeps) {
    this.#deps = deps
  }

  key({ mac, dst }: OverlayFdbRow): string {
    return `${mac} ${dst}`
  }

  keyOf({ mac, dst }: ActualFdbEntry): string {
    return `${mac} ${dst}`
  }

  isOurs({ index }: ActualFdbEntry): boolean {
    return index === this.#deps.standing.index
  }

  isEqual(row: OverlayFdbRow, actual: ActualFdbEntry): boolean {
    return actual.index === row.index && actual.state === 'permanent'
  }

  async list(): Promise<ActualFdbEntry[]> {
    const { netlink, standing } = this.#deps
    return standing.index === undefined ? [] : netlink.fdb.list({ index: standing.index })
  }

  async update(row: OverlayFdbRow): Promise<void> {
    await this.#deps.netlink.fdb.replace({ ...row, state: 'permanent' })
  }

  /** Enough to remove it by. */
  async find(key: string): Promise<ActualFdbEntry | undefined> {
    const { index } = this.#deps.standing
    const [mac = '', dst = ''] = key.split(' ')
    return index === undefined ? undefined : { index, mac, dst, state: 'permanent' }
  }

  async remove({ index, mac, dst }: ActualFdbEntry): Promise<void> {
    await this.#deps.netlink.fdb.del({ index, mac, dst })
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
