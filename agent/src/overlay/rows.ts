// What should be true for the overlay: this node's end of it, and one row per other node.

export type Family = 4 | 6

/** This node in the overlay. */
export interface SelfRow {
  readonly name: string
  /** Outer source of what we send, and what others know us by. */
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
  /** Outer destination. */
  readonly tunnelAddress: string
  readonly overlayMac: string
  /** Every InternalIP: packets with one of these as outer source come from this node. */
  readonly nodeAddresses: readonly string[]
  readonly ranges: readonly PeerRange[]
}

export interface PeerRange {
  readonly family: Family
  readonly prefix: string
  /** The peer's own address in this range, by which we route the rest of it. */
  readonly gateway: string
}

export interface OverlayProblem {
  readonly node: string
  readonly code:
    | 'no-tunnel-address'
    | 'no-range'
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
export interface OverlayRouteRow extends RouteAt {
  readonly dst: string
  readonly via: string
  readonly prefsrc: string
}

export interface OverlayNeighbourRow {
  /** Of the overlay device. */
  readonly index: number
  readonly address: string
  readonly mac: string
}

/** What the maps hold of one peer. */
export interface PeerMapRow {
  readonly id: number
  readonly tunnelAddress: string
  readonly overlayMac: string
  /** Largest IP packet the tunnel to it carries. */
  readonly mtu: number
  readonly nodeAddresses: readonly string[]
  readonly prefixes: readonly string[]
}
