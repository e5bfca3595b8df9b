// A Maglev table: backends take turns at claiming its entries, each in an order of its own, so that all have alike and few entries change when one comes or goes. Pure.
import { createHash } from 'node:crypto'
import { maglevRow } from '@sinabro/libbpf-ts/layouts'
import { maglevSpec } from '@sinabro/libbpf-ts/maglev'

export interface TableBackend {
  /** What nodes know it by: its address and port. */
  readonly name: string
  /** In proportion to the others'; default: 1. */
  readonly weight?: number
}

/**
 * Primes, each for so many backends, whose entries then differ by less than 1 %, as do those of the others when one goes. Few, and far
 * apart: from one size to the next everything moves (ADR 0094).
 */
export const TABLE_SIZES: readonly (readonly [most: number, size: number])[] = [
  [3, 2_039],
  [20, 16_381],
  [300, 65_521],
  [Number.POSITIVE_INFINITY, 131_071],
]
const FREE = 0xffff_ffff

/** The same on every node for so many. */
export function sizeFor(backends: number): number {
  return TABLE_SIZES.find(([most]) => backends <= most)?.[1] ?? 0
}

/** The kernel gives up to 8 pages as a power of two, and more by the page. */
const PAGE = 4096
const LARGE = 8 * PAGE

/** What the kernel takes for the table of so many. */
export function tableBytes(backends: number): number {
  if (backends === 0) return 0
  const bytes = maglevSpec(sizeFor(backends)).maxEntries * maglevRow.size
  return bytes <= LARGE ? 2 ** Math.ceil(Math.log2(bytes)) : Math.ceil(bytes / PAGE) * PAGE
}

interface Claimant {
  readonly index: number
  readonly name: string
  readonly weight: number
  /** Where it claims next, and how far behind that the time after. */
  at: number
  readonly skip: number
  /** What it has saved up for its next turn. */
  credit: number
}

/**
 * By entry, which of `backends` has it: the same for the same set, whatever the order. Empty without backends.
 * @param size a prime, so that every order reaches every entry
 */
export function buildTable(
  backends: readonly TableBackend[],
  size: number = sizeFor(backends.length),
): Uint32Array {
  const claimants = backends
    .map((backend, index) => claimantOf(backend, index, size))
    .filter(({ weight }) => weight > 0)
    .sort((one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0))
  if (claimants.length === 0) return new Uint32Array(0)
  const table = new Uint32Array(size).fill(FREE)
  const heaviest = Math.max(...claimants.map(({ weight }) => weight))
  for (let left = size; ; ) {
    for (const claimant of claimants) {
      claimant.credit += claimant.weight
      if (claimant.credit < heaviest) continue
      claimant.credit -= heaviest
      while (table[claimant.at] !== FREE) step(claimant, size)
      table[claimant.at] = claimant.index
      step(claimant, size)
      if (--left === 0) return table
    }
  }
}

function step(claimant: Claimant, size: number): void {
  const next = claimant.at + claimant.skip
  claimant.at = next >= size ? next - size : next
}

function claimantOf({ name, weight = 1 }: TableBackend, index: number, size: number): Claimant {
  const digest = createHash('sha256').update(name).digest()
  return {
    ...{ index, name, weight, credit: 0 },
    at: digest.readUInt32BE(0) % size,
    skip: 1 + (digest.readUInt32BE(4) % (size - 1)),
  }
}
