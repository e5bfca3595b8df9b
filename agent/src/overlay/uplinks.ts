// The devices by which the node is reached from outside: those it was told, or those that have its addresses or a default route.
import type { Link, Route, RouteNetlink } from '@sinabro/node-netlink'
import { ALIAS_PREFIX } from '../marks.ts'
import type { Source } from '../state/table.ts'
import {
  chooseAddresses,
  type DefaultRoute,
  defaultRoutesOf,
  type UplinkAddresses,
} from './uplink-address.ts'

export interface UplinkRow {
  readonly name: string
  readonly index: number
  /** Its packets have no Ethernet header. */
  readonly isL3: boolean
}

/** An uplink with what a packet that leaves by it has to know. */
export interface Uplink extends UplinkRow, UplinkAddresses {
  readonly mtu: number
  readonly isUp: boolean
}

export interface UplinksState {
  readonly uplinks: readonly Uplink[]
  /** Why some device is none, though it was asked for or leads outside. */
  readonly problems: readonly string[]
}

/** ARPHRD_* of linux/if_arp.h. */
const ETHERNET = 1
const LOOPBACK = 772
/** Whose packets begin with the IP header: ppp, rawip, tunnels (IP in IP, 6 in 4, GRE), and those without any (tun, WireGuard). */
const WITHOUT_HEADER: ReadonlySet<number> = new Set([512, 519, 768, 769, 776, 778, 823, 0xfffe])

/** The state as a source of rows: ready once it was looked for. */
export class Uplinks implements Source {
  readonly name = 'uplinks'
  readonly #listeners = new Set<() => void>()
  #state: UplinksState | undefined
  #moves = 0

  get state(): UplinksState {
    return this.#state ?? { uplinks: [], problems: [] }
  }

  get isReady(): boolean {
    return this.#state !== undefined
  }

  /** Grows whenever packets to the outside may have another way than before. */
  get moves(): number {
    return this.#moves
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** @param haveRoutesMoved some route may lead elsewhere, though the uplinks are the same */
  set(state: UplinksState, haveRoutesMoved = false): void {
    const isSame = JSON.stringify(this.#state) === JSON.stringify(state)
    if (isSame && !haveRoutesMoved) return
    // The kernel takes routes away without a word when their device goes down.
    if (haveRoutesMoved || upOf(this.#state) !== upOf(state)) this.#moves++
    this.#state = state
    for (const listener of [...this.#listeners]) listener()
  }
}

function upOf(state: UplinksState | undefined): string {
  return JSON.stringify(state?.uplinks.map(({ index, isUp }) => [index, isUp]))
}

/** @param chosen names of devices; empty: to be found by default routes and the node's addresses */
export async function readUplinks(
  netlink: RouteNetlink,
  internalIPs: readonly string[],
  chosen: readonly string[],
): Promise<UplinksState> {
  const links = await netlink.links.list()
  const addresses = await netlink.addresses.list()
  const routes: DefaultRoute[] = []
  for await (const route of netlink.routes.stream()) routes.push(...defaultRoutesOf(route))
  const describe = (link: Link): Uplink => ({
    ...{ name: link.name, index: link.index, mtu: link.mtu, isUp: link.isUp },
    isL3: isL3(link),
    ...chooseAddresses(
      link.index,
      // What we gave to a device of ours is the pods' network's.
      addresses.filter(({ index }) => !isOurs(links.find((one) => one.index === index)?.alias)),
      routes,
    ),
  })
  if (chosen.length > 0) {
    const missing = chosen.filter((name) => !links.some((link) => link.name === name))
    const found = links.filter(({ name }) => chosen.includes(name))
    const state = withoutUnfit(found, describe)
    const absent = missing.map((name) => `there is no device ${name}, which --uplinks names`)
    return { ...state, problems: [...state.problems, ...absent] }
  }
  const holders = addresses.filter(({ address }) => internalIPs.includes(address))
  const indexes = new Set([...holders, ...routes].map(({ index }) => index))
  return withoutUnfit(
    links.filter(({ index }) => indexes.has(index)),
    describe,
  )
}

function withoutUnfit(links: readonly Link[], describe: (link: Link) => Uplink): UplinksState {
  const outside = links.filter(({ type, alias }) => type !== LOOPBACK && !isOurs(alias))
  const isFit = (link: Link): boolean => link.type === ETHERNET || isL3(link)
  return {
    uplinks: outside
      .filter(isFit)
      .map(describe)
      .sort((a, b) => a.index - b.index),
    problems: outside
      .filter((link) => !isFit(link))
      .map(({ name, type }) => `${name} (type ${type}): our programs do not know such packets`),
  }
}

/** Whether its packets begin with the IP header. */
export function isL3({ type }: Pick<Link, 'type'>): boolean {
  return WITHOUT_HEADER.has(type)
}

/** Whether a packet to the outside could take it: no multicast, nothing that ends on its link. */
export function isWayOut({ dst }: Pick<Route, 'dst'>): boolean {
  return !/^(ff|fe[89ab])|^(22[4-9]|23\d|169\.254)\./.test(dst)
}

export function isOurs(alias: string | undefined): boolean {
  return alias?.startsWith(ALIAS_PREFIX) === true
}
