// Public API of @sinabro/node-netlink, by name.

export { type ClientOptions, NetlinkClient } from './client.ts'
export { type AttrsValue, attrs, indexed, type UnknownAttribute } from './codec/attrs.ts'
export { type Body, body } from './codec/body.ts'
export {
  be16,
  be32,
  bool8,
  bytes,
  type Codec,
  flag,
  type Infer,
  i32,
  ip,
  mac,
  named,
  rawNest,
  repeated,
  text,
  u8,
  u16,
  u32,
  u64,
} from './codec/codec.ts'
export { DecodeError } from './codec/decode-error.ts'
export { Reader } from './codec/reader.ts'
export { pad, struct } from './codec/struct.ts'
export { Writer } from './codec/writer.ts'
export { SocketDiag, type SocketDiagOptions } from './diag/socket-diag.ts'
export {
  ANY_COOKIE,
  type DiagProtocol,
  type InetSocket,
  type SocketEnd,
  type SocketFilter,
  type SocketState,
} from './diag/socket-message.ts'
export { type ExtAck, isCode, NetlinkError, ParseError } from './error.ts'
export type { GenericFamily, GenericGroup, GenericOperation } from './generic/family.ts'
export { GenericMonitor, type GenericMonitorOptions } from './generic/generic-monitor.ts'
export {
  GenericNetlink,
  type GenericNetlinkOptions,
  type GenericRequest,
} from './generic/generic-netlink.ts'
export {
  canonicalIp,
  formatIp,
  formatMac,
  formatPrefix,
  type Ip,
  type IpPrefix,
  isIp,
  networkOf,
  parseIp,
  parseIpWithPrefix,
  parseMac,
  parsePrefix,
  prefixContains,
} from './ip.ts'
export type { MessageHeader } from './message.ts'
export { type MonitorOptions, type MonitorSource, NetlinkMonitor } from './monitor.ts'
export { NetworkNamespace } from './namespace.ts'
export type { DecodeMessage, Request, Requests } from './requests.ts'
export type {
  Address,
  AddressFilter,
  AddressFlag,
  AddressKey,
  AddressSpec,
  Scope,
} from './route/address.ts'
export type { Addresses } from './route/addresses.ts'
export type { Fdb } from './route/fdb.ts'
export type {
  FdbEntry,
  FdbFilter,
  FdbKey,
  FdbSpec,
  FdbState,
  FdbTable,
} from './route/fdb-entry.ts'
export type { Filters } from './route/filters.ts'
export { formatHandle, parseHandle } from './route/handle.ts'
export type {
  AddrGenMode,
  BondMode,
  BondOptions,
  BondSpec,
  BridgeOptions,
  BridgeSpec,
  DummySpec,
  IfbSpec,
  Link,
  LinkChange,
  LinkFilter,
  LinkRef,
  LinkSpec,
  LinkStatistics,
  MacvlanMode,
  MacvlanOptions,
  MacvlanSpec,
  NetkitOptions,
  NetkitPolicy,
  NetkitSpec,
  OperState,
  VethPeer,
  VethSpec,
  VlanOptions,
  VlanSpec,
  VrfOptions,
  VrfSpec,
  VxlanOptions,
  VxlanSpec,
} from './route/link.ts'
export type { Links } from './route/links.ts'
export type {
  Neighbour,
  NeighbourFilter,
  NeighbourFlag,
  NeighbourKey,
  NeighbourSpec,
  NeighbourState,
} from './route/neighbour.ts'
export type { Neighbours } from './route/neighbours.ts'
export type {
  Nexthop,
  NexthopFilter,
  NexthopMember,
  NexthopSpec,
  ResilientOptions,
} from './route/nexthop.ts'
export type { Nexthops } from './route/nexthops.ts'
export type { Qdiscs } from './route/qdiscs.ts'
export type {
  NextHop,
  Route,
  RouteFilter,
  RouteKey,
  RouteLookup,
  RouteSpec,
  RouteType,
} from './route/route.ts'
export type { RouteEvent } from './route/route-event.ts'
export { type RouteGroup, RouteMonitor, type RouteMonitorOptions } from './route/route-monitor.ts'
export { RouteNetlink, type RouteNetlinkOptions } from './route/route-netlink.ts'
export type { Routes } from './route/routes.ts'
export type {
  NumberRange,
  Rule,
  RuleAction,
  RuleFilter,
  RuleKey,
  RuleSpec,
} from './route/rule.ts'
export type { Rules } from './route/rules.ts'
export type {
  HtbClassOptions,
  HtbOptions,
  HtbSpec,
  TbfOptions,
  TbfSpec,
  TrafficClassKey,
  TrafficClassSpec,
  TrafficStatistics,
} from './route/shaping.ts'
export type {
  BpfFilter,
  BpfFilterSpec,
  Filter,
  FilterKey,
  FilterList,
  FilterParent,
  HookSpec,
  Qdisc,
  QdiscFilter,
  QdiscKey,
  QdiscSpec,
  RedirectSpec,
  TrafficClass,
  TrafficClassFilter,
} from './route/traffic.ts'
export type { TrafficClasses } from './route/traffic-classes.ts'
export { NetlinkSocket, type SocketOptions, type Transport } from './socket.ts'
export { NETLINK_GENERIC, NETLINK_ROUTE } from './socket-constants.ts'
