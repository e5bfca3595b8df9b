// What services need of this node's own object, as the cluster said it last: deleted and not yet back, it takes no node port away.
import { NODE_ADDR_NODE_PORTS } from '@sinabro/libbpf-ts/layouts'
import type { NodeRow } from '../cluster/rows.ts'
import type { Table } from '../state/table.ts'

export type KnownNode = Pick<NodeRow, 'internalIPs' | 'podCIDRs'>

export class OwnNode {
  #known: KnownNode

  /** @param addresses what an earlier agent wrote, for as long as nobody has told of the node */
  constructor(nodes: Table<NodeRow>, name: string, addresses: Iterable<readonly [string, number]>) {
    const served = [...addresses].filter(([, flags]) => (flags & NODE_ADDR_NODE_PORTS) !== 0)
    const internalIPs = served.map(([address]) => address)
    this.#known = nodes.get(name) ?? { internalIPs, podCIDRs: [] }
    nodes.subscribe(() => {
      this.#known = nodes.get(name) ?? this.#known
    })
  }

  /** Its addresses may be gone from the devices by now. */
  get known(): KnownNode {
    return this.#known
  }
}
