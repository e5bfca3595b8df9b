// What the guests said, kernel by suite: one table, the reasons behind it, and the numbers of the closing line.
import type { TestResult } from './guest/run-files.ts'

export interface SuiteRun {
  readonly kernel: string
  readonly suite: string
  readonly results: TestResult[]
  /** Why the suite as such has failed: it died, ran too long, never began. */
  problem?: string
  seconds?: number
}

export interface Verdict {
  readonly lines: readonly string[]
  readonly passed: number
  readonly failed: number
}

const of = (run: SuiteRun, state: TestResult['state']): TestResult[] =>
  run.results.filter((result) => result.state === state)

/** @param isWhole every kernel and suite ran, so that what was skipped everywhere was tested nowhere */
export function judge(runs: readonly SuiteRun[], isWhole: boolean): Verdict {
  const lines: string[] = []
  let passed = 0
  let failed = 0
  for (const run of runs) {
    const place = `${run.kernel} ${run.suite}`
    for (const { file, name, note } of of(run, 'failed')) {
      lines.push(`FAIL ${place}: ${file} › ${name}`, indent(note ?? ''))
    }
    for (const { file, name, note } of of(run, 'passed')) {
      if (note !== undefined) lines.push(`flaky ${place}: ${file} › ${name}`, indent(note))
    }
    if (run.problem !== undefined) lines.push(`FAIL ${place}: ${run.problem}`)
    passed += of(run, 'passed').length
    failed += of(run, 'failed').length + (run.problem === undefined ? 0 : 1)
  }
  lines.push(...skips(runs))
  if (isWhole) {
    for (const suite of new Set(runs.map((run) => run.suite))) {
      const all = runs.filter((run) => run.suite === suite)
      if (all.some((run) => run.results.some(({ state }) => state !== 'skipped'))) continue
      lines.push(`FAIL ${suite}: skipped everywhere`)
      failed++
    }
  }
  lines.push(...table(runs))
  return { lines, passed, failed }
}

/** Skipped tests by file and reason: what a kernel lacks is told once, not once per test. */
function skips(runs: readonly SuiteRun[]): string[] {
  const groups = new Map<string, number>()
  for (const run of runs) {
    for (const { file, note } of of(run, 'skipped')) {
      const line = `${run.kernel} ${run.suite}: ${file}: ${note ?? 'no reason given'}`
      groups.set(line, (groups.get(line) ?? 0) + 1)
    }
  }
  return Array.from(groups, ([line, count]) => `skipped ${line} (${count})`)
}

function table(runs: readonly SuiteRun[]): string[] {
  const head = ['kernel', 'suite', 'passed', 'failed', 'skipped', 'seconds']
  const rows = runs.map((run) => [
    run.kernel,
    run.suite,
    String(of(run, 'passed').length),
    String(of(run, 'failed').length + (run.problem === undefined ? 0 : 1)),
    String(of(run, 'skipped').length),
    run.seconds === undefined ? '-' : String(run.seconds),
  ])
  const widths = head.map((_, at) =>
    Math.max(...[head, ...rows].map((row) => row[at]?.length ?? 0)),
  )
  return [head, ...rows].map((row) =>
    row
      .map((cell, at) => (at < 2 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  '),
  )
}

function indent(text: string): string {
  return text.replace(/^/gm, '    ')
}
