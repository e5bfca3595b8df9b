// What XDP vectors need besides the world of all vectors: next hops by an uplink, and packets of the tunnel with all their headers.
import { execFileSync } from 'node:child_process'
import { eth, ip4, type Layer, packet, payload, udp, vxlan } from '../testing/index.ts'
import { Outside } from './outside.ts'
import { ipv4, ipv6, mac, TUNNEL_PORT, VNI } from './world.ts'

export const GATEWAY_MAC = '02:00:00:00:20:fe'

/** As frames of the uplink are when this node sends them. */
export const sent = {
  toGateway: eth({ src: mac.wire1, dst: GATEWAY_MAC }),
  toNode2: eth({ src: mac.wire1, dst: mac.wire2 }),
} as const

function inside({ netns }: Outside, ...args: readonly string[]): void {
  execFileSync('nsenter', [`--net=/proc/${process.pid}/fd/${netns.fd}`, 'ip', ...args])
}

export function setNeighbour(outside: Outside, address: string, lladdr: string): void {
  const to = ['lladdr', lladdr, 'dev', 'up0', 'nud', 'permanent']
  inside(outside, 'neigh', 'replace', address, ...to)
}

/** With the uplink's MAC as in all vectors, and everybody on it known. */
export async function openOutside(): Promise<Outside> {
  const outside = await Outside.open()
  inside(outside, 'link', 'set', 'up0', 'address', mac.wire1)
  for (const address of ['192.0.2.254', '2001:db8::fe']) setNeighbour(outside, address, GATEWAY_MAC)
  for (const address of [ipv4.node2, ipv6.node2]) setNeighbour(outside, address, mac.wire2)
  for (const [range, via] of [
    ['10.244.2.0/24', ipv4.node2],
    ['fd00:2::/64', ipv6.node2],
  ] as const)
    inside(outside, 'route', 'replace', range, 'via', via, 'dev', 'up0')
  return outside
}

export interface TunnelOptions {
  readonly link?: Layer
  readonly src?: string
  readonly dst?: string
  readonly tos?: number
  readonly id?: number
  readonly sport?: number
  readonly dport?: number
  readonly checksum?: number
  readonly length?: number
  readonly vni?: number
  readonly flags?: number
}

/** A frame in the tunnel; by default as node 2 sends it to this one. */
export function tunnelled(inner: Uint8Array, options: TunnelOptions = {}): Uint8Array {
  const { link = eth({ src: mac.wire2, dst: mac.wire1 }), tos = 0, id = 0 } = options
  const { src = ipv4.node2, dst = ipv4.node1, sport = 50_000, dport = TUNNEL_PORT } = options
  const { checksum = 0, length, vni = VNI, flags } = options
  return packet(
    link,
    ip4({ src, dst, tos, id, ttl: 64 }),
    udp({ sport, dport, checksum, ...(length === undefined ? {} : { length }) }),
    vxlan({ vni, ...(flags === undefined ? {} : { flags }) }),
    payload(inner),
  )
}

const transportAt = (inner: Uint8Array): number => 14 + (inner[12] === 0x08 ? 20 : 40)

/** The outer packet that this node sends around one to node 2: what it takes from the inner one is worked out here again. */
export function sentTunnelled(inner: Uint8Array, tos = 0): Uint8Array {
  const at = transportAt(inner)
  const view = new DataView(inner.buffer, inner.byteOffset)
  const isTcp = inner[inner[12] === 0x08 ? 23 : 20] === 6
  const ports = ((view.getUint8(at + 1) << 24) | (view.getUint8(at) << 16)) >>> 0
  const low = view.getUint16(at + 2, true)
  const target = view.getUint32(at - 4, true)
  const hash = Math.imul(target ^ ((ports | low) >>> 0), 0x9e3779b1) >>> 0
  return tunnelled(inner, {
    link: sent.toNode2,
    src: ipv4.node1,
    dst: ipv4.node2,
    tos,
    id: view.getUint16(at + (isTcp ? 16 : 6)),
    sport: 49_152 + (hash >>> 18),
  })
}
