// From the Node objects to the overlay: who we are in it, who the others are, what leaves somebody out. Pure.
import { createHash } from 'node:crypto'
import { formatIp, parseIp, parsePrefix } from '@sinabro/node-netlink'
import type { NodeRow } from '../cluster/rows.ts'
import { Memo } from './memo.ts'
import type {
  Family,
  OverlayNeighbourRow,
  OverlayPlan,
  OverlayProblem,
  PeerRouteRow,
  PeerRow,
  RouteAt,
  SelfRow,
  TunnelMode,
  VacantRouteRow,
} from './rows.ts'

/** Bytes that the tunnel adds to an IP packet: outer IP, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348 §5). */
const OVERHEAD: Readonly<Record<Family, number>> = { 4: 50, 6: 70 }

/** Annotation of a Node whose agent has made the device for direct server return without a tunnel (ADR 0093). */
export const DSR_ANNOTATION = 'sinabro.io/direct-server-return'
export const DSR_TAKEN = 'taken'

/** Nobody's: RFC 7600's dummy address, and one of the prefix that discards (RFC 6666). */
const NARROW: Readonly<Record<Family, string>> = { 4: '192.0.0.8', 6: '100::8' }

export interface OverlayOptions {
  readonly nodeName: string
  readonly tunnel: TunnelMode
  /** auto: the family of this node's first InternalIP. The same for all nodes of a cluster. */
  readonly tunnelFamily: 'auto' | Family
}

/** @param memo of an earlier call: a peer whose Node is the same object stays the same object. */
export function computeOverlay(
  nodes: readonly NodeRow[],
  options: OverlayOptions,
  memo: Memo<NodeRow, PeerRow> = new Memo(),
): OverlayPlan {
  const problems: OverlayProblem[] = []
  const own = nodes.find(({ name }) => name === options.nodeName)
  const firstAddress = own?.internalIPs[0]
  if (own === undefined || firstAddress === undefined) {
    const message = own === undefined ? 'there is no Node object' : 'the Node has no InternalIP'
    problems.push({ node: options.nodeName, code: 'no-tunnel-address', message })
    return { peers: [], problems }
  }
  const family = options.tunnelFamily === 'auto' ? familyOf(firstAddress) : options.tunnelFamily
  const { tunnel } = options
  const self = computeSelf(own, { family, tunnel, problems })
  if (self === undefined) return { peers: [], problems }
  const takenBy = new Map(own.internalIPs.map((address) => [address, own.name]))
  const peers: PeerRow[] = []
  for (const node of [...nodes].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (node === own) continue
    const peer = computePeer(node, own, { family, tunnel, takenBy, problems, memo })
    if (peer !== undefined) peers.push(peer)
  }
  return { self, peers, problems }
}

interface Common {
  readonly family: Family
  readonly tunnel: TunnelMode
  readonly problems: OverlayProblem[]
}

function computeSelf(node: NodeRow, common: Common): SelfRow | undefined {
  const { problems } = common
  const tunnelAddress = tunnelAddressOf(node, common)
  if (tunnelAddress === undefined) return undefined
  if (node.podCIDRs.length === 0) {
    problems.push({ node: node.name, code: 'no-range', message: 'the Node has no podCIDRs yet' })
  }
  return {
    name: node.name,
    tunnelAddress,
    tunnelFamily: familyOf(tunnelAddress),
    overlayMac: overlayMac(tunnelAddress),
    nodeAddresses: node.internalIPs,
    ranges: node.podCIDRs,
    ownAddresses: node.podCIDRs.map(ownAddress),
  }
}

interface Peers extends Common {
  readonly takenBy: Map<string, string>
  readonly memo: Memo<NodeRow, PeerRow>
}

function computePeer(node: NodeRow, own: NodeRow, peers: Peers): PeerRow | undefined {
  const { tunnel, takenBy, problems, memo } = peers
  const tunnelAddress = tunnelAddressOf(node, peers)
  if (tunnelAddress === undefined) return undefined
  for (const address of node.internalIPs) {
    const other = takenBy.get(address)
    if (other !== undefined) {
      const message = `its address ${address} is that of ${other} too`
      problems.push({ node: node.name, code: 'duplicate-address', message })
      return undefined
    }
  }
  for (const address of node.internalIPs) takenBy.set(address, node.name)
  if (node.podCIDRs.length === 0) {
    problems.push({ node: node.name, code: 'no-range', message: 'the Node has no podCIDRs yet' })
  }
  const routers =
    tunnel === 'none'
      ? node.podCIDRs.map((range) => routerOf(range, node, own, problems))
      : undefined
  return memo.get(node, `${tunnelAddress} ${routers}`, () => ({
    name: node.name,
    tunnelAddress,
    overlayMac: overlayMac(tunnelAddress),
    nodeAddresses: node.internalIPs,
    ranges: node.podCIDRs.flatMap((prefix, at) => {
      const gateway = routers === undefined ? ownAddress(prefix) : routers[at]
      return gateway === undefined ? [] : [{ family: familyOf(prefix), prefix, gateway }]
    }),
    takesDsr: node.annotations[DSR_ANNOTATION] === DSR_TAKEN,
  }))
}

