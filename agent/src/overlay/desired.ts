// What the overlay should be, row by row, as nodes, underlay and device are known now; a row stays the same object while it says the same.
import { NODES_MAX } from '@sinabro/libbpf-ts/layouts'
import type { NodeRow } from '../cluster/rows.ts'
import type { DatapathMaps } from '../datapath/maps.ts'
import type { Table } from '../state/table.ts'
import {
  computeNarrowRoutes,
  computeNeighbours,
  computeOverlay,
  computeRoutes,
  computeVacantRoutes,
  mtuOver,
  type OverlayOptions,
} from './compute.ts'
import type { OverlayDeviceRow } from './device.ts'
import { computeIds, type IdState } from './ids.ts'
import { Memo } from './memo.ts'
import type { OwnRangeRow } from './own-range-target.ts'
import { readUsedIds } from './peer-target.ts'
import type {
  OverlayFdbRow,
  OverlayNeighbourRow,
  OverlayPlan,
  OverlayProblem,
  OverlayRouteRow,
  PeerMapRow,
  PeerRange,
  PeerRouteRow,
  PeerRow,
  TunnelMode,
} from './rows.ts'
import type { UnderlayState, Way } from './underlay.ts'
import type { UplinksState } from './uplinks.ts'

export interface DesiredOptions extends OverlayOptions {
  readonly nodes: Table<NodeRow>
  readonly underlay: { readonly state: UnderlayState | undefined }
  readonly uplinks: { readonly state: Pick<UplinksState, 'problems'> }
  /** The overlay device, once it stands; and that for direct server return in mode none. */
  readonly standing: { readonly index: number | undefined; readonly dsrIndex: number | undefined }
  /** Read once, for the numbers that an earlier agent gave. */
  readonly maps: Pick<DatapathMaps, 'nodes' | 'nodeIds'>
  readonly tunnelPort: number
  readonly vni: number
  /** Mode none has a device for direct server return. */
  readonly hasDsrDevice: boolean
}

export class DesiredOverlay {
  readonly #options: DesiredOptions
  readonly #peers = new Memo<NodeRow, PeerRow>()
  readonly #mapRows = new Memo<PeerRow, PeerMapRow>()
  readonly #neighbours = new Memo<PeerRow, OverlayNeighbourRow[]>()
  readonly #fdb = new Memo<PeerRow, OverlayFdbRow>()
  readonly #routes = new Memo<PeerRow, PeerRouteRow[]>()
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
    return [...this.plan().problems, ...this.#distant(), ...full, ...unfit]
  }

