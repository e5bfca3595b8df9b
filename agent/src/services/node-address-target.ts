// Addresses of this node in sb_node_addrs, as a reconciler's target.
import type { DatapathMaps } from '../datapath/maps.ts'
import type { Target } from '../state/target.ts'
import type { NodeAddressRow } from './node-addresses.ts'

export class NodeAddressTarget implements Target<NodeAddressRow, NodeAddressRow> {
  readonly name = 'service node addresses'
  readonly #maps: Pick<DatapathMaps, 'nodeAddrs'>

  constructor(maps: Pick<DatapathMaps, 'nodeAddrs'>) {
    this.#maps = maps
  }

  key({ address }: NodeAddressRow): string {
    return address
  }

  keyOf({ address }: NodeAddressRow): string {
    return address
  }

  isEqual(row: NodeAddressRow, actual: NodeAddressRow): boolean {
    return row.flags === actual.flags
  }

  async list(): Promise<NodeAddressRow[]> {
    return Array.from(this.#maps.nodeAddrs.entries(), ([address, flags]) => ({ address, flags }))
  }

  async update({ address, flags }: NodeAddressRow): Promise<void> {
    this.#maps.nodeAddrs.set(address, flags)
  }

  async remove({ address }: NodeAddressRow): Promise<void> {
    this.#maps.nodeAddrs.delete(address)
  }
}
