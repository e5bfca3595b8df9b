// One codec per struct of bpf/lib/types.h, in its order; a test compares both with the objects' BTF.
import {
  affinity,
  affinityKey,
  backend,
  service,
  serviceConfig,
  serviceKey,
  slot,
  slotKey,
  sockPeer,
  sourceRangeKey,
  staleSocket,
} from './service-layouts.ts'
import { addr, be16, be32, type Infer, mac, pad, struct, u8, u16, u32, u64 } from './struct.ts'

export * from './service-layouts.ts'

/** Version of all layouts together: part of the pin path, moves when any of them changes. */
export const LAYOUT_VERSION = 2

/** Maps every object shares by pin, by their kernel names. */
export const MAP_NAMES = {
  config: 'sb_config',
  endpoints: 'sb_endpoints',
  nodes: 'sb_nodes',
  nodeIds: 'sb_node_ids',
  ipcache: 'sb_ipcache',
  flows: 'sb_flows',
  lent: 'sb_lent',
  fragments: 'sb_fragments',
  uplinks: 'sb_uplinks',
  reserved: 'sb_reserved',
  pools: 'sb_pools',
  counters: 'sb_counters',
  timeouts: 'sb_timeouts',
  services: 'sb_services',
  slots: 'sb_slots',
  backends: 'sb_backends',
  backendIds: 'sb_backend_ids',
  nodeAddrs: 'sb_node_addrs',
  sourceRanges: 'sb_src_ranges',
  affinity: 'sb_affinity',
  maglev: 'sb_maglev',
  serviceConfig: 'sb_svc_config',
  sockets: 'sb_sock',
  furtherPeers: 'sb_sock_further',
} as const

/** Rows of sb_nodes: ids are 1 … NODES_MAX - 1, and 0 means "no node". */
export const NODES_MAX = 16384

export const CONFIG_READY = 1 << 0
export const CONFIG_TUNNEL_IPV6 = 1 << 1
export const CONFIG_NATIVE = 1 << 2
export const CONFIG_MASQUERADE = 1 << 3
export const CONFIG_TRANSLATED = 1 << 4
export const CONFIG_FIB_SOURCE = 1 << 5
export const CONFIG_CSUM_IPV6 = 1 << 6
export const CONFIG_SERVICES = 1 << 7
export const CONFIG_DSR = 1 << 8
/** XOR `vni`: what nodes are asked from outside and send on untranslated. */
export const DSR_VNI = 0x80_0000
export const CONFIG_MAGLEV = 1 << 10

/** The one row (key 0) of sb_config. `tunnelLocal…` all zero ('::') leaves the choice to the kernel. */
export const config = struct('config', {
  generation: u32,
  flags: u32,
  ownNode: u32,
  overlayIfindex: u32,
  vni: u32,
  overlayMac: mac,
  tunnelPort: be16,
  uplinkIfindex: u32,
  tunnelLocal4: addr,
  tunnelLocal6: addr,
  portMin: u16,
  portMax: u16,
  pad: pad(4),
})
export type Config = Infer<typeof config>

export const UPLINK_L3 = 1 << 0

/** Value of sb_uplinks, whose key is the ifindex (u32). A source that is all zero ('::') is none. */
export const uplink = struct('uplink', {
  source4: addr,
  source6: addr,
  mtu: u32,
  flags: u32,
})
export type Uplink = Infer<typeof uplink>

/** Rows (u64) of sb_reserved: bit port % 64 of row port / 64. */
export const RESERVED_ROWS = 1024

export const ENDPOINT_LOCAL_POD = 1 << 0
export const ENDPOINT_NODE_OWN = 1 << 1
export const ENDPOINT_SHAPED = 1 << 2
export const ENDPOINT_NETKIT = 1 << 3
export const ENDPOINT_KEEPS_ADDRESS = 1 << 4

/** Value of sb_endpoints, whose key is `addr`. */
export const endpoint = struct('endpoint', {
  ifindex: u32,
  id: u32,
  incarnation: u32,
  flags: u32,
  podMac: mac,
  hostMac: mac,
  mtu: u32,
})
export type Endpoint = Infer<typeof endpoint>

