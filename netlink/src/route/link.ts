// Network devices as this package shows them: what a list returns, what an add and a change take.
import type { UnknownAttribute } from '../codec/attrs.ts'
import type { NetworkNamespace } from '../namespace.ts'

/** RFC 2863; 'unknown' is what devices say that do not track their carrier (loopback, vxlan, tun). */
export type OperState =
  | 'unknown'
  | 'notpresent'
  | 'down'
  | 'lowerlayerdown'
  | 'testing'
  | 'dormant'
  | 'up'

/** How a device makes its IPv6 link-local address: 'none' makes no address. */
export type AddrGenMode = 'eui64' | 'none' | 'stable-privacy' | 'random'

export interface LinkStatistics {
  readonly rxPackets: bigint
  readonly txPackets: bigint
  readonly rxBytes: bigint
  readonly txBytes: bigint
  readonly rxErrors: bigint
  readonly txErrors: bigint
  readonly rxDropped: bigint
  readonly txDropped: bigint
}

/** Options of a vxlan device. */
export interface VxlanOptions {
  /** VXLAN network identifier, 0 to 16,777,215. Must be absent or 0 with `collectMetadata`. */
  readonly vni?: number | undefined
  /** Outer UDP destination port. The kernel's own default is 8472, not the 4789 of the standard. */
  readonly port?: number | undefined
  /** Tunnel key per packet, set by a route or a BPF program, instead of one VNI per device. */
  readonly collectMetadata?: boolean | undefined
  /** Learn from received packets which MAC lives behind which node. */
  readonly learning?: boolean | undefined
  /** Outer source address; decides the outer family. */
  readonly local?: string | undefined
  /** Outer destination for what has no FDB entry: a multicast group or one peer. */
  readonly remote?: string | undefined
  /** Index of the device the outer packets leave by. */
  readonly device?: number | undefined
  /** Outer TTL; 0 inherits from the route. */
  readonly ttl?: number | undefined
  readonly tos?: number | undefined
  /** UDP checksum of outer IPv4. */
  readonly udpChecksum?: boolean | undefined
  readonly udp6ZeroChecksumTx?: boolean | undefined
  readonly udp6ZeroChecksumRx?: boolean | undefined
  /** Range of outer UDP source ports. */
  readonly sourcePorts?: { readonly low: number; readonly high: number } | undefined
  /** Group Based Policy extension; in collect-metadata mode it is part of what makes two devices clash. */
  readonly gbp?: true | undefined
  readonly agingSec?: number | undefined
  readonly limit?: number | undefined
  readonly unknown?: readonly UnknownAttribute[] | undefined
}

/** Options of a bridge device. Times are whole centiseconds, as in the kernel (USER_HZ). */
export interface BridgeOptions {
  readonly stpState?: number | undefined
  readonly vlanFiltering?: boolean | undefined
  readonly multicastSnooping?: boolean | undefined
  readonly forwardDelayCs?: number | undefined
  readonly helloTimeCs?: number | undefined
  readonly maxAgeCs?: number | undefined
  readonly agingTimeCs?: number | undefined
  readonly priority?: number | undefined
  readonly groupForwardMask?: number | undefined
  readonly unknown?: readonly UnknownAttribute[] | undefined
}

/**
 * Who a macvlan device talks to: 'bridge' its siblings too, 'private' none of them, 'vepa' them by way of the switch outside,
 * 'passthru' is alone on its lower device, 'source' hears only MACs from a list.
 */
export type MacvlanMode = 'private' | 'vepa' | 'bridge' | 'passthru' | 'source'

export interface MacvlanOptions {
  readonly mode?: MacvlanMode | number | undefined
  /** MACVLAN_FLAG_*. */
  readonly flags?: number | undefined
  readonly unknown?: readonly UnknownAttribute[] | undefined
}

/** What becomes of packets that no program judges. */
export type NetkitPolicy = 'pass' | 'blackhole'

/**
 * Options of a netkit pair (Linux 6.7). Programs are attached to the primary end only, for both; each runs where packets are sent:
 * the primary's on what enters the peer, the peer's on what leaves it.
 */
