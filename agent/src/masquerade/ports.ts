// Ranges of ports: as text, and as the bits of sb_reserved. Pure.
import { RESERVED_ROWS } from '@sinabro/libbpf-ts/layouts'
import type { PortRange } from './rows.ts'

const BITS = 64

/** '8080,30000-30100', as the kernel writes ip_local_reserved_ports; undefined for anything else. */
export function parsePorts(text: string): PortRange[] | undefined {
  const parts = text.split(',').filter((part) => part.trim() !== '')
  const ranges = parts.map(parseRange)
  return ranges.every((range) => range !== undefined) ? ranges : undefined
}

export function parseRange(text: string): PortRange | undefined {
  const [, from, to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text.trim()) ?? []
  const [first, last] = [Number(from), Number(to)]
  return first <= last && last <= 65_535 ? { first, last } : undefined
}

export function formatRange({ first, last }: PortRange): string {
  return first === last ? `${first}` : `${first}-${last}`
}

/** One number for each row of the map: bit port % 64 of row port / 64. */
export function reservedBits(ranges: readonly PortRange[]): bigint[] {
  const rows = Array.from({ length: RESERVED_ROWS }, () => 0n)
  for (const { first, last } of ranges) {
    for (let port = first; port <= last; port++) {
      const row = Math.floor(port / BITS)
      rows[row] = (rows[row] ?? 0n) | (1n << BigInt(port % BITS))
    }
  }
  return rows
}

/** How many ports of `range` are not in `reserved`. */
export function countFree(range: PortRange, reserved: readonly PortRange[]): number {
  let free = 0
  for (let port = range.first; port <= range.last; port++) {
    if (!reserved.some(({ first, last }) => first <= port && port <= last)) free++
  }
  return free
}
