// The structs of bpf/lib/types.h that services have, in its order.
import { addr, array, be16, type Infer, pad, struct, u8, u16, u32, u64 } from './struct.ts'

/** Key of sb_services. Port 0 and proto 0: the address itself; an address of all zero: those of sb_node_addrs. */
export const serviceKey = struct('service_key', {
  addr,
  port: be16,
  proto: u8,
  pad: pad(1),
})
export type ServiceKey = Infer<typeof serviceKey>

/** Addresses that stand for those of this node, by family. */
export const ANY_NODE_IPV4 = '0.0.0.0'
export const ANY_NODE_IPV6 = '::'

export const SERVICE_AFFINITY = 1 << 0
export const SERVICE_SOURCE_RANGES = 1 << 1
export const SERVICE_INTERNAL_LOCAL = 1 << 2
export const SERVICE_EXTERNAL_LOCAL = 1 << 3
export const SERVICE_HOST_PORT = 1 << 4
export const SERVICE_ADDRESS = 1 << 5
export const SERVICE_MAGLEV = 1 << 6
export const SERVICE_NOT_NODE = 1 << 7

/** Value of sb_services. `internal` and `external` are lists of sb_slots. */
export const service = struct('service', {
  id: u32,
  flags: u32,
  internal: u32,
  external: u32,
  affinitySec: u32,
  pad: pad(4),
})
export type Service = Infer<typeof service>

/** In `slot` of a key, with a backend id: the list has that backend. */
export const SLOT_MEMBER = 0x8000_0000

/** Key of sb_slots. */
export const slotKey = struct('slot_key', {
  list: u32,
  slot: u32,
})
export type SlotKey = Infer<typeof slotKey>

/** Value of sb_slots. Of slot 0 `backend` is how many slots follow. */
export const slot = struct('slot', {
  backend: u32,
  weight: u32,
})
export type Slot = Infer<typeof slot>

/** Entries in one row of a table in sb_maglev. */
export const MAGLEV_ROW = 16

/** Value of such a table, by row (u32): backend ids. Of row 0 the first is how many entries the table has. */
export const maglevRow = array(u32, MAGLEV_ROW)

/** Services with more backends are not forwarded by direct server return (bpf/lib/dsr.h). */
export const DSR_BACKENDS_MAX = 1024

export const BACKEND_TERMINATING = 1 << 0

/** Value of sb_backends, whose key is the backend id (u32). */
export const backend = struct('backend', {
  addr,
  port: be16,
  proto: u8,
  flags: u8,
})
export type Backend = Infer<typeof backend>

/** Flags (u32) in sb_node_addrs, whose key is `addr`. */
export const NODE_ADDR_NODE_PORTS = 1 << 0
export const NODE_ADDR_HOST_PORTS = 1 << 1

/** Key of sb_src_ranges. `prefixLen` is 32 more than bits of the 16-byte address: IPv4 lengths plus 128. */
export const sourceRangeKey = struct('source_range_key', {
  prefixLen: u32,
  service: u32,
  addr,
})
export type SourceRangeKey = Infer<typeof sourceRangeKey>

export const CLIENT_ADDRESS = 0
export const CLIENT_NETNS = 1

/** Key of sb_affinity. */
export const affinityKey = struct('affinity_key', {
  client: addr,
  kind: u32,
  service: u32,
})
export type AffinityKey = Infer<typeof affinityKey>

/** Value of sb_affinity; `seen` in ticks. */
export const affinity = struct('affinity', {
  backend: u32,
  seen: u32,
})
export type Affinity = Infer<typeof affinity>

/** Value of sb_sock, storage of sockets. */
export const sockPeer = struct('sock_peer', {
  service: addr,
  backend: addr,
  servicePort: be16,
  backendPort: be16,
  serviceId: u32,
  backendId: u32,
})

/** What sb_stale writes of a connected UDP socket whose backend is none any more. `family` is AF_INET or AF_INET6. */
export const staleSocket = struct('stale_socket', {
  netns: u64,
  cookie: u64,
  local: addr,
  remote: addr,
  localPort: be16,
  remotePort: be16,
  ifindex: u32,
  family: u16,
  pad: pad(6),
})
export type StaleSocket = Infer<typeof staleSocket>

/** The one row (key 0) of sb_svc_config. Sources that are all zero ('::') are none. */
export const serviceConfig = struct('service_config', {
  hostNetns: u64,
  source4: addr,
  source6: addr,
})
export type ServiceConfig = Infer<typeof serviceConfig>
