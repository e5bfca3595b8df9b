// A notification of the kernel as the object that appeared, changed or went.
import type { Reader } from '../codec/reader.ts'
import type { MessageHeader } from '../message.ts'
import type { Address } from './address.ts'
import { decodeAddress } from './address-message.ts'
import {
  AF_BRIDGE,
  RTM_DELADDR,
  RTM_DELLINK,
  RTM_DELNEIGH,
  RTM_DELNEXTHOP,
  RTM_DELQDISC,
  RTM_DELROUTE,
  RTM_DELRULE,
  RTM_DELTCLASS,
  RTM_DELTFILTER,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWNEIGH,
  RTM_NEWNEXTHOP,
  RTM_NEWQDISC,
  RTM_NEWROUTE,
  RTM_NEWRULE,
  RTM_NEWTCLASS,
  RTM_NEWTFILTER,
} from './constants.ts'
import type { FdbEntry } from './fdb-entry.ts'
import { decodeFdbEntry } from './fdb-message.ts'
import type { Link } from './link.ts'
import { decodeLink } from './link-message.ts'
import type { Neighbour } from './neighbour.ts'
import { decodeNeighbour } from './neighbour-message.ts'
import type { Nexthop } from './nexthop.ts'
import { decodeNexthop } from './nexthop-message.ts'
import type { Route } from './route.ts'
import { decodeRoute, RTM_F_CLONED } from './route-message.ts'
import type { Rule } from './rule.ts'
import { decodeRule } from './rule-message.ts'
import type { Filter, Qdisc, TrafficClass } from './traffic.ts'
import { decodeFilter, decodeQdisc, decodeTrafficClass } from './traffic-message.ts'

/** `new` is also sent when something about an object changed. */
export type RouteEvent =
  | { readonly change: 'new' | 'del'; readonly kind: 'link'; readonly link: Link }
  | { readonly change: 'new' | 'del'; readonly kind: 'address'; readonly address: Address }
  | { readonly change: 'new' | 'del'; readonly kind: 'route'; readonly route: Route }
  | { readonly change: 'new' | 'del'; readonly kind: 'rule'; readonly rule: Rule }
  | { readonly change: 'new' | 'del'; readonly kind: 'nexthop'; readonly nexthop: Nexthop }
  | { readonly change: 'new' | 'del'; readonly kind: 'neighbour'; readonly neighbour: Neighbour }
  | { readonly change: 'new' | 'del'; readonly kind: 'fdb'; readonly entry: FdbEntry }
  | { readonly change: 'new' | 'del'; readonly kind: 'qdisc'; readonly qdisc: Qdisc }
  | { readonly change: 'new' | 'del'; readonly kind: 'class'; readonly class: TrafficClass }
  | { readonly change: 'new' | 'del'; readonly kind: 'filter'; readonly filter: Filter }

/** Undefined for messages that are about nothing described here. */
export function decodeRouteEvent(
  { type }: Pick<MessageHeader, 'type'>,
  payload: Reader,
): RouteEvent | undefined {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      const link = decodeLink(payload)
      return link && { change: type === RTM_NEWLINK ? 'new' : 'del', kind: 'link', link }
    }
    case RTM_NEWADDR:
    case RTM_DELADDR: {
      const address = decodeAddress(payload)
      return address && { change: type === RTM_NEWADDR ? 'new' : 'del', kind: 'address', address }
    }
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      const route = decodeRoute(payload)
      if (route === undefined || route.flags & RTM_F_CLONED) return undefined
      return { change: type === RTM_NEWROUTE ? 'new' : 'del', kind: 'route', route }
    }
    case RTM_NEWRULE:
    case RTM_DELRULE: {
      const rule = decodeRule(payload)
      return rule && { change: type === RTM_NEWRULE ? 'new' : 'del', kind: 'rule', rule }
    }
    case RTM_NEWNEXTHOP:
    case RTM_DELNEXTHOP:
      return {
        change: type === RTM_NEWNEXTHOP ? 'new' : 'del',
        kind: 'nexthop',
        nexthop: decodeNexthop(payload),
      }
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH: {
      const change = type === RTM_NEWNEIGH ? 'new' : 'del'
      if (payload.peek8() === AF_BRIDGE) {
        const entry = decodeFdbEntry(payload)
        return entry && { change, kind: 'fdb', entry }
      }
      const neighbour = decodeNeighbour(payload)
      return neighbour && { change, kind: 'neighbour', neighbour }
    }
    case RTM_NEWQDISC:
    case RTM_DELQDISC:
      return {
        change: type === RTM_NEWQDISC ? 'new' : 'del',
        kind: 'qdisc',
        qdisc: decodeQdisc(payload),
      }
    case RTM_NEWTCLASS:
    case RTM_DELTCLASS:
      return {
        change: type === RTM_NEWTCLASS ? 'new' : 'del',
        kind: 'class',
        class: decodeTrafficClass(payload),
      }
    case RTM_NEWTFILTER:
    case RTM_DELTFILTER:
      return {
        change: type === RTM_NEWTFILTER ? 'new' : 'del',
        kind: 'filter',
        filter: decodeFilter(payload),
      }
    default:
      return undefined
  }
}
