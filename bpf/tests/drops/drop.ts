// A case that ends in a drop, and the packets and maps that the cases of this folder are made of.
import type { PacketPlace } from '../../src/drop-reasons.ts'
import type { Opener } from '../../src/layouts.ts'
import { arp, eth, ip6, type Layer, packet, type Rows } from '../../testing/index.ts'
import type { Clock } from '../clock.ts'
import { links, udpPacket } from '../packets.ts'
import {
  type Actors,
  type FlowSpec,
  flowRow,
  ipv4,
  ipv6,
  keyOf,
  mac,
  type Shapes,
  TUNNEL_PORT,
  VNI,
} from '../world.ts'

export interface Drop {
  readonly reason: string
  readonly what: string
  readonly place: PacketPlace
  readonly packet: (actors: Actors) => Uint8Array
  readonly maps?: (actors: Actors, clock: Clock) => Rows<Shapes>
  /** The flow whose row the packet renews before it is dropped. */
  readonly renews?: (actors: Actors) => FlowSpec
  /** The flow whose row goes. */
  readonly removes?: (actors: Actors) => FlowSpec
  /** Default: both. */
  readonly family?: 4 | 6
}

export const ports = { sport: 40000, dport: 53 }
export const fromA = (src: string, dst: string) => udpPacket(links.fromA, { src, dst }, ports)
export const fromTunnel = (src: string, dst: string) => udpPacket(links.in, { src, dst }, ports)
export const fromWire = (src: string, dst: string) => udpPacket(links.wire, { src, dst }, ports)
export const toTunnel = (src: string, dst: string) => udpPacket(links.out, { src, dst }, ports)
export const tunnel = {
  source: ipv4.node2,
  destination: ipv4.node1,
  vni: VNI,
  tos: 0,
  ttl: 64,
  flags: 0,
}

/** The solicited-node group of an address is enough like it for us: any multicast address. */
export const nd = (src: string, ...layers: readonly Layer[]) =>
  packet(links.fromA, ip6({ src, dst: ipv6.multicast, hopLimit: 255 }), ...layers)
export const arpFrom = (senderIp: string, senderMac: string, source: string = mac.a) =>
  packet(
    eth({ src: source, dst: 'ff:ff:ff:ff:ff:ff' }),
    arp({ op: 'request', senderIp, senderMac, targetIp: ipv4.linkLocal }),
  )

export function loopback(family: 4 | 6): string {
  return family === 4 ? '127.0.0.1' : '::1'
}

export function toTunnelPort(src: string, dst: string): Uint8Array {
  return udpPacket(links.fromA, { src, dst }, { ...ports, dport: TUNNEL_PORT })
}

export const MAX_FLOWS = 16

/** Live rows of others, and one place left: a flow needs two. */
export function fullTable({ own1, own2 }: Actors, clock: Clock): Rows<Shapes> {
  const row = { ...flowRow({ kind: 'stack' }), seen: clock.now }
  return {
    sb_flows: Array.from({ length: MAX_FLOWS - 1 }, (_, i) => [
      keyOf({ source: own1, target: own2, proto: 17, sport: i + 1, dport: 1 }),
      row,
    ]),
  }
}

/** Half of the table's flows are this opener's. */
export function halfOf(who: Partial<Opener>): Rows<Shapes> {
  const flows = MAX_FLOWS / 4
  return {
    sb_openers: [
      [
        { kind: 0, incarnation: 0, addr: '::', ...who },
        { flows, recount: 0 },
      ],
    ],
    sb_opened: [[0, { flows, recount: 0 }]],
  }
}
