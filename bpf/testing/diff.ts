// Two packets side by side when they are not the same: headers in words, then the bytes with what differs marked.
import { describePacket } from './describe.ts'

const BYTES_PER_LINE = 16

/** Undefined if they are equal. */
export function diffPackets(actual: Uint8Array, expected: Uint8Array): string | undefined {
  if (Buffer.compare(actual, expected) === 0) return undefined
  return [
    `packets differ: expected (-) ${expected.length} bytes, actual (+) ${actual.length}`,
    ...diffHeaders(describePacket(actual), describePacket(expected)),
    ...diffBytes(actual, expected),
  ].join('\n')
}

/** Throws an Error that shows both. */
export function assertSamePacket(actual: Uint8Array, expected: Uint8Array, what = 'packet'): void {
  const difference = diffPackets(actual, expected)
  if (difference !== undefined) throw new Error(`${what}: ${difference}`)
}

function diffHeaders(actual: readonly string[], expected: readonly string[]): string[] {
  const lines: string[] = []
  for (let i = 0; i < Math.max(actual.length, expected.length); i++) {
    if (actual[i] === expected[i]) lines.push(`  ${actual[i]}`)
    else {
      if (expected[i] !== undefined) lines.push(`- ${expected[i]}`)
      if (actual[i] !== undefined) lines.push(`+ ${actual[i]}`)
    }
  }
  return lines
}

function diffBytes(actual: Uint8Array, expected: Uint8Array): string[] {
  const lines: string[] = []
  for (let at = 0; at < Math.max(actual.length, expected.length); at += BYTES_PER_LINE) {
    const ours = actual.subarray(at, at + BYTES_PER_LINE)
    const theirs = expected.subarray(at, at + BYTES_PER_LINE)
    if (Buffer.compare(ours, theirs) === 0) continue
    const offset = at.toString(16).padStart(4, '0')
    if (theirs.length > 0) lines.push(`- ${offset}  ${hexLine(theirs)}`)
    if (ours.length > 0) lines.push(`+ ${offset}  ${hexLine(ours)}`)
    const marks = Array.from({ length: Math.max(ours.length, theirs.length) }, (_, i) =>
      ours[i] === theirs[i] ? '  ' : '^^',
    )
    lines.push(`        ${marks.join(' ')}`.trimEnd())
  }
  return lines
}

function hexLine(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
}
