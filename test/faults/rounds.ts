// Rounds of faults on a lab: each node takes every n-th round, all nodes at once; counts which points were passed.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Lab, run } from '../lab/index.ts'
import { FaultNode } from './node.ts'
import type { Options } from './options.ts'
import { describeFault, type Fault, planFaults } from './plan.ts'
import { POINTS } from './points.ts'

export interface RoundReport {
  /** Counts from 0. */
  readonly round: number
  readonly fault: string
  readonly wrong: readonly string[]
  readonly done: number
}

export interface Outcome {
  readonly passed: number
  readonly failed: number
  /** How often a round killed there and all was right afterwards. */
  readonly coverage: ReadonlyMap<string, number>
}

export async function runRounds(
  options: Options & {
    /** Of the lab. */
    readonly name: string
    readonly onRound: (report: RoundReport) => void
  },
): Promise<Outcome> {
  const { rounds, seed, nodes, name, onRound } = options
  const faults = planFaults(rounds, seed)
  const coverage = new Map<string, number>()
  const folder = mkdtempSync(join(tmpdir(), 'sinabro-faults-'))
  let [passed, failed] = [0, 0]
  const lab = await Lab.up({ name, nodes })
  const take = async (node: FaultNode, first: number): Promise<void> => {
    await node.begin()
    for (let round = first; round < rounds; round += nodes) {
      const fault = faults[round] as Fault
      const wrong = await node.round(fault)
      if (wrong.length === 0) {
        passed++
        const what = fault.kind === 'point' ? fault.point.name : `at random: ${fault.kind}`
        coverage.set(what, (coverage.get(what) ?? 0) + 1)
      } else failed++
      onRound({ round, fault: describeFault(fault), wrong, done: passed + failed })
      if (wrong.length > 0) await node.reset()
    }
  }
  try {
    const killAt = await compileKillAt(folder)
    await Promise.all(lab.nodes.map((node, i) => take(new FaultNode(node, killAt), i)))
  } finally {
    await lab.down()
    rmSync(folder, { recursive: true })
  }
  return { passed, failed, coverage }
}

async function compileKillAt(folder: string): Promise<string> {
  const output = join(folder, 'kill-at')
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror']
  await run(['gcc', ...flags, join(import.meta.dirname, 'kill-at.c'), '-o', output])
  return output
}

/** Every point with how often it was passed, and how many never were. */
export function formatCoverage(coverage: ReadonlyMap<string, number>): string {
  const names = [...POINTS.map(({ name }) => name), 'at random: agent', 'at random: executable']
  const width = Math.max(...names.map((name) => name.length))
  const missed = POINTS.filter(({ name }) => !coverage.has(name)).length
  return [
    ...names.map((name) => `${name.padEnd(width)}  ${coverage.get(name) ?? 0}`),
    `${POINTS.length - missed} of ${POINTS.length} points passed`,
  ].join('\n')
}
