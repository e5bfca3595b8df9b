// The public API of '@sinabro/libbpf-ts/testing': packets, vectors and scenarios, layouts against BTF.
export { internetChecksum } from './checksum.ts'
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
export { type TcpFlag, type TcpOptions, tcp, type UdpOptions, udp } from './transport.ts'