export interface NetkitOptions {
  /** 'l2' has MAC addresses and asks for neighbours; 'l3' (the kernel's default) carries bare packets. */
  readonly mode?: 'l2' | 'l3' | number | undefined
  /** Of the primary end. The kernel's default is 'pass', for both. */
  readonly policy?: NetkitPolicy | number | undefined
  readonly peerPolicy?: NetkitPolicy | number | undefined
  readonly unknown?: readonly UnknownAttribute[] | undefined
}

/** Options of a VLAN device. */
export interface VlanOptions {
  /** VLAN id, 0 to 4094. */
  readonly id?: number | undefined
  /** The kernel's default is '802.1q'. */
  readonly protocol?: '802.1q' | '802.1ad' | number | undefined
  readonly unknown?: readonly UnknownAttribute[] | undefined
}

/** How a bond spreads what it sends over its ports. */
export type BondMode =
  | 'balance-rr'
  | 'active-backup'
  | 'balance-xor'
  | 'broadcast'
  | '802.3ad'
  | 'balance-tlb'
  | 'balance-alb'

/** Options of a bond device. A port is down when it is added (`masterIndex`), and its bond's from then on. */
export interface BondOptions {
  readonly mode?: BondMode | number | undefined
  /** Index of the port in use, in the modes that have one. */
  readonly activePort?: number | undefined
  /** How often the ports' links are looked at; 0 is never, the kernel's default in most modes. */
  readonly miimonMs?: number | undefined
  readonly unknown?: readonly UnknownAttribute[] | undefined
}

/** Options of a VRF device. */
export interface VrfOptions {
  /** The routing table of what belongs to it. */
  readonly table?: number | undefined
  readonly unknown?: readonly UnknownAttribute[] | undefined
}

export interface Link {
  readonly index: number
  readonly name: string
  readonly altNames: readonly string[]
  /** 'veth', 'vxlan', 'bridge', …; absent on devices no one created over netlink (loopback, hardware). */
  readonly kind?: string
  /** ARPHRD_*: 1 Ethernet, 772 loopback. */
  readonly type: number
  readonly alias?: string
  readonly mac?: string
  readonly mtu: number
  /** Switched on by someone (IFF_UP). */
  readonly isUp: boolean
  /** IFF_LOWER_UP: the wire is there; of a veth, the other end is up. */
  readonly hasCarrier: boolean
  readonly operState: OperState | number
  /** IFF_* bits as they came. */
  readonly flags: number
  readonly group: number
  readonly txQueueLen?: number
  readonly txQueues?: number
  readonly rxQueues?: number
  /** Index of the bridge, bond or VRF this device belongs to. */
  readonly masterIndex?: number
  /** IFLA_LINK: the other end of a veth or netkit, the device under a tunnel or macvlan. In the namespace `peerNetnsId` when that is set. */
  readonly peerIndex?: number
  /** Id of the peer's namespace as this one numbers it; absent when the peer is here. */
  readonly peerNetnsId?: number
  /** The program that every packet meets before the kernel's stack, in whichever mode. */
  readonly xdpProgramId?: number
  readonly addrGenMode?: AddrGenMode | number
  readonly statistics?: LinkStatistics
  readonly vxlan?: VxlanOptions
  readonly bridge?: BridgeOptions
  readonly macvlan?: MacvlanOptions
  readonly netkit?: NetkitOptions & { readonly isPrimary?: boolean | undefined }
  readonly vlan?: VlanOptions
  readonly bond?: BondOptions
  readonly vrf?: VrfOptions
  /** IFLA_INFO_DATA of a kind not described here. */
  readonly kindData?: Uint8Array
  /** Attributes not described here, as they came. */
  readonly unknown: readonly UnknownAttribute[]
}

/** Names the one link meant. An index never means another link later; a name may. */
export type LinkRef = number | { readonly index: number } | { readonly name: string }

