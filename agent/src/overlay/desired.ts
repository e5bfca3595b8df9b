// What the overlay should be, row by row, as nodes and underlay are known now; keeps only what must not be forgotten between two looks.
import { NODES_MAX } from '@sinabro/libbpf-ts/layouts'
import type { NodeRow } from '../cluster/rows.ts'
import type { DatapathMaps } from '../datapath/maps.ts'
import type { Table } from '../state/table.ts'
import {
  computeNeighbours,
  computeOverlay,
  computeRoutes,
  type OverlayOptions,
  tunnelMtu,
} from './compute.ts'
import type { OverlayDeviceRow } from './device-target.ts'
import { computeIds, type IdState } from './ids.ts'
import { readUsedIds } from './peer-target.ts'
import type {
  OverlayNeighbourRow,
  OverlayPlan,
  OverlayProblem,
  OverlayRouteRow,
  PeerMapRow,
  PeerRow,
} from './rows.ts'
import type { UnderlayState } from './underlay.ts'

export interface DesiredOptions extends OverlayOptions {
  readonly nodes: Table<NodeRow>
  readonly underlay: { readonly state: UnderlayState | undefined }
  /** Read once, for the numbers that an earlier agent gave. */
  readonly maps: Pick<DatapathMaps, 'nodes' | 'nodeIds'>
  readonly tunnelPort: number
  readonly vni: number
}

export class DesiredOverlay {
  readonly #options: DesiredOptions
  #plan: OverlayPlan = { peers: [], problems: [] }
  #planRevision = -1
  #ids: IdState | undefined
  #withoutId: readonly string[] = []

  constructor(options: DesiredOptions) {
    this.#options = options
  }

  plan(): OverlayPlan {
    const { nodes } = this.#options
    if (this.#planRevision !== nodes.revision) {
      const next = computeOverlay(nodes.values(), this.#options)
      // Our own Node object is gone for a moment, or for ever: no reason to cut running pods off from the others (ADR 0042).
      const isLost = next.self === undefined && this.#plan.self !== undefined
      this.#plan = isLost ? { ...this.#plan, problems: next.problems } : next
      this.#planRevision = nodes.revision
    }
    return this.#plan
  }

  problems(): readonly OverlayProblem[] {
    const message = `there is room for ${NODES_MAX - 1} other nodes`
    const full = this.#withoutId.map((node) => ({ node, code: 'too-many-nodes', message }) as const)
    return [...this.plan().problems, ...full]
  }

  /** Largest IP packet of a pod; undefined until the underlay is known. */
  podMtu(): number | undefined {
    const { self } = this.plan()
    const underlay = this.#options.underlay.state
    if (self === undefined || underlay === undefined) return undefined
    return tunnelMtu(underlay.mtu, self.tunnelFamily)
  }

  deviceRows(): OverlayDeviceRow[] {
    const { self } = this.plan()
    const mtu = this.podMtu()
    if (self === undefined || mtu === undefined) return []
    const { tunnelPort: port, vni } = this.#options
    const { overlayMac: mac, tunnelAddress, ownAddresses: addresses } = self
    return [{ mac, mtu, port, vni, tunnelAddress, addresses }]
  }

  peerRows(): PeerMapRow[] {
    const { self, peers } = this.plan()
    const underlay = this.#options.underlay.state
    if (self === undefined || underlay === undefined) return []
    const ids = this.#assignIds(peers)
    return peers.flatMap((peer) => {
      const id = ids.get(peer.name)
      if (id === undefined) return []
      const { tunnelAddress, overlayMac, nodeAddresses } = peer
      const prefixes = peer.ranges.map(({ prefix }) => prefix)
      const mtu = tunnelMtu(wayMtu(underlay, peer), self.tunnelFamily)
      return [{ id, tunnelAddress, overlayMac, mtu, nodeAddresses, prefixes }]
    })
  }

  neighbourRows(): OverlayNeighbourRow[] {
    return computeNeighbours(this.plan())
  }

  routeRows(): OverlayRouteRow[] {
    const plan = this.plan()
    const underlay = this.#options.underlay.state
    if (plan.self === undefined || underlay === undefined) return []
    const { tunnelFamily } = plan.self
    const narrow = new Map<string, number>()
    for (const peer of plan.peers) {
      const mtu = wayMtu(underlay, peer)
      if (mtu >= underlay.mtu) continue
      for (const { prefix } of peer.ranges) narrow.set(prefix, tunnelMtu(mtu, tunnelFamily))
    }
    return computeRoutes(plan).map((row) => {
      const mtu = narrow.get(row.dst)
      return mtu === undefined ? row : { ...row, mtu }
    })
  }

  #assignIds(peers: readonly PeerRow[]): ReadonlyMap<string, number> {
    const { maps } = this.#options
    const pinned = this.#ids === undefined ? new Map(maps.nodeIds.entries()) : NOTHING_PINNED
    this.#ids ??= { held: new Map(), used: readUsedIds(maps.nodes) }
    const plan = computeIds(peers, this.#ids, pinned, NODES_MAX)
    this.#ids = plan
    this.#withoutId = plan.left
    return plan.held
  }
}

const NOTHING_PINNED: ReadonlyMap<string, number> = new Map()

/** What the way to a peer carries, outer headers included. */
function wayMtu(underlay: UnderlayState, { tunnelAddress }: PeerRow): number {
  return underlay.peerMtus.get(tunnelAddress) ?? underlay.mtu
}
