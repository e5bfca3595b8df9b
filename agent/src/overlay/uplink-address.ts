// Under which address of the node packets leave by an uplink: as the kernel would choose, where a route does not say. Pure.
import type { Address, AddressFlag, Route } from '@sinabro/node-netlink'
import { parseIp, prefixContains } from '@sinabro/node-netlink'

export interface UplinkAddresses {
  readonly source4?: string
  readonly source6?: string
}

/** A default route, one for each of its next hops. */
export interface DefaultRoute {
  readonly family: 4 | 6
  readonly index: number
  /** Of another table than main: policy routing leads there. */
  readonly isAside: boolean
  readonly metric: number
  readonly via?: string
  readonly prefsrc?: string
}

const RT_TABLE_MAIN = 254

/** Nothing for a route that is no default route. */
export function defaultRoutesOf(route: Route): DefaultRoute[] {
  const { dst, table, family, index, via, nextHops = [], prefsrc, metric = 0 } = route
  if (dst !== 'default') return []
  const hops = index === undefined ? nextHops : [{ index, via }]
  return hops.map((hop) => ({
    ...{ family, index: hop.index, metric, isAside: table !== RT_TABLE_MAIN },
    ...(hop.via === undefined ? {} : { via: hop.via }),
    ...(prefsrc === undefined ? {} : { prefsrc }),
  }))
}

/**
 * The source that the best default route by the device names; else the device's first address that others may use to answer, for
 * IPv4 rather one on the gateway's network; else, on a device without any, one of another device (loopback first, as in the kernel).
 *
 * @param addresses of all devices, in the kernel's order
 */
export function chooseAddresses(
  index: number,
  addresses: readonly Address[],
  routes: readonly DefaultRoute[],
): UplinkAddresses {
  const source4 = choose(4, index, addresses, routes)
  const source6 = choose(6, index, addresses, routes)
  return {
    ...(source4 === undefined ? {} : { source4 }),
    ...(source6 === undefined ? {} : { source6 }),
  }
}

function choose(
  family: 4 | 6,
  index: number,
  addresses: readonly Address[],
  routes: readonly DefaultRoute[],
): string | undefined {
  const [best] = routes
    .filter((route) => route.family === family && route.index === index)
    .sort((a, b) => Number(a.isAside) - Number(b.isAside) || a.metric - b.metric)
  const all = addresses.filter((one) => one.family === family)
  const { prefsrc, via } = best ?? {}
  if (prefsrc !== undefined && all.some(({ address }) => address === prefsrc)) return prefsrc
  const usable = all.filter(isUsable)
  const own = usable.filter((one) => one.index === index)
  if (family === 6) return own.toSorted(byReach)[0]?.address
  const near = own.find((one) => via !== undefined && isOnNetwork(via, one))
  const elsewhere = best === undefined ? [] : usable.toSorted((a, b) => a.index - b.index)
  return (near ?? own[0] ?? elsewhere[0])?.address
}

/** IFA_F_SECONDARY of IPv4 is IFA_F_TEMPORARY of IPv6: neither is a first choice. */
function isUsable({ scope, flags }: Address): boolean {
  const has = (flag: AddressFlag): boolean => flags.includes(flag)
  if (scope !== 'global' || has('secondary') || has('deprecated') || has('dadfailed')) return false
  return !has('tentative') || has('optimistic')
}

/** Addresses that the whole world has a way to before those of private networks (RFC 6724, rule 6). */
function byReach(a: Address, b: Address): number {
  return Number(isPrivate6(a.address)) - Number(isPrivate6(b.address))
}

/** fc00::/7. */
function isPrivate6(address: string): boolean {
  return ((parseIp(address).bytes[0] ?? 0) & 0xfe) === 0xfc
}

function isOnNetwork(via: string, { address, prefixLen }: Address): boolean {
  return prefixContains({ ...parseIp(address), prefixLen }, parseIp(via))
}
