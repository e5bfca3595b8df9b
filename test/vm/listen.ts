// Sorts what a run of suites says, line by line, and passes on at once what a reader waits for: failures, what took long, what ended.
import { filesOf } from './bundle.ts'
import type { Loaded } from './guest/load-objects.ts'
import type { TestResult } from './guest/run-files.ts'
import { indent, type SuiteRun } from './report.ts'
import type { Suite } from './suites.ts'

export const SUITE_LIMIT_SEC = 1500
/** Where the minutes go. */
const SLOW_MS = 15_000
/** `timeout` says so. */
const TIMED_OUT = 124

function longestFiles(results: readonly TestResult[]): string {
  const msOf = new Map<string, number>()
  for (const { file, ms } of results) msOf.set(file, (msOf.get(file) ?? 0) + ms)
  const longest = [...msOf].sort(([, a], [, b]) => b - a).slice(0, 8)
  return longest.map(([file, ms]) => `${file} (${Math.round(ms / 1000)} s)`).join(', ')
}

interface SuiteEnd {
  readonly name: string
  readonly status: number
  readonly seconds: number
}

export interface Listener {
  readonly runs: readonly SuiteRun[]
  readonly onLine: (line: string) => void
}

/** @param onEnd is called when a suite has ended, and may find a problem with it */
export function listen(
  kernel: string,
  suites: readonly Suite[],
  onLoaded: (loaded: Loaded) => void = () => undefined,
  onEnd: (run: SuiteRun) => void = () => undefined,
): Listener {
  const runs = suites.map(({ name }): SuiteRun => ({ kernel, suite: name, results: [] }))
  const runOf = new Map(
    suites.flatMap((suite, at) => filesOf(suite).map((file) => [file, runs[at]] as const)),
  )
  const tell = (text: string): void => console.log(`${kernel}: ${text}`)
  const takeTest = (result: TestResult): void => {
    const { file, name, state, ms, note = '' } = result
    runOf.get(file)?.results.push(result)
    if (state === 'failed') tell(`FAIL ${file} › ${name}\n${indent(note)}`)
    else if (state === 'passed' && note !== '') tell(`flaky ${file} › ${name}\n${indent(note)}`)
    if (ms > SLOW_MS) tell(`slow, ${ms} ms: ${file} › ${name}`)
  }
  const takeEnd = ({ name, status, seconds }: SuiteEnd): void => {
    const run = runs.find(({ suite }) => suite === name)
    if (run === undefined) return
    run.seconds = seconds
    if (status === TIMED_OUT) run.problem = `not done after ${SUITE_LIMIT_SEC} s; ended`
    else if (status !== 0) run.problem = `its process ended with ${status}`
    else if (run.results.length === 0) run.problem = 'said nothing of any test'
    onEnd(run)
    const problem = run.problem === undefined ? '' : `; ${run.problem}`
    tell(`${name}: ${run.results.length} tests, ${seconds} s${problem}`)
    if (seconds * 1000 > SLOW_MS) tell(`${name}: most of it in ${longestFiles(run.results)}`)
  }
  const onLine = (line: string): void => {
    const [, word, json = ''] = /^@@(test|suite|loaded) (.*)$/.exec(line) ?? []
    if (word === 'test') takeTest(JSON.parse(json) as TestResult)
    else if (word === 'suite') takeEnd(JSON.parse(json) as SuiteEnd)
    else if (word === 'loaded') onLoaded(JSON.parse(json) as Loaded)
    else if (line.trim() !== '') tell(line)
  }
  return { runs, onLine }
}
