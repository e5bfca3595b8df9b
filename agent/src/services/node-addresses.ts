// Addresses of this node on which its services are asked for: what its devices have, and which of them serve node ports.

import { NODE_ADDR_HOST_PORTS, NODE_ADDR_NODE_PORTS } from '@sinabro/libbpf-ts/layouts'
import {
  type NetworkNamespace,
  parseIp,
  parsePrefix,
  prefixContains,
  RouteMonitor,
  type RouteNetlink,
} from '@sinabro/node-netlink'
import type { NodeRow } from '../cluster/rows.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Source } from '../state/table.ts'

/** The node's InternalIPs, or what its devices have in these ranges. */
export type NodePortAddresses = 'primary' | readonly string[]

export interface NodeAddressRow {
  readonly address: string
  /** NODE_ADDR_… */
  readonly flags: number
}

/** Several changes that come together are one. */
const SETTLE_MS = 50

/** What the devices have, as a source: ready once it was looked for. */
export class NodeAddresses implements Source {
  readonly name = 'addresses of this node'
  readonly #listeners = new Set<() => void>()
  #addresses: readonly string[] | undefined

  get isReady(): boolean {
    return this.#addresses !== undefined
  }

  list(): readonly string[] {
    return this.#addresses ?? []
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Follows the kernel. @throws what the monitor fails with */
  async run(options: FollowAddressesOptions, signal: AbortSignal): Promise<void> {
    const { netns, netlink, clock, refreshMs } = options
    let wake = (): void => undefined
    let failure: unknown
    using _monitor = RouteMonitor.open({
      netns,
      groups: ['addresses'],
      onEvent: (event) => {
        if (event.kind === 'address' && event.address.scope !== 'link') wake()
      },
      onOverrun: () => wake(),
      onError: (error) => {
        failure = error
        wake()
      },
    })
    while (!signal.aborted) {
      const woken = new AbortController()
      wake = () => woken.abort()
      if (failure !== undefined) throw failure
      this.#set(await netlink.addresses.list())
      await clock.sleep(SETTLE_MS, signal).catch(() => undefined)
      await clock.sleep(refreshMs, AbortSignal.any([signal, woken.signal])).catch(() => undefined)
    }
  }

  /** Those of a link alone are on every link. */
  #set(found: readonly { readonly address: string; readonly scope: unknown }[]): void {
    const global = found.filter(({ scope }) => scope !== 'link')
    const addresses = [...new Set(global.map(({ address }) => address))].sort()
    if (this.#addresses?.join() === addresses.join()) return
    this.#addresses = addresses
    for (const listener of [...this.#listeners]) listener()
  }
}

export interface FollowAddressesOptions {
  readonly netns: NetworkNamespace
  /** In that namespace. */
  readonly netlink: Pick<RouteNetlink, 'addresses'>
  readonly clock: Clock
  readonly refreshMs: number
}

/** Host ports are served on all of them; node ports on those chosen, and on loopback, which only processes of the node ask. */
export function computeNodeAddresses(
  addresses: readonly string[],
  chosen: NodePortAddresses,
  node: Pick<NodeRow, 'internalIPs'>,
): NodeAddressRow[] {
  const ranges = chosen === 'primary' ? [] : chosen.map(parsePrefix)
  const isChosen = (address: string): boolean =>
    chosen === 'primary'
      ? node.internalIPs.includes(address)
      : ranges.some((range) => prefixContains(range, parseIp(address)))
  return addresses.map((address) => {
    const hasNodePorts = isLoopback(address) || isChosen(address)
    const flags = NODE_ADDR_HOST_PORTS | (hasNodePorts ? NODE_ADDR_NODE_PORTS : 0)
    return { address, flags }
  })
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}
