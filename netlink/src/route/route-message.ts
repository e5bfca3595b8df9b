// RTM_*ROUTE on the wire (struct rtmsg and RTA_*), and how it becomes a Route.
import { attrs, NO_UNKNOWN } from '../codec/attrs.ts'
import { body } from '../codec/body.ts'
import { type Infer, ip, named, u8, u32 } from '../codec/codec.ts'
import type { Reader } from '../codec/reader.ts'
import { struct } from '../codec/struct.ts'
import { parsePrefix } from '../ip.ts'
import type { Scope } from './address.ts'
import { addressFamily, ipFamily, RT_TABLE_MAIN, RTPROT_BOOT, scopes } from './constants.ts'
import { nextHops, RTNH_F_ONLINK } from './next-hops.ts'
import type { Route, RouteKey, RouteSpec, RouteType } from './route.ts'
import { gatewayAttrs, via } from './via.ts'

/** RTM_F_CLONED: what the kernel answers to a lookup, and remembers by itself; never a route someone put there. */
export const RTM_F_CLONED = 0x200
const RT_TABLE_COMPAT = 252

/** RTN_* of linux/rtnetlink.h. */
export const routeTypes = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
  nat: 10,
} as const

const rtmsg = struct('rtmsg', {
  family: u8,
  dstLen: u8,
  srcLen: u8,
  tos: u8,
  /** RTA_TABLE has the whole number. */
  table: u8,
  protocol: u8,
  scope: named(u8, scopes),
  type: named(u8, routeTypes),
  flags: u32,
})

/** RTA_* of linux/rtnetlink.h. */
export const routeAttrs = attrs('route', {
  dst: [1, ip],
  src: [2, ip],
  inputIndex: [3, u32],
  index: [4, u32],
  gateway: [5, ip],
  metric: [6, u32],
  prefsrc: [7, ip],
  /** RTAX_*. */
  metrics: [8, attrs('metrics', { mtu: [2, u32], advmss: [8, u32] })],
  nextHops: [9, nextHops],
  table: [15, u32],
  mark: [16, u32],
  via: [18, via],
  nextHopId: [30, u32],
})

export const routeMessage = body(rtmsg, routeAttrs)
export type RouteBody = Infer<typeof routeMessage>
type RouteHeader = RouteBody['header']
type Writable<T> = { -readonly [K in keyof T]: T[K] }

export function routeHeader(header: Partial<RouteHeader>): RouteHeader {
  return {
    family: 0,
    dstLen: 0,
    srcLen: 0,
    tos: 0,
    table: 0,
    protocol: 0,
    scope: 0,
    type: 0,
    flags: 0,
    ...header,
  }
}

/** Undefined for what is not IP. */
export function decodeRoute(reader: Reader): Route | undefined {
  const { header, attrs: wire } = routeMessage.decode(reader)
  const family = ipFamily(header.family)
  if (family === undefined) return undefined
  const gateway = wire.gateway ?? wire.via
  const { metrics } = wire
  const route: Writable<Route> = {
    dst: destination(family, header.dstLen, wire.dst),
    family,
    table: wire.table ?? header.table,
    protocol: header.protocol,
    scope: header.scope,
    type: header.type,
    tos: header.tos,
    onlink: (header.flags & RTNH_F_ONLINK) !== 0,
    flags: header.flags,
    unknown: wire.unknown ?? NO_UNKNOWN,
  }
  // One by one: lists of routes are long, and compact() would take as long as all the rest.
  if (gateway !== undefined) {
    route.via = gateway
    route.viaFamily = gateway.includes(':') ? 6 : 4
  }
  if (wire.index !== undefined) route.index = wire.index
  if (wire.nextHops !== undefined) route.nextHops = wire.nextHops.hops
  if (wire.nextHopId !== undefined) route.nextHopId = wire.nextHopId
  if (wire.prefsrc !== undefined) route.prefsrc = wire.prefsrc
  if (wire.metric !== undefined) route.metric = wire.metric
  if (metrics?.mtu !== undefined) route.mtu = metrics.mtu
  if (metrics?.advmss !== undefined) route.advmss = metrics.advmss
  return route
}

export function routeSpecToWire(spec: RouteSpec): RouteBody {
  const { type = 'unicast', mtu, advmss } = spec
  const identity = identityToWire(spec)
  const family = ipFamily(identity.header.family) ?? 4
  const hasMetrics = mtu !== undefined || advmss !== undefined
  return {
    header: {
      ...identity.header,
      protocol: spec.protocol ?? RTPROT_BOOT,
      scope: spec.scope ?? defaultScope(type, spec),
      type,
      flags: spec.onlink ? RTNH_F_ONLINK : 0,
    },
    attrs: {
      ...identity.attrs,
      ...gatewayAttrs(spec.via, family),
      index: spec.index,
      prefsrc: spec.prefsrc,
      nextHopId: spec.nextHopId,
      nextHops: spec.nextHops && { family, hops: spec.nextHops },
      metrics: hasMetrics ? { mtu, advmss } : undefined,
    },
  }
}

/** 0 and RT_SCOPE_NOWHERE match anything in a deletion. */
export function routeKeyToWire(key: RouteKey): RouteBody {
  const identity = identityToWire(key)
  const family = ipFamily(identity.header.family) ?? 4
  return {
    header: {
      ...identity.header,
      protocol: key.protocol ?? 0,
      scope: key.scope ?? 'nowhere',
      type: key.type ?? 0,
    },
    attrs: { ...identity.attrs, ...gatewayAttrs(key.via, family), index: key.index },
  }
}

function identityToWire(route: RouteSpec | RouteKey): RouteBody {
  const { table = RT_TABLE_MAIN, metric, tos = 0 } = route
  const isDefault = route.dst === 'default'
  const prefix = isDefault ? undefined : parsePrefix(route.dst)
  const family = prefix?.family ?? familyOfDefault(route)
  if (route.family !== undefined && route.family !== family) {
    throw new RangeError(`route ${route.dst} is not of family ${route.family}`)
  }
  const dstLen = prefix?.prefixLen ?? 0
  return {
    header: routeHeader({
      family: addressFamily(family),
      dstLen,
      tos,
      table: table < 256 ? table : RT_TABLE_COMPAT,
    }),
    attrs: {
      dst: dstLen > 0 ? route.dst.slice(0, route.dst.indexOf('/')) : undefined,
      table,
      metric,
    },
  }
}

function familyOfDefault(route: RouteSpec): 4 | 6 {
  if (route.family !== undefined) return route.family
  const hint = route.via ?? route.prefsrc ?? route.nextHops?.[0]?.via
  if (hint === undefined) throw new TypeError('a default route without a gateway needs a family')
  return hint.includes(':') ? 6 : 4
}

/** As `ip route` chooses: reachable without a gateway is on the link, the host's own is on the host. */
function defaultScope(
  type: RouteType | number,
  { via: gateway, nextHops: hops, nextHopId }: RouteSpec,
): Scope {
  if (type === 'local' || type === 'nat') return 'host'
  if (type === 'broadcast' || type === 'multicast' || type === 'anycast') return 'link'
  if (type !== 'unicast') return 'global'
  if (gateway !== undefined || hops !== undefined || nextHopId !== undefined) return 'global'
  return 'link'
}

function destination(family: 4 | 6, length: number, address: string | undefined): string {
  if (length === 0) return 'default'
  return `${address ?? (family === 4 ? '0.0.0.0' : '::')}/${length}`
}
