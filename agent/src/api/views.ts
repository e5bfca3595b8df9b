// Shapes of what the agent tells about its rooms over the socket, and what `--output json` prints. Members are added, never renamed.
import type { MasqueradeMode } from '../masquerade/rows.ts'
import type { TunnelMode } from '../overlay/rows.ts'

export interface PodRef {
  readonly namespace: string
  readonly name: string
}

export interface AddressesView {
  readonly ranges: readonly RangeView[]
  readonly addresses: readonly AddressView[]
  /** Of records that could not be read: given to nobody. */
  readonly keptOutOfUse: readonly KeptView[]
}

export interface RangeView {
  readonly range: string
  /** This node's own in the pod network. */
  readonly nodeAddress: string
  readonly used: number
  readonly capacity: number
}

export interface AddressView {
  readonly address: string
  /** The range it is of; absent when it was given from an earlier one. */
  readonly range?: string
  readonly pod: PodRef
  readonly network: string
  readonly containerId: string
  readonly ifname: string
  /** ISO 8601. */
  readonly since: string
}

export interface KeptView {
  readonly addresses: readonly string[]
  readonly file: string
  readonly reason: string
}

export interface NodeView {
  readonly name: string
  readonly isSelf: boolean
  readonly podCIDRs: readonly string[]
  readonly internalIPs: readonly string[]
  /** Outer address of the tunnel. */
  readonly tunnelAddress?: string
  /** Largest IP packet that reaches pods there. */
  readonly mtu?: number
  /** How its pods are reached: 'self', 'tunnel', 'direct' by the link, or 'none' when they are not; `message` says why. */
  readonly way: 'self' | 'tunnel' | 'direct' | 'none'
  /** The tunnel mode of the node that was asked; those of others it does not know. */
  readonly mode: TunnelMode
  readonly message?: string
}

export interface MasqueradeView {
  readonly mode: MasqueradeMode
  /** New flows are translated by our programs; in mode ebpf false until all that they need is known. */
  readonly isTranslating: boolean
  /** 'FIRST-LAST', as `reservedPorts` separated by commas. */
  readonly ports: string
  readonly reservedPorts: string
  /** ip_local_reserved_ports of the kernel is not understood, and counts as empty. */
  readonly isReservedUnknown: boolean
  /** Ports that are left of them towards each destination. */
  readonly capacity: number
  readonly uplinks: readonly UplinkView[]
  /** Of the settings; pod ranges always are. */
  readonly keptRanges: readonly string[]
  /** Rows of the map with what our programs leave to the kernel. */
  readonly keptEntries: number
  /** Addresses of pods that keep theirs. */
  readonly exempt: readonly string[]
  /** The fullest. */
  readonly pools: readonly PoolView[]
  readonly poolCount: number
  /** As of the latest sweep, as `translatedRows`; a flow has two. */
  readonly flowRows: number
  readonly translatedRows: number
  readonly flowCapacity: number
}

export interface UplinkView {
  readonly name: string
  readonly index: number
  readonly source4?: string
  readonly source6?: string
  readonly mtu: number
  readonly isUp: boolean
  /** Its packets have no Ethernet header. */
  readonly isL3: boolean
}

/** The ports of one address of the node towards one destination. */
export interface PoolView {
  readonly address: string
  readonly to: string
  /** 0 for ICMP. */
  readonly port: number
  readonly protocol: string
  /** As of the latest sweep. */
  readonly used: number
  readonly capacity: number
  /** New flows that got no port. */
  readonly failed: number
}

export interface ProgramsView {
  /** Loaded by this agent. */
  readonly programs: readonly ProgramView[]
  readonly mode: TunnelMode
  /** On devices of ours and on uplinks, in the order they run at each hook. */
  readonly attached: readonly AttachedView[]
}

export interface ProgramView {
  readonly name: string
  readonly id: number
  readonly type: string
  readonly verifiedInstructions: number
  readonly jitedBytes: number
  /** 0 unless the kernel measures: `sysctl kernel.bpf_stats_enabled=1`. */
  readonly runs: number
  readonly runTimeNs: number
}

export interface AttachedView {
  readonly device: string
  /** What the device's alias says of whose it is; 'uplink' for those of the node. */
  readonly of: string
  /** As the host sees it: ingress is what comes out of the pod or the tunnel. */
  readonly direction: 'ingress' | 'egress'
  readonly way: 'xdp' | 'tcx' | 'clsact' | 'netkit'
  readonly programId: number
  /** Absent when this agent did not load it. */
  readonly program?: string
  /** 'current', 'earlier' for one that an earlier agent attached, 'foreign' for other people's. */
  readonly state: 'current' | 'earlier' | 'foreign'
}

export interface FlowsView {
  readonly flows: readonly FlowView[]
  /** How many matched; more than are listed if `flows` was cut off at the limit. */
  readonly matched: number
  /** Rows looked at; a connection has two. */
  readonly rows: number
}

/**
 * TCP: 'opening' before an answer, 'closing' when one side has finished, 'closed' when both have or one has reset. Anything else
 * has only been answered or not.
 */
