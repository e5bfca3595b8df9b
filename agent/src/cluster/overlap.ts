// Finds pod ranges that two nodes claim. Pure: the order of the nodes decides who keeps one.
import { parsePrefix } from '@sinabro/node-netlink'

export interface RangeClaim {
  readonly owner: string
  readonly range: string
}

export interface Overlap {
  readonly refused: RangeClaim
  readonly holder: RangeClaim
}

interface Bits {
  readonly family: 4 | 6
  readonly value: bigint
  readonly length: number
}

/**
 * Prefixes overlap only by one holding the other, so each claim is looked up by its own prefix and by those around it, at
 * the lengths that occur: the cost per claim does not grow with their number.
 */
export function findOverlaps(claims: readonly RangeClaim[]): Overlap[] {
  const parsed = claims.map((claim) => ({ claim, bits: toBits(claim.range) }))
  const lengths = { 4: lengthsOf(4, parsed), 6: lengthsOf(6, parsed) }
  const held = new Map<string, RangeClaim>()
  /** Prefixes that hold a claimed one somewhere inside. */
  const around = new Map<string, RangeClaim>()
  const overlaps: Overlap[] = []
  for (const { claim, bits } of parsed) {
    const outer = lengths[bits.family]
      .filter((length) => length <= bits.length)
      .map((length) => keyOf(bits, length))
    const holderKey = outer.find((key) => held.has(key))
    const holder =
      (holderKey === undefined ? undefined : held.get(holderKey)) ??
      around.get(keyOf(bits, bits.length))
    if (holder !== undefined) {
      overlaps.push({ refused: claim, holder })
      continue
    }
    held.set(keyOf(bits, bits.length), claim)
    for (const key of outer) if (!around.has(key)) around.set(key, claim)
  }
  return overlaps
}

/** Shortest first. */
function lengthsOf(family: 4 | 6, parsed: readonly { readonly bits: Bits }[]): number[] {
  const ofFamily = parsed.filter(({ bits }) => bits.family === family)
  return [...new Set(ofFamily.map(({ bits }) => bits.length))].sort((a, b) => a - b)
}

function toBits(range: string): Bits {
  const { family, bytes, prefixLen } = parsePrefix(range)
  const value = BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
  return { family, value, length: prefixLen }
}

function keyOf({ family, value }: Bits, length: number): string {
  const total = family === 4 ? 32 : 128
  return `${family}/${length}/${(value >> BigInt(total - length)).toString(16)}`
}
