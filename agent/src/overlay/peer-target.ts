// Other nodes in the maps of the datapath, as a reconciler's target; knows when a change means that flows must be judged again.
import { u32 } from '@sinabro/libbpf-ts'
import {
  NODE_ON_UPLINK,
  NODE_TAKES_DSR,
  NODE_VALID,
  type Node,
  node,
} from '@sinabro/libbpf-ts/layouts'
import type { DatapathMaps } from '../datapath/maps.ts'
import { formatKey, parseKey } from './prefix.ts'
import type { PeerMapRow } from './rows.ts'
import type { WatchedTarget } from './watched.ts'

export interface PeerTargetDeps {
  readonly maps: Pick<DatapathMaps, 'nodes' | 'nodeIds' | 'ipcache'>
  /** Makes every flow be judged again; called after the maps were written. */
  bumpGeneration(): void
}

export interface PeerActual {
  readonly id: number
  readonly node: Node | undefined
  readonly nodeAddresses: ReadonlySet<string>
  readonly prefixes: ReadonlySet<string>
}

const NOTHING: ReadonlySet<string> = new Set()

export class PeerTarget implements WatchedTarget<PeerMapRow, PeerActual> {
  readonly name = 'overlay peers'
  readonly #deps: PeerTargetDeps
  /** What each id has in the two maps that are not keyed by it: as listed, and as written since. */
  readonly #addresses = new Map<number, Set<string>>()
  readonly #prefixes = new Map<number, Set<string>>()
  /** Ids with a valid row. The array is walked once: after that nobody but us gives rows to it. */
  #valid: Set<number> | undefined

  constructor(deps: PeerTargetDeps) {
    this.#deps = deps
  }

  key({ id }: { readonly id: number }): string {
    return String(id)
  }

  keyOf({ id }: PeerActual): string {
    return String(id)
  }

  isEqual(row: PeerMapRow, { node, nodeAddresses, prefixes }: PeerActual): boolean {
    return (
      node?.flags === flagsOf(row) &&
      node.tunnel === row.tunnelAddress &&
      node.mac === row.overlayMac &&
      node.mtu === row.mtu &&
      isSame(nodeAddresses, row.nodeAddresses) &&
      isSame(prefixes, row.prefixes)
    )
  }

  async list(): Promise<PeerActual[]> {
    const { nodes, nodeIds, ipcache } = this.#deps.maps
    this.#addresses.clear()
    this.#prefixes.clear()
    for (const [address, id] of nodeIds.entries()) add(this.#addresses, id, address)
    for (const [key, { node }] of ipcache.entries()) {
      if (node !== 0) add(this.#prefixes, node, formatKey(key))
    }
    this.#valid ??= readValidIds(nodes)
    const ids = new Set([...this.#valid, ...this.#addresses.keys(), ...this.#prefixes.keys()])
    return [...ids].map((id) => this.#read(id))
  }

  async find(key: string): Promise<PeerActual> {
    return this.#read(Number(key))
  }

  #read(id: number): PeerActual {
    return {
      id,
      node: this.#deps.maps.nodes.get(id),
      nodeAddresses: this.#addresses.get(id) ?? NOTHING,
      prefixes: this.#prefixes.get(id) ?? NOTHING,
    }
  }

  async update(row: PeerMapRow): Promise<void> {
    const { nodes, nodeIds, ipcache } = this.#deps.maps
    const { id } = row
    const before = nodes.get(id)
    nodes.set(id, {
      tunnel: row.tunnelAddress,
      mac: row.overlayMac,
      mtu: row.mtu,
      flags: flagsOf(row),
    })
    this.#valid?.add(id)
    for (const address of row.nodeAddresses) {
      nodeIds.set(address, id)
      add(this.#addresses, id, address)
    }
    for (const address of this.#addresses.get(id) ?? NOTHING) {
      if (!row.nodeAddresses.includes(address)) this.#dropAddress(id, address)
    }
    // An id that another node had: its row stays behind without NODE_VALID, so that this can be told.
    // And one that is on the uplink no longer, or only now, or takes direct return: its flows' ways are of another sort.
    let mustJudge = before !== undefined && before.tunnel !== '::' && before.flags !== flagsOf(row)
    for (const prefix of row.prefixes) {
      const key = parseKey(prefix)
      const owner = ipcache.get(key)?.node ?? 0
      mustJudge ||= owner !== 0 && owner !== id
      ipcache.set(key, { node: id, identity: 0, flags: 0 })
      add(this.#prefixes, id, prefix)
    }
    for (const prefix of this.#prefixes.get(id) ?? NOTHING) {
      if (row.prefixes.includes(prefix)) continue
      // Taken from a node that lives on: flows would go on to it.
      const wasThere = this.#dropPrefix(id, prefix)
      mustJudge ||= wasThere
    }
    if (mustJudge) this.#deps.bumpGeneration()
  }

  async remove({ id, nodeAddresses, prefixes }: PeerActual): Promise<void> {
    const { nodes } = this.#deps.maps
    for (const prefix of prefixes) this.#dropPrefix(id, prefix)
    for (const address of nodeAddresses) this.#dropAddress(id, address)
    const node = nodes.get(id)
    if (node !== undefined) nodes.set(id, { ...node, flags: 0 })
    this.#valid?.delete(id)
  }

  /** Says whether it was there; a prefix that has gone to another node by now stays. */
  #dropPrefix(id: number, prefix: string): boolean {
    forget(this.#prefixes, id, prefix)
    const { ipcache } = this.#deps.maps
    const key = parseKey(prefix)
    return ipcache.get(key)?.node === id && ipcache.delete(key)
  }

  #dropAddress(id: number, address: string): void {
    forget(this.#addresses, id, address)
    const { nodeIds } = this.#deps.maps
    if (nodeIds.get(address) === id) nodeIds.delete(address)
  }
}

/** Ids that were ever written, with what they have now. Most of the array is zeros, which are not worth decoding. */
function* writtenNodes({ map }: DatapathMaps['nodes']): Generator<[number, Node]> {
  for (const [key, value] of map.entries()) {
    if (value.some((byte) => byte !== 0)) yield [u32.decode(key), node.decode(value)]
  }
}

function readValidIds(nodes: DatapathMaps['nodes']): Set<number> {
  const valid = [...writtenNodes(nodes)].filter(([, { flags }]) => (flags & NODE_VALID) !== 0)
  return new Set(valid.map(([id]) => id))
}

/** Ids that flow rows may still name: those of living nodes and those left behind by nodes that went. */
export function readUsedIds(nodes: DatapathMaps['nodes']): Set<number> {
  return new Set(Array.from(writtenNodes(nodes), ([id]) => id))
}

function flagsOf({ isOnUplink, takesDsr }: PeerMapRow): number {
  return NODE_VALID | (isOnUplink ? NODE_ON_UPLINK : 0) | (takesDsr ? NODE_TAKES_DSR : 0)
}

function add(to: Map<number, Set<string>>, id: number, one: string): void {
  const known = to.get(id)
  if (known === undefined) to.set(id, new Set([one]))
  else known.add(one)
}

function forget(from: Map<number, Set<string>>, id: number, one: string): void {
  const known = from.get(id)
  if (known?.delete(one) && known.size === 0) from.delete(id)
}

function isSame(actual: ReadonlySet<string>, wanted: readonly string[]): boolean {
  return actual.size === wanted.length && wanted.every((one) => actual.has(one))
}