  /** Without a tunnel: ranges that are not reached, because a router is between here and their node. */
  #distant(): OverlayProblem[] {
    const { tunnel, underlay } = this.#options
    const { ways } = underlay.state ?? {}
    if (tunnel !== 'none' || ways === undefined) return []
    return this.plan().peers.flatMap(({ name: node, ranges }) =>
      ranges.flatMap(({ prefix, gateway }): OverlayProblem[] => {
        const way = ways.get(gateway)
        if (isOnLink(way)) return []
        const what = way === undefined ? 'no route leads there' : `the way there is by ${way.via}`
        const message = `no route to its range ${prefix}: ${gateway} is not on the same link (${what})`
        return [{ node, code: 'not-on-link', message }]
      }),
    )
  }

  /** Largest IP packet of a pod; undefined until the underlay is known. */
  podMtu(): number | undefined {
    const { self } = this.plan()
    const underlay = this.#options.underlay.state
    if (self === undefined || underlay === undefined) return undefined
    return this.#mtuOver(underlay.mtu)
  }

  #mtuOver(underlayMtu: number, tunnel: TunnelMode = this.#options.tunnel): number {
    return mtuOver(underlayMtu, tunnel, this.plan().self?.tunnelFamily ?? 4)
  }

  /** Addresses of peers that a way is looked for to. */
  wayAddresses(): string[] {
    return this.plan().peers.flatMap((peer) => this.#addressesOf(peer))
  }

  /** Those that pods' packets for the peer go to. */
  #addressesOf({ tunnelAddress, ranges }: PeerRow): string[] {
    const { tunnel, hasDsrDevice } = this.#options
    if (tunnel !== 'none') return [tunnelAddress]
    const gateways = ranges.map(({ gateway }) => gateway)
    return [...new Set(hasDsrDevice ? [...gateways, tunnelAddress] : gateways)]
  }

  #wayMtu(underlay: UnderlayState, peer: PeerRow): number {
    const { mtu, ways } = underlay
    const mtus = this.#addressesOf(peer).map((address) => ways.get(address)?.mtu ?? mtu)
    return mtus.length === 0 ? mtu : Math.min(...mtus)
  }

  deviceRows(): OverlayDeviceRow[] {
    const { self } = this.plan()
    const underlay = this.#options.underlay.state
    if (self === undefined || underlay === undefined) return []
    const { tunnel, tunnelPort: port, vni, hasDsrDevice } = this.#options
    const { overlayMac: mac, tunnelAddress, tunnelFamily: dsrFamily, ownAddresses } = self
    const common = { mac, mtu: this.#mtuOver(underlay.mtu), addresses: ownAddresses }
    if (tunnel !== 'none') return [{ tunnel, ...common, port, vni, tunnelAddress }]
    const own = { tunnel, ...common, port, uplink: underlay.index } as const
    if (!hasDsrDevice) return [own]
    const mtu = this.#mtuOver(underlay.mtu, 'bpf')
    const device = { tunnel: 'bpf', mac, mtu, addresses: [], port, vni, tunnelAddress } as const
    return [
      { ...own, dsrFamily },
      { ...device, isForDsr: true },
    ]
  }

  peerRows(): PeerMapRow[] {
    const { self, peers } = this.plan()
    const underlay = this.#options.underlay.state
    if (self === undefined || underlay === undefined) return []
    const ids = this.#assignIds(peers)
    return peers.flatMap((peer) => {
      const id = ids.get(peer.name)
      if (id === undefined) return []
      const mtu = this.#mtuOver(this.#wayMtu(underlay, peer))
      const { tunnelAddress, overlayMac, nodeAddresses } = peer
      const takesDsr = this.#options.hasDsrDevice && peer.takesDsr
      const reached = this.#reached(underlay, peer)
      const isOnUplink =
        this.#options.tunnel === 'none' &&
        reached.every(({ gateway }) => underlay.ways.get(gateway)?.index === underlay.index)
      const prefixes = reached.map(({ prefix }) => prefix)
      return this.#mapRows.get(peer, `${id} ${mtu} ${isOnUplink} ${takesDsr} ${prefixes}`, () => {
        const known = { id, tunnelAddress, overlayMac, mtu, nodeAddresses }
        return { ...known, isOnUplink, takesDsr, prefixes }
      })
    })
  }

  /** Ranges of the peer that packets have a way to. */
  #reached({ ways }: UnderlayState, { ranges }: PeerRow): readonly PeerRange[] {
    if (this.#options.tunnel !== 'none') return ranges
    return ranges.filter(({ gateway }) => isOnLink(ways.get(gateway)))
  }

  ownRangeRows(): OwnRangeRow[] {
    return (this.plan().self?.ranges ?? []).map((prefix) => ({ prefix }))
  }

  /** With a tunnel only: on the link the kernel finds its neighbours itself. */
  neighbourRows(): OverlayNeighbourRow[] {
    const { index } = this.#options.standing
    if (index === undefined || this.#options.tunnel === 'none') return []
    return this.plan().peers.flatMap((peer) =>
      this.#neighbours.get(peer, `${index}`, () => computeNeighbours(peer, index)),
    )
  }

  fdbRows(): OverlayFdbRow[] {
    const { index } = this.#options.standing
    if (index === undefined) return []
    return this.plan().peers.map((peer) =>
      this.#fdb.get(peer, `${index}`, () => {
        return { index, mac: peer.overlayMac, dst: peer.tunnelAddress }
      }),
    )
  }

  routeRows(): OverlayRouteRow[] {
    const { self, peers } = this.plan()
    const { index } = this.#options.standing
    const underlay = this.#options.underlay.state
    if (self === undefined || underlay === undefined || index === undefined) return []
    const toPeers = peers.flatMap((peer) => {
      const way = this.#wayMtu(underlay, peer)
      const mtu = way < underlay.mtu ? { mtu: this.#mtuOver(way) } : {}
      const ranges = this.#reached(underlay, peer)
      const at = ranges.map(({ gateway }) =>
        this.#options.tunnel === 'none' ? underlay.ways.get(gateway)?.index : index,
      )
      return this.#routes.get(peer, `${self.ownAddresses} ${at} ${mtu.mtu}`, () =>
        ranges.flatMap((range, i) =>
          computeRoutes(self, { ranges: [range] }, { index: at[i] ?? index, ...mtu }),
        ),
      )
    })
    return [...toPeers, ...this.#narrowRoutes(underlay), ...computeVacantRoutes(self)]
  }

  #narrowRoutes(underlay: UnderlayState): PeerRouteRow[] {
    const { self, peers } = this.plan()
    const { dsrIndex: index } = this.#options.standing
    if (self === undefined || index === undefined || !this.#options.hasDsrDevice) return []
    const narrowest = Math.min(underlay.mtu, ...peers.map((peer) => this.#wayMtu(underlay, peer)))
    return computeNarrowRoutes(self, { index, mtu: this.#mtuOver(narrowest, 'bpf') })
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

function isOnLink(way: Way | undefined): boolean {
  return way !== undefined && way.via === undefined
}
