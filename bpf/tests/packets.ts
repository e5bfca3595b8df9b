// Packets of the vectors' world: who sends them says which MACs they carry.
import {
  echoReply,
  echoRequest,
  eth,
  ip,
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
  /** On the wire between the nodes, to this one. */
  wire: eth({ src: mac.wire2, dst: mac.wire1 }),
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