export const NODE_VALID = 1 << 0
export const NODE_ON_UPLINK = 1 << 1
export const NODE_TAKES_DSR = 1 << 2

/** Value of sb_nodes, whose key is the node id (u32). sb_node_ids goes from `addr` to that id. */
export const node = struct('node', {
  tunnel: addr,
  mac,
  pad: pad(2),
  mtu: u32,
  flags: u32,
})
export type Node = Infer<typeof node>

/** Key of sb_ipcache. `prefixLen` counts bits of the 16-byte address: IPv4 lengths plus 96. */
export const prefixKey = struct('prefix_key', {
  prefixLen: u32,
  addr,
})
export type PrefixKey = Infer<typeof prefixKey>

export const IPCACHE_OWN_RANGE = 1 << 0
export const IPCACHE_STACK = 1 << 1
export const IPCACHE_SERVICES = 1 << 2

/** Value of sb_ipcache. */
export const ipcacheEntry = struct('ipcache_entry', {
  node: u32,
  identity: u32,
  flags: u32,
  pad: pad(4),
})
export type IpcacheEntry = Infer<typeof ipcacheEntry>

/** Key of sb_flows: the packet as seen on the wire at that place. */
export const flowKey = struct('flow_key', {
  saddr: addr,
  daddr: addr,
  sport: be16,
  dport: be16,
  proto: u8,
  icmpClass: u8,
  pad: pad(2),
})
export type FlowKey = Infer<typeof flowKey>

export const FLOW_SEEN = 1 << 0
export const FLOW_FIN = 1 << 1
export const FLOW_FIN_REPLY = 1 << 2
export const FLOW_RST = 1 << 3
export const FLOW_OPENER = 1 << 4
export const FLOW_TRANSLATED = 1 << 5
export const FLOW_SERVICE = 1 << 6

/** What a packet's addresses and ports are rewritten to. */
export const translation = struct('translation', {
  saddr: addr,
  daddr: addr,
  sport: be16,
  dport: be16,
})
export type Translation = Infer<typeof translation>

export const NOT_TRANSLATED: Translation = { saddr: '::', daddr: '::', sport: 0, dport: 0 }

/** Value of sb_flows. `way` is one word: see `decodeWay`. */
export const flow = struct('flow', {
  way: u64,
  sourceIncarnation: u32,
  targetIncarnation: u32,
  sourceNode: u32,
  flags: u32,
  seen: u32,
  created: u32,
  to: translation,
  mtu: u32,
})
export type Flow = Infer<typeof flow>

/** Value of sb_lent, whose key is that of the answers; `seen` in ticks. */
export const lent = struct('lent', {
  to: translation,
  seen: u32,
})

/** Key of sb_pools: the ports of one address of the node towards one address, port and protocol. */
export const poolKey = struct('pool_key', {
  saddr: addr,
  daddr: addr,
  dport: be16,
  proto: u8,
  pad: pad(1),
})
export type PoolKey = Infer<typeof poolKey>

/** Value of sb_pools. */
export const pool = struct('pool', {
  used: u32,
  recount: u32,
  full: u32,
  failed: u32,
})
export type Pool = Infer<typeof pool>

/** Jiffies in one tick of `seen` and `created` in a flow row. */
export const JIFFIES_PER_TICK = 256

/** Seconds between two times of flow rows; `hz` and the present come from a sweep. */
export function ticksToSec(ticks: number, hz: number): number {
  return (ticks * JIFFIES_PER_TICK) / hz
}

export type WayKind = 'local' | 'node' | 'stack' | 'uplink' | 'out' | 'dsr'
const WAY_KINDS: readonly (WayKind | undefined)[] = [
  undefined,
  'local',
  'node',
  'stack',
  'uplink',
  'out',
  'dsr',
]

export interface Way {
  readonly kind: WayKind
  /** Node the flow's packets go to, or of 'out' the ifindex of the uplink; 0 = none. */
  readonly node: number
  /** Config generation in which the way was chosen. */
  readonly generation: number
}

