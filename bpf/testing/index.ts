// The public API of '@sinabro/libbpf-ts/testing': packets, vectors and scenarios, layouts against BTF.
export { mountBpffs, type PrivateBpffs } from './bpffs.ts'
export { type Btf, type BtfEnum, type BtfField, type BtfStruct, readBtf } from './btf.ts'
export { TestCgroup } from './cgroup.ts'
export { internetChecksum } from './checksum.ts'
export { describePacket } from './describe.ts'
export { assertSamePacket, diffPackets } from './diff.ts'
export {
  type AdvertisementOptions,
  type ArpOptions,
  arp,
  type EchoOptions,
  echoReply,
  echoRequest,
  type IcmpOptions,
  icmp,
  icmp6,
  neighbourAdvertisement,
  neighbourSolicitation,
  portUnreachable,
  routerAdvertisement,
  routerSolicitation,
  type SolicitationOptions,
  timeExceeded,
  tooBig,
} from './icmp.ts'
export {
  destinationOptions,
  type Fragment6Options,
  fragment6,
  hopByHop,
  type Ip4Options,
  type Ip6Options,
  type IpOptions,
  ip,
  ip4,
  ip6,
  type RoutingOptions,
  routing,
} from './ip.ts'
export { compareLayout, snakeCase } from './layouts.ts'
export {
  type Changes,
  type MapChanges,
  type MapShape,
  type MapShapes,
  mapShape,
  type Rows,
} from './map-state.ts'
export type { Expected } from './match.ts'
export { netnsName } from './netns-name.ts'
export { eth, type Layer, packet, payload, vxlan } from './packet.ts'
export {
  encodeSkBuff,
  type SkBuff,
  type SkBuffIn,
  skBuff,
  type Verdict,
  verdictName,
  verdicts,
} from './skb.ts'
export { testObject } from './test-object.ts'
export { type TcpFlag, type TcpOptions, tcp, type UdpOptions, udp } from './transport.ts'
export {
  type Expectation,
  type Hop,
  runScenario,
  type Step,
  type StepResult,
  TestNode,
  type TestNodeOptions,
  type Vector,
} from './vector.ts'
export { Flood, type VethEnd, VethPair } from './veth.ts'
