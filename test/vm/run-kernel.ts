// One kernel's turn: the suites bundled into a folder that the guest sees, the guest booted, its words sorted by suite.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { boot, type Outcome } from './boot.ts'
import { bundle, bundleSuite, filesOf, TREE } from './bundle.ts'
import type { Loaded } from './guest/load-objects.ts'
import type { TestResult } from './guest/run-files.ts'
import type { BootFiles } from './prepare.ts'
import type { SuiteRun } from './report.ts'
import { type Suite, VERIFIER } from './suites.ts'

export const MEMORY_MIB = 2560
export const CPUS = 2
const SUITE_LIMIT_SEC = 600
const KERNEL_LIMIT_MS = 1_500_000
/** Where the minutes go. */
const SLOW_MS = 15_000
/** `timeout` says so. */
const TIMED_OUT = 124

/** Makes the folder that `runKernel` of every kernel runs from. */
export async function bundleSuites(suites: readonly Suite[], folder: string): Promise<void> {
  mkdirSync(folder)
  for (const suite of suites) {
    const outfile = join(folder, `${suite.name}.mjs`)
    if (suite.name === VERIFIER) {
      const objects = JSON.stringify(join(TREE, 'bpf/build'))
      await bundle(
        `import { loadObjects } from './guest/load-objects.ts'\nawait loadObjects(${objects})`,
        outfile,
      )
    } else await bundleSuite(suite, outfile)
    const settings = Object.entries(suite.env ?? {})
    const exports = settings.map(([name, value]) => `export ${name}='${value}'\n`)
    writeFileSync(join(folder, `${suite.name}.env`), exports.join(''))
  }
}

export interface KernelRun {
  readonly outcome: Outcome
  readonly runs: SuiteRun[]
  readonly loaded: Loaded[]
}

export async function runKernel(
  kernel: string,
  files: BootFiles,
  suites: readonly Suite[],
  { folder, scratch, signal }: { folder: string; scratch: string; signal: AbortSignal },
): Promise<KernelRun> {
  const runs = suites.map(({ name }): SuiteRun => ({ kernel, suite: name, results: [] }))
  const runOf = new Map(
    suites.flatMap((suite, at) => filesOf(suite).map((file) => [file, runs[at]] as const)),
  )
  const loaded: Loaded[] = []
  const onLine = (line: string): void => {
    const [, word, json = ''] = /^@@(test|suite|loaded) (.*)$/.exec(line) ?? []
    if (word === undefined) {
      if (line.trim() !== '') console.log(`  ${line}`)
    } else if (word === 'loaded') loaded.push(JSON.parse(json) as Loaded)
    else if (word === 'test') {
      const result = JSON.parse(json) as TestResult
      runOf.get(result.file)?.results.push(result)
      if (result.state === 'failed') console.log(`  FAIL ${result.file} › ${result.name}`)
      if (result.ms > SLOW_MS)
        console.log(`  slow, ${result.ms} ms: ${result.file} › ${result.name}`)
    } else {
      const { name, status, seconds } = JSON.parse(json) as SuiteEnd
      const run = runs.find(({ suite }) => suite === name)
      if (run === undefined) return
      run.seconds = seconds
      if (status === TIMED_OUT) run.problem = `not done after ${SUITE_LIMIT_SEC} s; ended`
      else if (status !== 0) run.problem = `its process ended with ${status}`
      console.log(`  ${name}: ${run.results.length} tests, ${seconds} s`)
    }
  }
  const outcome = await boot(files, {
    command: commandFor(suites, folder),
    scratch,
    timeoutMs: KERNEL_LIMIT_MS,
    memoryMib: MEMORY_MIB,
    cpus: CPUS,
    signal,
    onLine,
  })
  for (const run of runs) {
    if (run.seconds === undefined) run.problem ??= `did not end: ${wordFor(outcome)}`
    else if (run.results.length === 0) run.problem ??= 'said nothing of any test'
  }
  return { outcome, runs, loaded }
}

interface SuiteEnd {
  readonly name: string
  readonly status: number
  readonly seconds: number
}

function wordFor({ ending, status }: Outcome): string {
  return ending === 'exit' ? `the guest ended with ${status}` : `the guest: ${ending}`
}

/** The verifier first and alone, since its time is measured; then two at a time: much of a test is waiting for the kernel. */
function commandFor(suites: readonly Suite[], folder: string): string {
  const names = suites.map(({ name }) => name)
  const call = `sh test/vm/guest/run-suite.sh '${folder}' ${SUITE_LIMIT_SEC} '${process.execPath}'`
  const rest = names.filter((name) => name !== VERIFIER)
  const first = names.includes(VERIFIER) ? [`${call} ${VERIFIER}`] : []
  const lanes = rest.length === 0 ? [] : [`echo ${rest.join(' ')} | xargs -P ${CPUS} -n 1 ${call}`]
  return [...first, ...lanes].join('\n')
}