/** Without a tunnel: the address of the node that the range is routed to. */
function routerOf(
  range: string,
  node: NodeRow,
  own: NodeRow,
  problems: OverlayProblem[],
): string | undefined {
  const family = familyOf(range)
  const without = [own, node].find((one) => addressOf(one, family) === undefined)
  if (without === undefined) return addressOf(node, family)
  const message = `no route to its range ${range}: ${without.name} has no InternalIP of family IPv${family}`
  problems.push({ node: node.name, code: 'no-common-family', message })
  return undefined
}

/** Without a tunnel any address will do: each family is routed by its own. */
function tunnelAddressOf(node: NodeRow, { family, tunnel, problems }: Common): string | undefined {
  const other = tunnel === 'none' ? node.internalIPs[0] : undefined
  const address = addressOf(node, family) ?? other
  if (address === undefined) {
    const of = tunnel === 'none' ? '' : ` of family IPv${family}, which the tunnel uses`
    problems.push({
      node: node.name,
      code: 'no-tunnel-address',
      message: `the Node has no InternalIP${of}`,
    })
  }
  return address
}

function addressOf({ internalIPs }: NodeRow, family: Family): string | undefined {
  return internalIPs.find((one) => familyOf(one) === family)
}

/** Routes to those ranges of a peer whose family this node has an own address of. */
export function computeRoutes(
  self: SelfRow,
  { ranges }: Pick<PeerRow, 'ranges'>,
  at: RouteAt,
): PeerRouteRow[] {
  return ranges.flatMap(({ family, prefix: dst, gateway: via }) => {
    const prefsrc = self.ownAddresses.find((address) => familyOf(address) === family)
    // Without an own address the source would be the uplink's, and answers would come past the tunnel.
    return prefsrc === undefined ? [] : [{ type: 'unicast' as const, dst, via, prefsrc, ...at }]
  })
}

/**
 * Without a tunnel, for direct server return: where the kernel is given what is too long for the device, so that it tells the client
 * (dsr.h has the same addresses). As narrow as the narrowest way to a peer.
 */
export function computeNarrowRoutes(
  { ownAddresses }: SelfRow,
  at: Required<RouteAt>,
): PeerRouteRow[] {
  return ownAddresses.map((prefsrc) => {
    const via = NARROW[familyOf(prefsrc)]
    return { type: 'unicast', dst: `${via}/${via.includes(':') ? 128 : 32}`, via, prefsrc, ...at }
  })
}

export function computeVacantRoutes({ ranges }: SelfRow): VacantRouteRow[] {
  return ranges.map((dst) => ({ type: 'unreachable', dst }))
}

export function computeNeighbours(
  { ranges, overlayMac: mac }: PeerRow,
  index: number,
): OverlayNeighbourRow[] {
  return ranges.map(({ gateway: address }) => ({ index, address, mac }))
}

/** The largest IP packet of a pod that gets to another node. */
export function mtuOver(underlayMtu: number, tunnel: TunnelMode, family: Family): number {
  return tunnel === 'none' ? underlayMtu : underlayMtu - OVERHEAD[family]
}

/** A node's own address in a range: the network address + 1, never given to a pod. */
export function ownAddress(range: string): string {
  const { bytes } = parsePrefix(range)
  const address = bytes.slice()
  for (let at = address.length - 1; at >= 0; at--) {
    const next = ((address[at] ?? 0) + 1) & 0xff
    address[at] = next
    if (next !== 0) break
  }
  return formatIp(address)
}

/**
 * MAC of a node's overlay device, known to every other node without asking: `0e:5b` and the four bytes of an IPv4 tunnel address,
 * `0e` and five bytes of a hash of an IPv6 one. One MAC for all would be dropped by the kernel as a loop.
 */
export function overlayMac(tunnelAddress: string): string {
  const { family, bytes } = parseIp(tunnelAddress)
  const tail =
    family === 4 ? [0x5b, ...bytes] : createHash('sha256').update(bytes).digest().subarray(0, 5)
  return [0x0e, ...tail].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

function familyOf(text: string): Family {
  return text.includes(':') ? 6 : 4
}
