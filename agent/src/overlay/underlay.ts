// What carries the tunnel: the device that has this node's tunnel address, its MTU, and the way to each peer.
import type { RouteNetlink } from '@sinabro/node-netlink'
import type { Source } from '../state/table.ts'

export interface Way {
  /** Of the device packets leave by. */
  readonly index: number
  /** Largest packet it carries. */
  readonly mtu: number
  /** Next hop; absent when the address is on the link. */
  readonly via?: string
}

export interface UnderlayState {
  /** Whose underlay it is. */
  readonly address: string
  /** Name of the device, for people. */
  readonly device: string
  readonly index: number
  readonly mtu: number
  /** By address of a peer; undefined for those that no way leads to. */
  readonly ways: ReadonlyMap<string, Way | undefined>
}

/** The state as a source of rows: ready once something is known. */
export class Underlay implements Source {
  readonly name = 'underlay'
  readonly #listeners = new Set<() => void>()
  #state: UnderlayState | undefined

  get state(): UnderlayState | undefined {
    return this.#state
  }

  get isReady(): boolean {
    return this.#state !== undefined
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** What was known last stays when nothing can be found: a device that flaps must not take the overlay away. */
  set(state: UnderlayState | undefined): boolean {
    if (state === undefined || (this.#state !== undefined && isSame(this.#state, state)))
      return false
    this.#state = state
    for (const listener of [...this.#listeners]) listener()
    return true
  }
}

/**
 * The device that has the address; where no device has it (a node behind address translation), the one that leads to the first
 * peer. Undefined when neither can be told. Ways that are known stay where there is none now.
 */
export async function readUnderlay(
  netlink: RouteNetlink,
  address: string,
  peers: readonly string[],
  known?: UnderlayState,
): Promise<UnderlayState | undefined> {
  const links = new Map((await netlink.links.list()).map((link) => [link.index, link]))
  const mtuOf = (index: number) => Promise.resolve(links.get(index)?.mtu)
  const ways = new Map<string, Way | undefined>()
  for (const peer of peers) {
    ways.set(peer, (await readWay(netlink, peer, mtuOf)) ?? known?.ways.get(peer))
  }
  const family = address.includes(':') ? 6 : 4
  const holder = (await netlink.addresses.list({ family })).find((one) => one.address === address)
  const index = holder?.index ?? [...ways.values()].find((way) => way !== undefined)?.index
  const link = index === undefined ? undefined : links.get(index)
  if (link === undefined) return undefined
  return { address, device: link.name, index: link.index, mtu: link.mtu, ways }
}

/** The same underlay with the ways to exactly these peers: asks only for those that were not asked for before. */
export async function extendUnderlay(
  netlink: RouteNetlink,
  peers: readonly string[],
  known: UnderlayState,
): Promise<UnderlayState> {
  const mtuOf = async (index: number) =>
    index === known.index ? known.mtu : (await netlink.links.get(index))?.mtu
  const ways = new Map<string, Way | undefined>()
  for (const peer of peers) {
    const way = known.ways.has(peer) ? known.ways.get(peer) : await readWay(netlink, peer, mtuOf)
    ways.set(peer, way)
  }
  return { ...known, ways }
}

async function readWay(
  netlink: RouteNetlink,
  address: string,
  mtuOf: (index: number) => Promise<number | undefined>,
): Promise<Way | undefined> {
  try {
    const { index, mtu, via } = await netlink.routes.get(address)
    if (index === undefined) return undefined
    const carries = mtu ?? (await mtuOf(index))
    if (carries === undefined) return undefined
    return { index, mtu: carries, ...(via === undefined ? {} : { via }) }
  } catch (error) {
    // No way to it now: its packets are lost either way, and its MTU matters to nobody.
    if (isUnreachable(error)) return undefined
    throw error
  }
}

function isUnreachable(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'ENETUNREACH' || code === 'EHOSTUNREACH' || code === 'EACCES' || code === 'EINVAL'
}

function isSame(a: UnderlayState, b: UnderlayState): boolean {
  return (
    a.address === b.address &&
    a.device === b.device &&
    a.index === b.index &&
    a.mtu === b.mtu &&
    a.ways.size === b.ways.size &&
    [...a.ways].every(
      ([address, way]) => b.ways.has(address) && isSameWay(way, b.ways.get(address)),
    )
  )
}

function isSameWay(a: Way | undefined, b: Way | undefined): boolean {
  return a?.index === b?.index && a?.mtu === b?.mtu && a?.via === b?.via
}
