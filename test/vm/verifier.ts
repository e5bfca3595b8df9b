// The table of what the verifier walked through, per program and kernel: kept in verifier.json so that growth shows in review.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Loaded } from './guest/load-objects.ts'

/** Instructions walked through, and how long the object took to load when that number was written, in ms of emulation. */
export interface Verified {
  readonly instructions: number
  readonly loadMs: number
}

/** What the verifier of one kernel said of all programs. */
interface Spoken {
  readonly kernel: string
  readonly loaded: readonly Loaded[] | undefined
}

/** By `object/program`, then by kernel. */
export type VerifierTable = Readonly<Record<string, Readonly<Record<string, Verified>>>>

export const TABLE_FILE = join(import.meta.dirname, 'verifier.json')
/** A new patch version of a kernel may walk a little differently; more than this is our doing. */
export const TOLERANCE = 0.02

export function readTable(file = TABLE_FILE): VerifierTable {
  return JSON.parse(readFileSync(file, 'utf8')) as VerifierTable
}

/** One program and kernel a line: a review sees what changed. */
export function formatTable(table: VerifierTable): string {
  const programs = Object.keys(table).sort()
  const blocks = programs.map((program) => {
    const row = table[program] ?? {}
    const lines = Object.keys(row)
      .sort(byVersion)
      .map((kernel) => `    ${JSON.stringify(kernel)}: ${formatVerified(row[kernel])}`)
    return `  ${JSON.stringify(program)}: {\n${lines.join(',\n')}\n  }`
  })
  return `{\n${blocks.join(',\n')}\n}\n`
}

const byVersion = new Intl.Collator('en', { numeric: true }).compare

function formatVerified(verified: Verified | undefined): string {
  const { instructions = 0, loadMs = 0 } = verified ?? {}
  return `{ "instructions": ${instructions}, "loadMs": ${loadMs} }`
}

export function writeTable(table: VerifierTable, file = TABLE_FILE): void {
  writeFileSync(`${file}.new`, formatTable(table))
  renameSync(`${file}.new`, file)
}

const keyOf = ({ object, program }: Loaded): string => `${object}/${program}`

/** What one kernel said in place of what the table has of it. A load time stays where the count does: it is never the same twice. */
export function updateTable(table: VerifierTable, { kernel, loaded }: Spoken): VerifierTable {
  // Where an object was refused that is what there is to say, and nothing to write down.
  if (loaded === undefined) return table
  const next: Record<string, Record<string, Verified>> = {}
  for (const [program, { [kernel]: _, ...others }] of Object.entries(table)) {
    if (Object.keys(others).length > 0) next[program] = others
  }
  for (const one of loaded) {
    const { instructions, loadMs } = one
    const known = table[keyOf(one)]?.[kernel]
    const same = known?.instructions === instructions
    next[keyOf(one)] = { ...next[keyOf(one)], [kernel]: same ? known : { instructions, loadMs } }
  }
  return next
}

/** Where what a kernel said differs from the table; empty when all is right. */
export function differences(
  table: VerifierTable,
  kernel: string,
  loaded: readonly Loaded[],
): string[] {
  const found = new Map(loaded.map((one) => [keyOf(one), one.instructions]))
  const lines: string[] = []
  for (const [program, instructions] of found) {
    const known = table[program]?.[kernel]?.instructions
    if (known === undefined) lines.push(`${program} is not in the table`)
    else if (Math.abs(instructions - known) > known * TOLERANCE) {
      const percent = ((100 * (instructions - known)) / known).toFixed(1)
      lines.push(`${program}: ${instructions} instructions, the table has ${known} (${percent} %)`)
    }
  }
  for (const [program, row] of Object.entries(table)) {
    if (row[kernel] !== undefined && !found.has(program)) lines.push(`${program} was not loaded`)
  }
  return lines
}