export const FLOW_STATES = [
  ...(['opening', 'established', 'closing', 'closed'] as const),
  ...(['unreplied', 'replied'] as const),
] as const
export type FlowState = (typeof FLOW_STATES)[number]

export interface FlowView {
  /** 'tcp', 'udp', 'icmp', 'icmpv6', or the number. */
  readonly protocol: string
  readonly source: FlowEnd
  readonly destination: FlowEnd
  /** What the destination sees instead of the source, if that is translated. */
  readonly as?: FlowEnd
  /** Who answers for the destination, if that is a service's address. */
  readonly backend?: FlowEnd
  readonly state: FlowState
  /** Of packets towards the destination: 'local', 'stack', 'out' by an uplink, or the name of the node they go to. */
  readonly way: string
  readonly ageSec: number
  /** Since the last packet of either direction. */
  readonly idleSec: number
}

export interface FlowEnd {
  readonly address: string
  /** 0 for protocols without ports; the id for echo requests. */
  readonly port: number
  readonly pod?: PodRef
}

export interface ServicesView {
  /** By the key: those of host ports, which begin with 'hostport:', last. */
  readonly services: readonly ServiceView[]
}

export interface ServiceView {
  /** 'namespace/name'; of host ports 'hostport:namespace/pod'. */
  readonly name: string
  /** 'HostPort' for those; absent while the Service object is not known. */
  readonly type?: string
  readonly clusterIPs: readonly string[]
  readonly ports: readonly ServicePortView[]
  readonly healthCheckNodePort?: number
  /** What of it could not be served, and why. */
  readonly problems: readonly string[]
}

/** One port in one family; two where traffic from inside and outside is told apart beyond the lists. */
export interface ServicePortView {
  readonly name: string
  readonly protocol: string
  readonly frontends: readonly FrontendView[]
  /** For pods and processes of this node. */
  readonly internal: readonly BackendView[]
  /** For what comes from outside; absent where it is the same. */
  readonly external?: readonly BackendView[]
  /** Backends of this node only. */
  readonly internalTrafficPolicy: 'Cluster' | 'Local'
  readonly externalTrafficPolicy: 'Cluster' | 'Local'
  /** How long a client that asks again comes to the same one. */
  readonly affinitySec?: number
  /** Who may ask the load balancer's addresses; absent: everybody. */
  readonly sourceRanges?: readonly string[]
}

export interface FrontendView {
  readonly kind: 'ClusterIP' | 'NodePort' | 'ExternalIP' | 'LoadBalancer' | 'HostPort'
  /** '0.0.0.0' and '::': every address of the node. */
  readonly address: string
  readonly port: number
}

export interface BackendView {
  readonly address: string
  readonly port: number
  readonly pod?: PodRef
  readonly nodeName?: string
  readonly isOnThisNode: boolean
  /** Asked only because nothing else is left. */
  readonly isTerminating: boolean
}

export interface BackendsView {
  readonly backends: readonly BackendRowView[]
  /** More than are listed if those were cut off at the limit. */
  readonly matched: number
}

/** A row of the map; what the lists say of it. */
export interface BackendRowView {
  readonly id: number
  readonly address: string
  readonly port: number
  readonly protocol: string
  readonly pod?: PodRef
  readonly nodeName?: string
  readonly isTerminating: boolean
  /** Names of those that have it in a list; none: it is about to go. */
  readonly services: readonly string[]
}

/** What a new connection meets. */
export interface ExplanationView {
  readonly address: string
  readonly port: number
  readonly protocol: string
  readonly from: ExplainedFrom
  /**
   * 'chosen': one of `backends`. 'refused': answered with a reset or port unreachable. 'dropped': no answer. 'none': no service's, goes on
   * as it is.
   */
  readonly outcome: 'chosen' | 'refused' | 'dropped' | 'none'
  /** In words. */
  readonly why: string
  readonly service?: string
  readonly portName?: string
  readonly frontend?: FrontendView
  readonly list?: 'internal' | 'external'
  readonly backends: readonly ChanceView[]
  /** Endpoints that are not in the list. */
  readonly others: readonly OtherView[]
}

export interface ExplainedFrom {
  /** A process of this node, a pod of it, or something else that packets come from. */
  readonly kind: 'node' | 'pod' | 'outside'
  readonly address?: string
  /** Where one was given: it counts for consistent hashing. */
  readonly port?: number
  readonly pod?: PodRef
}

export interface ChanceView extends Omit<BackendView, 'isOnThisNode'> {
  readonly id: number
  /** From 0 to 1. */
  readonly chance: number
  /** This caller had it and comes back to it. */
  readonly isKept: boolean
  /** Of a caller outside. */
  readonly forwarding?: Forwarding
}

/**
 * kept: a pod or process of this node, which sees the caller's address. dsr: one of another node, which sees it too and answers past
 * this one (direct server return). snat: asked in this node's name.
 */
export type Forwarding = 'kept' | 'dsr' | 'snat'

export interface OtherView {
  readonly address: string
  readonly port: number
  readonly pod?: PodRef
  readonly nodeName?: string
  readonly why: string
}
