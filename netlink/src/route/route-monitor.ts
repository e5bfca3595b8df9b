// What changes in a namespace, as it happens; and word of it when the kernel had to drop some of that.
import { type MonitorOptions, NetlinkMonitor } from '../monitor.ts'
import { NETLINK_ROUTE } from '../socket-constants.ts'
import {
  RTNLGRP_IPV4_IFADDR,
  RTNLGRP_IPV4_ROUTE,
  RTNLGRP_IPV4_RULE,
  RTNLGRP_IPV6_IFADDR,
  RTNLGRP_IPV6_ROUTE,
  RTNLGRP_IPV6_RULE,
  RTNLGRP_LINK,
  RTNLGRP_NEIGH,
  RTNLGRP_NEXTHOP,
  RTNLGRP_TC,
} from './constants.ts'
import { decodeRouteEvent, type RouteEvent } from './route-event.ts'

export type RouteGroup =
  | 'links'
  | 'addresses'
  | 'routes'
  | 'rules'
  | 'nexthops'
  | 'neighbours'
  | 'traffic'

export interface RouteMonitorOptions extends MonitorOptions<RouteEvent> {
  readonly groups: readonly RouteGroup[]
}

const groupNumbers: Readonly<Record<RouteGroup, readonly number[]>> = {
  links: [RTNLGRP_LINK],
  addresses: [RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR],
  routes: [RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE],
  rules: [RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE],
  nexthops: [RTNLGRP_NEXTHOP],
  neighbours: [RTNLGRP_NEIGH],
  traffic: [RTNLGRP_TC],
}

/** Listens from `open()` to `close()`, and keeps the process alive so long. List after opening, and nothing is missed. */
export class RouteMonitor {
  readonly #monitor: NetlinkMonitor<RouteEvent>

  private constructor(monitor: NetlinkMonitor<RouteEvent>) {
    this.#monitor = monitor
  }

  /** @throws NetlinkError */
  static open(options: RouteMonitorOptions): RouteMonitor {
    const source = {
      protocol: NETLINK_ROUTE,
      groups: options.groups.flatMap((group) => groupNumbers[group]),
      decode: decodeRouteEvent,
    }
    return new RouteMonitor(NetlinkMonitor.open(source, options))
  }

  close(): void {
    this.#monitor.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
