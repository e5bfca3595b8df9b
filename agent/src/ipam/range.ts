// One pod range as arithmetic: which addresses of it can be given, which is the node's own; never walks over a range.
import { formatIp, parseIp, parsePrefix } from '@sinabro/node-netlink'
import { IpamError } from './errors.ts'

export interface Range {
  /** Canonical, '10.244.1.0/24'. */
  readonly text: string
  readonly family: 4 | 6
  readonly prefixLen: number
  /** Host part of the first and the last address that can be given. */
  readonly firstOffset: number
  readonly lastOffset: number
  readonly network: bigint
}

const LENGTHS = {
  4: { bits: 32, shortest: 16, longest: 30 },
  6: { bits: 128, shortest: 48, longest: 120 },
} as const

/** Pods take the first 2¹⁶ addresses of a larger range: more than a node can run, and few enough to remember each. */
const MOST_OFFSETS = 1 << 16
/** The network address is nobody's; the one after it is the node's. */
const FIRST_OFFSET = 2

/** @throws IpamError range-invalid */
export function parseRange(text: string): Range {
  const { family, bytes, prefixLen } = parse(text)
  const { bits, shortest, longest } = LENGTHS[family]
  if (prefixLen < shortest || prefixLen > longest) {
    throw new IpamError(
      'range-invalid',
      `range ${text}: expected a prefix length from ${shortest} to ${longest}, found ${prefixLen}`,
    )
  }
  const network = toBigInt(bytes)
  const size = 2 ** (bits - prefixLen)
  if (network % BigInt(size) !== 0n) {
    throw new IpamError('range-invalid', `range ${text}: bits are set after the prefix`)
  }
  // IPv4's last address is the broadcast; IPv6 has none.
  const lastOffset = Math.min(family === 4 ? size - 2 : size - 1, MOST_OFFSETS - 1)
  const canonical = `${formatIp(bytes)}/${prefixLen}`
  return { text: canonical, family, prefixLen, firstOffset: FIRST_OFFSET, lastOffset, network }
}

export function capacityOf(range: Range): number {
  return range.lastOffset - range.firstOffset + 1
}

export function addressAt(range: Range, offset: number): string {
  return formatIp(toBytes(range.network + BigInt(offset), range.family))
}

/** The node's own address in its pod range. */
export function nodeAddressOf(range: Range): string {
  return addressAt(range, 1)
}

/** Whether pods may have it: inside, and not one of the reserved ones. */
export function canGive(range: Range, address: string): boolean {
  const offset = offsetOf(range, address)
  return offset !== undefined && offset >= range.firstOffset && offset <= range.lastOffset
}

/**
 * Whether a pod that asks for it may have it: anywhere in the range but the reserved ones, also past those that are given
 * unasked.
 */
export function canAsk(range: Range, address: string): boolean {
  const offset = offsetOf(range, address)
  const { bits } = LENGTHS[range.family]
  const isBroadcast = range.family === 4 && offset === 2 ** (bits - range.prefixLen) - 1
  return offset !== undefined && offset >= range.firstOffset && !isBroadcast
}

/** The host part of an address; undefined outside the range. */
export function offsetOf(range: Range, address: string): number | undefined {
  const { family, bytes } = parseIp(address)
  const offset = toBigInt(bytes) - range.network
  const size = 2n ** BigInt(LENGTHS[range.family].bits - range.prefixLen)
  const isInside = family === range.family && offset >= 0n && offset < size
  return isInside ? Number(offset) : undefined
}

function parse(text: string): ReturnType<typeof parsePrefix> {
  try {
    return parsePrefix(text)
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    throw new IpamError('range-invalid', `range ${text}: ${detail}`, { cause: error })
  }
}

function toBigInt(bytes: Uint8Array): bigint {
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
}

function toBytes(value: bigint, family: 4 | 6): Uint8Array {
  const bytes = new Uint8Array(family === 4 ? 4 : 16)
  let rest = value
  for (let index = bytes.length - 1; index >= 0; index--) {
    bytes[index] = Number(rest & 0xffn)
    rest >>= 8n
  }
  return bytes
}