/** Bits 63–56 kind, 55–32 node id or ifindex, 31–0 generation. */
export function encodeWay(way: Way): bigint {
  const kind = BigInt(WAY_KINDS.indexOf(way.kind))
  return (kind << 56n) | (BigInt(way.node) << 32n) | BigInt(way.generation >>> 0)
}

/** Undefined for a word no program writes. */
export function decodeWay(word: bigint): Way | undefined {
  const kind = WAY_KINDS[Number(word >> 56n)]
  if (kind === undefined) return undefined
  return {
    kind,
    node: Number((word >> 32n) & 0xffffffn),
    generation: Number(word & 0xffffffffn),
  }
}

export const OPENER_POD = 1
export const OPENER_REMOTE = 2
export const OPENER_OUTSIDE = 3
export const OPENER_CLIENT = 4

/** Key of sb_openers: who sent the first packet of a flow. */
export const opener = struct('opener', {
  kind: u32,
  incarnation: u32,
  addr,
})
export type Opener = Infer<typeof opener>

/** Value of sb_openers, in pairs of rows of sb_flows. */
export const openerFlows = struct('opener_flows', {
  flows: u32,
  recount: u32,
})

/** The one row (key 0) of sb_opened: all flows. */
export const opened = struct('opened', {
  flows: u32,
  recount: u32,
})

/** Key of sb_fragments. */
export const fragmentKey = struct('fragment_key', {
  saddr: addr,
  daddr: addr,
  id: be32,
  proto: u8,
  pad: pad(3),
})

/** Value of sb_fragments. */
export const fragmentPorts = struct('fragment_ports', {
  sport: be16,
  dport: be16,
  proto: u8,
  icmpClass: u8,
  icmpType: u8,
  pad: pad(1),
})

/** Value of sb_counters, per CPU; the key is `counterIndex(place, outcome)` (drop-reasons.ts). */
export const counter = struct('counter', {
  packets: u64,
  bytes: u64,
})
export type Counter = Infer<typeof counter>

/** The one row (key 0) of sb_timeouts: seconds without a packet after which a flow's rows go. */
export const timeouts = struct('timeouts', {
  tcpOpening: u32,
  tcpEstablished: u32,
  tcpClosing: u32,
  tcpClosed: u32,
  tcpClosedShort: u32,
  tcpClosedPressed: u32,
  udpBrief: u32,
  udpStream: u32,
  icmp: u32,
  other: u32,
})
export type Timeouts = Infer<typeof timeouts>

/**
 * Of the stack way longer than the kernel's own conntrack keeps the same flows by default, so that a flow never loses its mark
 * while the kernel still translates it (ADR 0019).
 */
export const DEFAULT_TIMEOUTS: Timeouts = {
  tcpOpening: 130,
  tcpEstablished: 8000,
  tcpClosing: 260,
  tcpClosed: 130,
  tcpClosedShort: 60,
  tcpClosedPressed: 10,
  udpBrief: 40,
  udpStream: 200,
  icmp: 60,
  other: 620,
}

/** What a pass of sb_sweep has found; the last record of a pass has `isDone`. Rows, not pairs. */
export const sweep = struct('sweep', {
  session: u64,
  rows: u32,
  removed: u32,
  translated: u32,
  closed: u32,
  now: u32,
  hz: u32,
  isPressed: u32,
  isDone: u32,
})
export type Sweep = Infer<typeof sweep>

/** The one row (key 0) of sb_reclaim. */
export const reclaim = struct('reclaim', {
  last: u32,
  cursor: u32,
})

/** All structs, for the test that compares them with BTF. */
export const LAYOUTS = [
  config,
  endpoint,
  node,
  prefixKey,
  ipcacheEntry,
  flowKey,
  translation,
  flow,
  lent,
  poolKey,
  pool,
  uplink,
  opener,
  openerFlows,
  opened,
  fragmentKey,
  fragmentPorts,
  counter,
  timeouts,
  sweep,
  reclaim,
  serviceKey,
  service,
  slotKey,
  slot,
  backend,
  sourceRangeKey,
  affinityKey,
  affinity,
  sockPeer,
  staleSocket,
  serviceConfig,
] as const
