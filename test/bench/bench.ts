// What every benchmark is given and gives back.
import type { BenchRow } from './row.ts'

export interface BenchContext {
  /** Interleaved pairs of runs behind each median. */
  readonly runs: number
  /** A folder for compiled programs and other files; removed at the end. */
  readonly dir: string
  /** A line for people: what is being measured against what. */
  say(text: string): void
}

export interface Bench {
  readonly name: string
  run(context: BenchContext): Promise<BenchRow[]>
}

/** Lab names of benchmarks start with it, so that `lab down` by hand finds them. */
export const LAB_NAME = 'bench'
