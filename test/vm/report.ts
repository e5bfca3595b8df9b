// What the guests said, kernel by suite: one table with the reasons of what was skipped, and the numbers of the closing line.
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

/** Failed though no test says so. */
function problemsOf(run: SuiteRun): string[] {
  const silent = of(run, 'skipped').filter(({ note = '' }) => note === '')
  return [
    ...(run.problem?.split('\n').slice(0, 1) ?? []),
    ...silent.map(({ file, name }) => `${file} › ${name}: what is left out has to say why`),
  ]
}

export function isGreen(run: SuiteRun): boolean {
  return of(run, 'failed').length + problemsOf(run).length === 0
}

/**
 * Names of what went wrong, whose story was told when it happened, and the table.
 * @param isWhole every kernel and suite ran, so that what was skipped everywhere was tested nowhere
 */
export function judge(runs: readonly SuiteRun[], isWhole: boolean): Verdict {
  const lines: string[] = []
  let passed = 0
  let failed = 0
  for (const run of runs) {
    const place = `${run.kernel} ${run.suite}`
    const problems = problemsOf(run)
    for (const { file, name } of of(run, 'failed')) lines.push(`FAIL ${place}: ${file} › ${name}`)
    for (const problem of problems) lines.push(`FAIL ${place}: ${problem}`)
    for (const { file, name, note } of of(run, 'passed')) {
      if (note !== undefined) lines.push(`flaky ${place}: ${file} › ${name}`)
    }
    passed += of(run, 'passed').length
    failed += of(run, 'failed').length + problems.length
  }
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

function table(runs: readonly SuiteRun[]): string[] {
  const head = ['kernel', 'suite', 'passed', 'failed', 'skipped', 'seconds', 'skipped because']
  const rows = runs.map((run) => [
    run.kernel,
    run.suite,
    String(of(run, 'passed').length),
    String(of(run, 'failed').length + problemsOf(run).length),
    String(of(run, 'skipped').length),
    run.seconds === undefined ? '-' : String(run.seconds),
    reasons(run),
  ])
  const widths = head.map((_, at) =>
    Math.max(...[head, ...rows].map((row) => row[at]?.length ?? 0)),
  )
  const isNumber = (at: number): boolean => at > 1 && at < head.length - 1
  const pad = (cell: string, at: number): string =>
    isNumber(at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)
  return [head, ...rows].map((row) => row.map(pad).join('  ').trimEnd())
}

/** What a kernel lacks is told once, with how many tests that concerns. */
function reasons(run: SuiteRun): string {
  const counts = new Map<string, number>()
  for (const { note = '' } of of(run, 'skipped')) counts.set(note, (counts.get(note) ?? 0) + 1)
  return Array.from(counts, ([note, count]) => `${note} (${count})`).join('; ')
}

export function indent(text: string): string {
  return text.replace(/^/gm, '    ')
}
