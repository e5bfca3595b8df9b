// Packets of the vectors' world: who sends them says which MACs they carry.
import {
  echoReply,
  echoRequest,
  eth,
  fragment6,
  ip,
  ip4,
  ip6,
  type Layer,
  packet,
  payload,
  type TcpFlag,
  tcp,
  udp,
} from '../testing/index.ts'
import { mac } from './world.ts'

export interface Route {
  readonly src: string
  readonly dst: string
  readonly ttl?: number
  readonly tos?: number
}

/** Ethernet headers by the link they are on. */
export const links = {
  /** Pod a to its host end. */
  fromA: eth({ src: mac.a, dst: mac.aHost }),
  fromB: eth({ src: mac.b, dst: mac.bHost }),
  fromC: eth({ src: mac.c, dst: mac.cHost }),
  /** As a pod gets it. */
  toA: eth({ src: mac.aHost, dst: mac.a }),
  toB: eth({ src: mac.bHost, dst: mac.b }),
  toC: eth({ src: mac.cHost, dst: mac.c }),
  /** Inside the tunnel, from this node to node 2 and back. */
  out: eth({ src: mac.overlay1, dst: mac.overlay2 }),
  in: eth({ src: mac.overlay2, dst: mac.overlay1 }),
  /** On the wire between the nodes, to this one: a test run has the loopback's address. */
  wire: eth({ src: mac.wire2, dst: mac.loopback }),
  /** The same to node 1's own MAC, which is somebody else's in a test run but for XDP's; and to everybody. */
  wire1: eth({ src: mac.wire2, dst: mac.wire1 }),
  broadcast: eth({ src: mac.wire2, dst: 'ff:ff:ff:ff:ff:ff' }),
} as const

export interface Ports {
  readonly sport: number
  readonly dport: number
}

export function udpPacket(link: Layer, route: Route, ports: Ports, size = 20): Uint8Array {
  return packet(link, ip(route), udp(ports), payload(size))
}

export function tcpPacket(
  link: Layer,
  route: Route,
  ports: Ports,
  flags: readonly TcpFlag[],
  size = 0,
): Uint8Array {
  return packet(link, ip(route), tcp({ ...ports, flags }), payload(size))
}

export function pingPacket(link: Layer, route: Route, id: number): Uint8Array {
  return packet(link, ip(route), echoRequest({ id }), payload(8))
}

export function pongPacket(link: Layer, route: Route, id: number): Uint8Array {
  return packet(link, ip(route), echoReply({ id }), payload(8))
}

/** The beginning of a ping or its reply, of which laterFragment() is the end. */
export function firstOfEcho(link: Layer, { src, dst, ttl }: Route, id: number, isReply = false) {
  const hops = ttl === undefined ? {} : { ttl, hopLimit: ttl }
  const inner = [isReply ? echoReply({ id }) : echoRequest({ id }), payload(1224)] as const
  if (src.includes(':')) {
    const header = fragment6({ id: 1, offsetBytes: 0, hasMore: true, nextHeader: 58 })
    return packet(link, ip6({ src, dst, ...hops }), header, ...inner)
  }
  const at = { id: 1, hasMoreFragments: true, protocol: 1 }
  return packet(link, ip4({ src, dst, ...hops, ...at }), ...inner)
}

/** The beginning of a UDP datagram of which laterFragment() is the end. */
export function firstFragment(link: Layer, { src, dst, ttl }: Route, ports: Ports, id = 1) {
  const hops = ttl === undefined ? {} : { ttl, hopLimit: ttl }
  const inner = [udp({ ...ports, length: 1240 }), payload(1224)] as const
  if (src.includes(':')) {
    const header = fragment6({ id, offsetBytes: 0, hasMore: true, nextHeader: 17 })
    return packet(link, ip6({ src, dst, ...hops }), header, ...inner)
  }
  const at = { id, hasMoreFragments: true, protocol: 17 }
  return packet(link, ip4({ src, dst, ...hops, ...at }), ...inner)
}

/** The end of a datagram, of UDP by default: no ports, and no word of them. */
export function laterFragment(
  link: Layer,
  { src, dst, ttl }: Route,
  id = 1,
  protocol = 17,
): Uint8Array {
  const hops = ttl === undefined ? {} : { ttl, hopLimit: ttl }
  if (src.includes(':')) {
    const header = fragment6({ id, offsetBytes: 1232, hasMore: false, nextHeader: protocol })
    return packet(link, ip6({ src, dst, ...hops }), header, payload(8))
  }
  const at = { id, fragmentOffsetBytes: 1232, protocol }
  return packet(link, ip4({ src, dst, ...hops, ...at }), payload(8))
}
