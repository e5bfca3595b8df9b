// A packet in words, a line per header, with every wrong length and checksum said: for people reading a failed test.
import { internetChecksum, pseudoHeader } from './checksum.ts'
import { IPPROTO_ICMP, IPPROTO_ICMPV6 } from './icmp.ts'
import {
  IPPROTO_DSTOPTS,
  IPPROTO_FRAGMENT,
  IPPROTO_HOPOPTS,
  IPPROTO_NONE,
  IPPROTO_ROUTING,
} from './ip.ts'
import { type Enclosing, ETH_P_ARP, ETH_P_IP, ETH_P_IPV6 } from './packet.ts'
import { IPPROTO_TCP, IPPROTO_UDP, tcpFlags } from './transport.ts'
import { hex, ipText, macText } from './values.ts'

/** UDP ports behind which VXLAN is expected: RFC 7348 and Linux' default. */
const VXLAN_PORTS = [4789, 8472]

/** Lines in the order of the headers, from Ethernet on; never throws. */
export function describePacket(bytes: Uint8Array): string[] {
  const lines: string[] = []
  describeEthernet(bytes, lines)
  return lines
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** False, and a line saying so, if a header does not fit. */
function fits(bytes: Uint8Array, size: number, what: string, lines: string[]): boolean {
  if (bytes.length >= size) return true
  lines.push(`${what} cut short: ${bytes.length} of ${size} bytes: ${bytesText(bytes)}`)
  return false
}

function bytesText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
}

function describeRest(bytes: Uint8Array, lines: string[]): void {
  if (bytes.length === 0) return
  const shown = bytes.subarray(0, 32)
  const isText = shown.every((byte) => byte >= 0x20 && byte < 0x7f)
  const text = isText ? `'${String.fromCharCode(...shown)}'` : bytesText(shown)
  lines.push(`payload ${bytes.length} bytes ${text}${bytes.length > 32 ? ' …' : ''}`)
}

function describeEthernet(bytes: Uint8Array, lines: string[]): void {
  if (!fits(bytes, 14, 'eth', lines)) return
  const type = viewOf(bytes).getUint16(12)
  lines.push(
    `eth ${macText(bytes.subarray(6, 12))} → ${macText(bytes.subarray(0, 6))} type ${hex(type, 4)}`,
  )
  const inner = bytes.subarray(14)
  if (type === ETH_P_IP) describeIp4(inner, lines)
  else if (type === ETH_P_IPV6) describeIp6(inner, lines)
  else if (type === ETH_P_ARP) describeArp(inner, lines)
  else describeRest(inner, lines)
}

function describeArp(bytes: Uint8Array, lines: string[]): void {
  if (!fits(bytes, 28, 'arp', lines)) return
  const op = viewOf(bytes).getUint16(6)
  const at = (start: number, size: number) => bytes.subarray(start, start + size)
  const sender = `${macText(at(8, 6))} ${ipText(at(14, 4))}`
  const target = `${macText(at(18, 6))} ${ipText(at(24, 4))}`
  lines.push(`arp ${op === 1 ? 'request' : op === 2 ? 'reply' : op} ${sender} → ${target}`)
  describeRest(bytes.subarray(28), lines)
}

function sumText(found: number, right: number): string {
  return found === right ? `sum ${hex(found, 4)}` : `SUM ${hex(found, 4)} NOT ${hex(right, 4)}`
}

/** The checksum that would be right in a header that carries one at `at`. */
function rightSum(bytes: Uint8Array, at: number, pseudo: Uint8Array): number {
  const blank = bytes.slice()
  blank.fill(0, at, at + 2)
  return internetChecksum(pseudo, blank)
}

