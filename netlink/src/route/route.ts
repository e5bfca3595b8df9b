// Routes as this package shows them.
import type { UnknownAttribute } from '../codec/attrs.ts'
import type { Scope } from './address.ts'

export type RouteType =
  | 'unicast'
  | 'local'
  | 'broadcast'
  | 'anycast'
  | 'multicast'
  | 'blackhole'
  | 'unreachable'
  | 'prohibit'
  | 'throw'
  | 'nat'

/** One of several ways of a route. */
export interface NextHop {
  readonly index: number
  readonly via?: string | undefined
  /** 1 to 256; absent means 1. */
  readonly weight?: number | undefined
  readonly onlink?: boolean | undefined
}

interface RouteIdentity {
  /** '10.0.0.0/8', 'fd00::/64' or 'default'. */
  readonly dst: string
  /** Needed for 'default' when neither `via` nor `prefsrc` tells it. */
  readonly family?: 4 | 6 | undefined
  /** Main (254) when absent. */
  readonly table?: number | undefined
  /** Lower wins. IPv6 makes 1024 of absent or 0. Part of what makes a route another route. */
  readonly metric?: number | undefined
  readonly tos?: number | undefined
}

export interface RouteSpec extends RouteIdentity {
  /** Gateway. Its family may differ from that of `dst` (IPv4 over an IPv6 gateway). */
  readonly via?: string | undefined
  /** Outgoing device. */
  readonly index?: number | undefined
  readonly nextHops?: readonly NextHop[] | undefined
  /** A next hop object, instead of `via`, `index` and `nextHops`. */
  readonly nextHopId?: number | undefined
  /** Source address of packets this host sends along the route. */
  readonly prefsrc?: string | undefined
  /** RTPROT_*, who put the route there. Absent: RTPROT_BOOT (3), as `ip route` does. */
  readonly protocol?: number | undefined
  /** Absent: 'link' without a gateway, 'host' for local routes, 'global' otherwise. */
  readonly scope?: Scope | number | undefined
  /** Absent: 'unicast'. */
  readonly type?: RouteType | number | undefined
  /** Take the gateway as reachable on `index` without a route to it. */
  readonly onlink?: boolean | undefined
  readonly mtu?: number | undefined
  readonly advmss?: number | undefined
}

/** What to delete: what is given must match, what is absent matches anything, but the table is main. A listed Route is one. */
export interface RouteKey extends RouteIdentity {
  readonly via?: string | undefined
  readonly index?: number | undefined
  readonly protocol?: number | undefined
  readonly type?: RouteType | number | undefined
  readonly scope?: Scope | number | undefined
}

export interface Route {
  readonly dst: string
  readonly family: 4 | 6
  readonly table: number
  readonly protocol: number
  readonly scope: Scope | number
  readonly type: RouteType | number
  readonly via?: string
  readonly viaFamily?: 4 | 6
  readonly index?: number
  readonly nextHops?: readonly NextHop[]
  readonly nextHopId?: number
  readonly prefsrc?: string
  readonly metric?: number
  readonly tos: number
  readonly onlink: boolean
  /** RTNH_F_* and RTM_F_* bits as they came. */
  readonly flags: number
  readonly mtu?: number
  readonly advmss?: number
  readonly unknown: readonly UnknownAttribute[]
}

export interface RouteFilter {
  readonly family?: 4 | 6 | undefined
  readonly table?: number | undefined
  readonly protocol?: number | undefined
  readonly index?: number | undefined
  readonly type?: RouteType | undefined
}

/** What else the kernel should suppose of the packet it looks up a route for. */
export interface RouteLookup {
  readonly from?: string | undefined
  /** Leaves by this device. */
  readonly index?: number | undefined
  /** Came in by this device. */
  readonly inputIndex?: number | undefined
  readonly mark?: number | undefined
}
