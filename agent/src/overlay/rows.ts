// What should be true for the overlay: this node's end of it, and one row per other node.

export type Family = 4 | 6

/** How pods reach those of other nodes: a VXLAN device fed by our programs, one fed by the kernel's tables, or routes alone. */
export type TunnelMode = 'bpf' | 'kernel' | 'none'

/** This node in the overlay. */
export interface SelfRow {
  readonly name: string
  /** What others know us by; with a tunnel the outer source of what we send. */
  readonly tunnelAddress: string
  readonly tunnelFamily: Family
  readonly overlayMac: string
  /** Every InternalIP of this node. */
  readonly nodeAddresses: readonly string[]
  readonly ranges: readonly string[]
  /** This node's own addresses in the pod network, one per family: the first address of each range. */
  readonly ownAddresses: readonly string[]
}

export interface PeerRow {
  readonly name: string
  /** With a tunnel the outer destination. */
  readonly tunnelAddress: string
  readonly overlayMac: string
  /** Every InternalIP: packets with one of these as outer source come from this node. */
  readonly nodeAddresses: readonly string[]
  readonly ranges: readonly PeerRange[]
  /** Without a tunnel: it has a device for what others are asked and send on as it is. */
  readonly takesDsr: boolean
}

export interface PeerRange {
  readonly family: Family
  readonly prefix: string
  /** By which we route it: the peer's own address in this range, or without a tunnel its InternalIP of this family. */
  readonly gateway: string
}

export interface OverlayProblem {
  readonly node: string
  readonly code:
    | 'no-tunnel-address'
    | 'no-range'
    | 'no-common-family'
    | 'not-on-link'
    | 'duplicate-address'
    | 'too-many-nodes'
    | 'uplink'
  readonly message: string
}

export interface OverlayPlan {
  /** Absent while this node cannot take part; `problems` says why. */
  readonly self?: SelfRow
  readonly peers: readonly PeerRow[]
  readonly problems: readonly OverlayProblem[]
}

export interface RouteAt {
  /** Of the device it leaves by. */
  readonly index: number
  /** Only when the way to the peer carries less than that device. */
  readonly mtu?: number
}

/** A kernel route to a range of a peer. */
export interface PeerRouteRow extends RouteAt {
  readonly type: 'unicast'
  readonly dst: string
  readonly via: string
  readonly prefsrc: string
}

/** Addresses of a range of our own that no pod has: answered by this node instead of sent to its default route. */
export interface VacantRouteRow {
  readonly type: 'unreachable'
  readonly dst: string
}

export type OverlayRouteRow = PeerRouteRow | VacantRouteRow

export interface OverlayNeighbourRow {
  /** Of the overlay device. */
  readonly index: number
  readonly address: string
  readonly mac: string
}

/** Which tunnel address is behind a MAC, for the kernel's VXLAN device. */
export interface OverlayFdbRow {
  /** Of the overlay device. */
  readonly index: number
  readonly mac: string
  readonly dst: string
}

/** What the maps hold of one peer. */
export interface PeerMapRow {
  readonly id: number
  readonly tunnelAddress: string
  readonly overlayMac: string
  /** Largest IP packet that reaches a pod there. */
  readonly mtu: number
  /** Without a tunnel, and by the link that this node is known by: pods' packets need not pass the stack. */
  readonly isOnUplink: boolean
  /** Without a tunnel: clients' packets may go there as they are (ADR 0093). */
  readonly takesDsr: boolean
  readonly nodeAddresses: readonly string[]
  /** Ranges that are reached. */
  readonly prefixes: readonly string[]
}
