// The devices by which the node is reached from outside: those it was told, or those that have its addresses or a default route.
import type { Link, RouteNetlink } from '@sinabro/node-netlink'
import { ALIAS_PREFIX } from '../marks.ts'
import type { Source } from '../state/table.ts'

export interface UplinkRow {
  readonly name: string
  readonly index: number
}

export interface UplinksState {
  readonly uplinks: readonly UplinkRow[]
  /** Why some device is none, though it was asked for or leads outside. */
  readonly problems: readonly string[]
}

/** ARPHRD_* of linux/if_arp.h. */
const ETHERNET = 1
const LOOPBACK = 772

/** The state as a source of rows: ready once it was looked for. */
export class Uplinks implements Source {
  readonly name = 'uplinks'
  readonly #listeners = new Set<() => void>()
  #state: UplinksState | undefined

  get state(): UplinksState {
    return this.#state ?? { uplinks: [], problems: [] }
  }

  get isReady(): boolean {
    return this.#state !== undefined
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  set(state: UplinksState): void {
    if (this.#state !== undefined && JSON.stringify(this.#state) === JSON.stringify(state)) return
    this.#state = state
    for (const listener of [...this.#listeners]) listener()
  }
}

/** @param chosen names of devices; empty: to be found by default routes and the node's addresses */
export async function readUplinks(
  netlink: RouteNetlink,
  internalIPs: readonly string[],
  chosen: readonly string[],
): Promise<UplinksState> {
  const links = await netlink.links.list()
  if (chosen.length > 0) {
    const missing = chosen.filter((name) => !links.some((link) => link.name === name))
    const found = links.filter(({ name }) => chosen.includes(name))
    const state = withoutUnfit(found)
    const absent = missing.map((name) => `there is no device ${name}, which --uplinks names`)
    return { ...state, problems: [...state.problems, ...absent] }
  }
  const indexes = new Set<number>()
  for (const { address, index } of await netlink.addresses.list()) {
    if (internalIPs.includes(address)) indexes.add(index)
  }
  for await (const { dst, index, nextHops } of netlink.routes.stream()) {
    if (dst !== 'default') continue
    if (index !== undefined) indexes.add(index)
    for (const hop of nextHops ?? []) indexes.add(hop.index)
  }
  return withoutUnfit(links.filter(({ index }) => indexes.has(index)))
}

function withoutUnfit(links: readonly Link[]): UplinksState {
  const outside = links.filter(({ type, alias }) => type !== LOOPBACK && !isOurs(alias))
  return {
    uplinks: outside
      .filter(({ type }) => type === ETHERNET)
      .map(({ name, index }) => ({ name, index }))
      .sort((a, b) => a.index - b.index),
    problems: outside
      .filter(({ type }) => type !== ETHERNET)
      .map(({ name }) => `${name} has no Ethernet header: what comes by it is not looked at`),
  }
}

export function isOurs(alias: string | undefined): boolean {
  return alias?.startsWith(ALIAS_PREFIX) === true
}
