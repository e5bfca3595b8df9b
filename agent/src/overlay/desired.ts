// What the overlay should be, row by row, as nodes, underlay and device are known now; a row stays the same object while it says the same.
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
import { Memo } from './memo.ts'
import type { OwnRangeRow } from './own-range-target.ts'
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
import type { UplinksState } from './uplinks.ts'

export interface DesiredOptions extends OverlayOptions {
  readonly nodes: Table<NodeRow>
  readonly underlay: { readonly state: UnderlayState | undefined }
  readonly uplinks: { readonly state: Pick<UplinksState, 'problems'> }
  /** The overlay device, once it stands. */
  readonly standing: { readonly index: number | undefined }
  /** Read once, for the numbers that an earlier agent gave. */
  readonly maps: Pick<DatapathMaps, 'nodes' | 'nodeIds'>
  readonly tunnelPort: number
  readonly vni: number
}

export class DesiredOverlay {
  readonly #options: DesiredOptions
  readonly #peers = new Memo<NodeRow, PeerRow>()
  readonly #mapRows = new Memo<PeerRow, PeerMapRow>()
  readonly #neighbours = new Memo<PeerRow, OverlayNeighbourRow[]>()
  readonly #routes = new Memo<PeerRow, OverlayRouteRow[]>()
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
      const next = computeOverlay(nodes.values(), this.#options, this.#peers)
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
    const { nodeName, uplinks } = this.#options
    const unfit = uplinks.state.problems.map(
      (text) => ({ node: nodeName, code: 'uplink', message: text }) as const,
    )
    return [...this.plan().problems, ...full, ...unfit]
  }

  /** Largest IP packet of a pod; undefined until the underlay is known. */
  podMtu(): number | undefined {
    const { self } = this.plan()
    const underlay = this.#options.underlay.state
    if (self === undefined || underlay === undefined) return undefined
    return tunnelMtu(underlay.mtu, self.tunnelFamily)
  }

  /** Addresses of peers that a way is looked for to. */
  wayAddresses(): string[] {
    return this.plan().peers.map(({ tunnelAddress }) => tunnelAddress)
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
      const mtu = tunnelMtu(wayMtu(underlay, peer), self.tunnelFamily)
      const { tunnelAddress, overlayMac, nodeAddresses, ranges } = peer
      return this.#mapRows.get(peer, `${id} ${mtu}`, () => {
        const prefixes = ranges.map(({ prefix }) => prefix)
        return { id, tunnelAddress, overlayMac, mtu, nodeAddresses, prefixes }
      })
    })
  }

  ownRangeRows(): OwnRangeRow[] {
    return (this.plan().self?.ranges ?? []).map((prefix) => ({ prefix }))
  }

  neighbourRows(): OverlayNeighbourRow[] {
    const { index } = this.#options.standing
    if (index === undefined) return []
    return this.plan().peers.flatMap((peer) =>
      this.#neighbours.get(peer, `${index}`, () => computeNeighbours(peer, index)),
    )
  }

  routeRows(): OverlayRouteRow[] {
    const { self, peers } = this.plan()
    const { index } = this.#options.standing
    const underlay = this.#options.underlay.state
    if (self === undefined || underlay === undefined || index === undefined) return []
    const { tunnelFamily, ownAddresses } = self
    return peers.flatMap((peer) => {
      const way = wayMtu(underlay, peer)
      const mtu = way < underlay.mtu ? { mtu: tunnelMtu(way, tunnelFamily) } : {}
      return this.#routes.get(peer, `${ownAddresses} ${index} ${mtu.mtu}`, () =>
        computeRoutes(self, peer, { index, ...mtu }),
      )
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
  return underlay.ways.get(tunnelAddress)?.mtu ?? underlay.mtu
}
