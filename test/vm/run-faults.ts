// The faults of test:vm itself, on this machine: its one suite that boots guests instead of running in one.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TREE } from './bundle.ts'
import type { SuiteRun } from './report.ts'
import { FAULTS } from './suites.ts'

/** What the file asks for: in `npm test` it would hold up everybody by a minute. */
export const FAULTS_SWITCH = 'SINABRO_VM_FAULTS'

/** As vitest's JSON reporter writes it. */
interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly {
      readonly fullName: string
      readonly status: string
      readonly duration?: number
      readonly failureMessages?: readonly string[]
    }[]
  }[]
}

export async function runFaults(
  file: string,
  { scratch, signal }: { scratch: string; signal: AbortSignal },
): Promise<SuiteRun> {
  const startMs = performance.now()
  const run: SuiteRun = { kernel: 'this one', suite: FAULTS, results: [] }
  const outputFile = join(scratch, 'faults.json')
  const vitest = join(TREE, 'node_modules/vitest/vitest.mjs')
  const reporter = ['--reporter=json', `--outputFile=${outputFile}`]
  const child = spawn(
    process.execPath,
    [vitest, 'run', '--project', 'integration', ...reporter, file],
    {
      cwd: TREE,
      env: { ...process.env, [FAULTS_SWITCH]: '1' },
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  )
  const stop = (): boolean => child.kill('SIGTERM')
  signal.addEventListener('abort', stop, { once: true })
  const status = await new Promise<number | null>((resolve, reject) =>
    child.once('error', reject).once('close', resolve),
  )
  signal.removeEventListener('abort', stop)
  run.seconds = Math.round((performance.now() - startMs) / 1000)
  let report: Report
  try {
    report = JSON.parse(readFileSync(outputFile, 'utf8')) as Report
  } catch {
    run.problem = `vitest ended with ${status} and left no report`
    return run
  }
  for (const one of report.testResults.flatMap(({ assertionResults }) => assertionResults)) {
    const { fullName: name, status: word, duration: ms = 0, failureMessages = [] } = one
    const state = word === 'passed' || word === 'failed' ? word : 'skipped'
    const note = failureMessages.length === 0 ? {} : { note: failureMessages.join('\n') }
    run.results.push({ file, name, state, ms: Math.round(ms), ...note })
  }
  if (run.results.length === 0) run.problem = 'said nothing of any test'
  return run
}