function describeIp4(bytes: Uint8Array, lines: string[]): void {
  if (!fits(bytes, 20, 'ip4', lines)) return
  const view = viewOf(bytes)
  const headerLength = (view.getUint8(0) & 15) * 4
  const total = view.getUint16(2)
  const fragment = view.getUint16(6)
  const protocol = view.getUint8(9)
  const source = bytes.subarray(12, 16)
  const destination = bytes.subarray(16, 20)
  const header = bytes.subarray(0, Math.max(20, headerLength))
  const words = [
    `ip4 ${ipText(source)} → ${ipText(destination)}`,
    view.getUint8(0) >> 4 === 4 ? '' : `VERSION ${view.getUint8(0) >> 4}`,
    `ttl ${view.getUint8(8)} tos ${hex(view.getUint8(1), 2)} id ${view.getUint16(4)}`,
    `proto ${protocol}`,
    total === bytes.length ? `len ${total}` : `LEN ${total} NOT ${bytes.length}`,
    fragment & 0x4000 ? 'DF' : '',
    fragment & 0x2000 ? 'MF' : '',
    fragment & 0x1fff ? `offset ${(fragment & 0x1fff) * 8}` : '',
    headerLength === 20 ? '' : `options ${bytesText(bytes.subarray(20, headerLength))}`,
    sumText(view.getUint16(10), rightSum(header, 10, new Uint8Array())),
  ]
  lines.push(words.filter((word) => word !== '').join(' '))
  const inner = bytes.subarray(header.length)
  if ((fragment & 0x1fff) !== 0) describeRest(inner, lines)
  else describeInner(inner, protocol, { family: 4, source, destination }, lines)
}

function describeIp6(bytes: Uint8Array, lines: string[]): void {
  if (!fits(bytes, 40, 'ip6', lines)) return
  const view = viewOf(bytes)
  const first = view.getUint32(0)
  const length = view.getUint16(4)
  const next = view.getUint8(6)
  const source = bytes.subarray(8, 24)
  const destination = bytes.subarray(24, 40)
  const words = [
    `ip6 ${ipText(source)} → ${ipText(destination)}`,
    first >>> 28 === 6 ? '' : `VERSION ${first >>> 28}`,
    `hops ${view.getUint8(7)} class ${hex((first >>> 20) & 255, 2)} label ${first & 0xfffff}`,
    `next ${next}`,
    length === bytes.length - 40 ? `len ${length}` : `LEN ${length} NOT ${bytes.length - 40}`,
  ]
  lines.push(words.filter((word) => word !== '').join(' '))
  describeInner(bytes.subarray(40), next, { family: 6, source, destination }, lines)
}

function describeInner(
  bytes: Uint8Array,
  protocol: number,
  enclosing: Enclosing,
  lines: string[],
): void {
  const { family } = enclosing
  if (protocol === IPPROTO_TCP) describeTcp(bytes, enclosing, lines)
  else if (protocol === IPPROTO_UDP) describeUdp(bytes, enclosing, lines)
  else if (protocol === IPPROTO_ICMP && family === 4) describeIcmp(bytes, enclosing, lines)
  else if (protocol === IPPROTO_ICMPV6 && family === 6) describeIcmp(bytes, enclosing, lines)
  else if (protocol === 4) describeIp4(bytes, lines)
  else if (protocol === 41) describeIp6(bytes, lines)
  else if (family === 6 && extensionNames.has(protocol)) {
    describeExtension(bytes, protocol, enclosing, lines)
  } else describeRest(bytes, lines)
}

const extensionNames = new Map([
  [IPPROTO_HOPOPTS, 'hop-by-hop'],
  [IPPROTO_ROUTING, 'routing'],
  [IPPROTO_FRAGMENT, 'fragment'],
  [IPPROTO_DSTOPTS, 'destination options'],
])