interface NewLink {
  /** At most 15 bytes (IFNAMSIZ). */
  readonly name: string
  readonly mac?: string | undefined
  readonly mtu?: number | undefined
  readonly isUp?: boolean | undefined
  readonly group?: number | undefined
  readonly txQueueLen?: number | undefined
  /** Absent: what the driver likes, which for veth is one for each possible CPU. */
  readonly txQueues?: number | undefined
  readonly rxQueues?: number | undefined
  readonly masterIndex?: number | undefined
  /** Where the device is born; absent: in the namespace of the socket. */
  readonly netns?: NetworkNamespace | undefined
  /** Up to 255 bytes. Set right after creation, as the kernel ignores it there. */
  readonly alias?: string | undefined
  /** Set after creation and before the device goes up. */
  readonly addrGenMode?: AddrGenMode | undefined
}

/** The other end of a pair. */
export interface VethPeer {
  readonly name: string
  readonly netns?: NetworkNamespace | undefined
  readonly mac?: string | undefined
  readonly mtu?: number | undefined
  /**
   * The kernel refuses this at creation, so it takes a request of its own; with `netns` over a short-lived socket there. Who has
   * a socket there anyway is quicker with `links.set()`.
   */
  readonly isUp?: boolean | undefined
  readonly group?: number | undefined
  readonly txQueueLen?: number | undefined
  readonly txQueues?: number | undefined
  readonly rxQueues?: number | undefined
}

export interface VethSpec extends NewLink {
  readonly kind: 'veth'
  readonly peer: VethPeer
}

/** This end is the primary. The other one goes up in a request of its own: `peer.isUp` is for veth. */
export interface NetkitSpec extends NewLink, NetkitOptions {
  readonly kind: 'netkit'
  readonly peer: Omit<VethPeer, 'isUp'>
}

export interface VxlanSpec extends NewLink, VxlanOptions {
  readonly kind: 'vxlan'
}

export interface BridgeSpec extends NewLink, BridgeOptions {
  readonly kind: 'bridge'
}

/** Intermediate functional block: what is redirected to it waits in its queue, and goes on where it came from. */
export interface IfbSpec extends NewLink {
  readonly kind: 'ifb'
}

/** A device of its own MAC on another device. */
export interface MacvlanSpec extends NewLink, MacvlanOptions {
  readonly kind: 'macvlan'
  /** The device under it, in the namespace of the socket wherever the new one is born. */
  readonly lowerIndex: number
}

/** One VLAN of another device. */
export interface VlanSpec extends NewLink, VlanOptions {
  readonly kind: 'vlan'
  readonly id: number
  /** The device under it, in the namespace of the socket wherever the new one is born. */
  readonly lowerIndex: number
}

export interface BondSpec extends NewLink, BondOptions {
  readonly kind: 'bond'
}

export interface VrfSpec extends NewLink, VrfOptions {
  readonly kind: 'vrf'
  readonly table: number
}

/** Drops what is sent; there to carry addresses. */
export interface DummySpec extends NewLink {
  readonly kind: 'dummy'
}

export type LinkSpec =
  | VethSpec
  | NetkitSpec
  | VxlanSpec
  | BridgeSpec
  | IfbSpec
  | MacvlanSpec
  | VlanSpec
  | BondSpec
  | VrfSpec
  | DummySpec

/** Absent leaves as it is; null clears. */
export interface LinkChange {
  readonly name?: string | undefined
  readonly alias?: string | null | undefined
  readonly mac?: string | undefined
  readonly mtu?: number | undefined
  readonly isUp?: boolean | undefined
  readonly group?: number | undefined
  readonly txQueueLen?: number | undefined
  readonly masterIndex?: number | null | undefined
  readonly addrGenMode?: AddrGenMode | undefined
  /** Moves the device; it loses its addresses and goes down. */
  readonly netns?: NetworkNamespace | undefined
  readonly isPromiscuous?: boolean | undefined
  readonly vxlan?: VxlanOptions | undefined
  readonly bridge?: BridgeOptions | undefined
  readonly macvlan?: MacvlanOptions | undefined
}

export interface LinkFilter {
  readonly kind?: string | undefined
  readonly masterIndex?: number | undefined
}
