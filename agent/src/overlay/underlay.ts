// What carries the tunnel: the device that has this node's tunnel address, its MTU, and what the way to each peer carries.
import type { RouteNetlink } from '@sinabro/node-netlink'
import type { Source } from '../state/table.ts'
import type { PeerRow, SelfRow } from './rows.ts'

export interface UnderlayState {
  /** Name of the device, for people. */
  readonly device: string
  readonly index: number
  readonly mtu: number
  /** Where the way to a peer carries something else, by its tunnel address. */
  readonly peerMtus: ReadonlyMap<string, number>
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
 * The device that has the tunnel address; where no device has it (a node behind address translation), the one that leads to the
 * first peer. Undefined when neither can be told.
 */
export async function readUnderlay(
  netlink: RouteNetlink,
  self: SelfRow,
  peers: readonly PeerRow[],
): Promise<UnderlayState | undefined> {
  const addresses = await netlink.addresses.list({ family: self.tunnelFamily })
  const ways = new Map<string, { readonly index: number; readonly mtu?: number }>()
  for (const { tunnelAddress } of peers) {
    const way = await readWay(netlink, tunnelAddress)
    if (way !== undefined) ways.set(tunnelAddress, way)
  }
  const holder = addresses.find(({ address }) => address === self.tunnelAddress)
  const index = holder?.index ?? [...ways.values()][0]?.index
  const links = new Map((await netlink.links.list()).map((link) => [link.index, link]))
  const link = index === undefined ? undefined : links.get(index)
  if (link === undefined) return undefined
  const peerMtus = new Map<string, number>()
  for (const [address, way] of ways) {
    const mtu = way.mtu ?? links.get(way.index)?.mtu ?? link.mtu
    if (mtu !== link.mtu) peerMtus.set(address, mtu)
  }
  return { device: link.name, index: link.index, mtu: link.mtu, peerMtus }
}

async function readWay(
  netlink: RouteNetlink,
  address: string,
): Promise<{ readonly index: number; readonly mtu?: number } | undefined> {
  try {
    const { index, mtu } = await netlink.routes.get(address)
    if (index === undefined) return undefined
    return { index, ...(mtu === undefined ? {} : { mtu }) }
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
    a.device === b.device &&
    a.index === b.index &&
    a.mtu === b.mtu &&
    a.peerMtus.size === b.peerMtus.size &&
    [...a.peerMtus].every(([address, mtu]) => b.peerMtus.get(address) === mtu)
  )
}