function describeExtension(
  bytes: Uint8Array,
  protocol: number,
  enclosing: Enclosing,
  lines: string[],
): void {
  const name = extensionNames.get(protocol) ?? 'extension'
  if (!fits(bytes, 8, name, lines)) return
  const view = viewOf(bytes)
  const next = view.getUint8(0)
  if (protocol !== IPPROTO_FRAGMENT) {
    const size = (view.getUint8(1) + 1) * 8
    lines.push(`${name} next ${next} ${bytesText(bytes.subarray(2, size))}`)
    describeInner(bytes.subarray(size), next, enclosing, lines)
    return
  }
  const offset = view.getUint16(2)
  const more = offset & 1 ? ' MF' : ''
  lines.push(`fragment next ${next} id ${view.getUint32(4)} offset ${offset & 0xfff8}${more}`)
  const inner = bytes.subarray(8)
  describeInner(inner, offset & 0xfff8 ? IPPROTO_NONE : next, enclosing, lines)
}

function transportSum(bytes: Uint8Array, at: number, protocol: number, outer: Enclosing): string {
  const pseudo = pseudoHeader(outer.source, outer.destination, protocol, bytes.length)
  return sumText(viewOf(bytes).getUint16(at), rightSum(bytes, at, pseudo))
}

function describeTcp(bytes: Uint8Array, enclosing: Enclosing, lines: string[]): void {
  if (!fits(bytes, 20, 'tcp', lines)) return
  const view = viewOf(bytes)
  const size = Math.max(20, (view.getUint8(12) >> 4) * 4)
  const flags = tcpFlags.filter((_, bit) => (view.getUint8(13) >> bit) & 1)
  const options = bytes.subarray(20, size)
  const words = [
    `tcp ${view.getUint16(0)} → ${view.getUint16(2)} ${flags.join('+')}`,
    `seq ${view.getUint32(4)} ack ${view.getUint32(8)} window ${view.getUint16(14)}`,
    options.length > 0 ? `options ${bytesText(options)}` : '',
    transportSum(bytes, 16, IPPROTO_TCP, enclosing),
  ]
  lines.push(words.filter((word) => word !== '').join(' '))
  describeRest(bytes.subarray(size), lines)
}

function describeUdp(bytes: Uint8Array, enclosing: Enclosing, lines: string[]): void {
  if (!fits(bytes, 8, 'udp', lines)) return
  const view = viewOf(bytes)
  const port = view.getUint16(2)
  const length = view.getUint16(4)
  const sum = view.getUint16(6) === 0 ? 'no sum' : transportSum(bytes, 6, IPPROTO_UDP, enclosing)
  const size = length === bytes.length ? `len ${length}` : `LEN ${length} NOT ${bytes.length}`
  lines.push(`udp ${view.getUint16(0)} → ${port} ${size} ${sum}`)
  const inner = bytes.subarray(8)
  if (!VXLAN_PORTS.includes(port) || inner.length < 8) {
    describeRest(inner, lines)
    return
  }
  const tunnel = viewOf(inner)
  lines.push(`vxlan vni ${tunnel.getUint32(4) >>> 8} flags ${hex(tunnel.getUint8(0), 2)}`)
  describeEthernet(inner.subarray(8), lines)
}

function describeIcmp(bytes: Uint8Array, enclosing: Enclosing, lines: string[]): void {
  const { family } = enclosing
  const name = family === 4 ? 'icmp' : 'icmp6'
  if (!fits(bytes, 8, name, lines)) return
  const view = viewOf(bytes)
  const type = view.getUint8(0)
  const sum =
    family === 6
      ? transportSum(bytes, 2, IPPROTO_ICMPV6, enclosing)
      : sumText(view.getUint16(2), rightSum(bytes, 2, new Uint8Array()))
  const rest = hex(view.getUint32(4), 8)
  lines.push(`${name} type ${type} code ${view.getUint8(1)} rest ${rest} ${sum}`)
  const inner = bytes.subarray(8)
  const isError = family === 4 ? [3, 5, 11, 12].includes(type) : type < 128
  if (!isError) describeRest(inner, lines)
  // What an error carries is cut after some bytes, so its own lengths and sums read as wrong.
  else if (family === 4) describeIp4(inner, lines)
  else describeIp6(inner, lines)
}
