// The faults of test:vm itself, on this machine: its one suite that boots guests instead of running in one.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { listen } from './listen.ts'
import type { SuiteRun } from './report.ts'
import { FAULTS, FAULTS_SWITCH, type Suite } from './suites.ts'

export async function runFaults(
  suite: Suite,
  { folder, signal }: { folder: string; signal: AbortSignal },
): Promise<readonly SuiteRun[]> {
  const startMs = performance.now()
  const { runs, onLine } = listen('this one', [suite])
  const child = spawn(process.execPath, [join(folder, `${FAULTS}.mjs`)], {
    env: { ...process.env, [FAULTS_SWITCH]: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  createInterface({ input: child.stdout }).on('line', onLine)
  const stop = (): boolean => child.kill('SIGTERM')
  signal.addEventListener('abort', stop, { once: true })
  const status = await new Promise<number | null>((resolve, reject) =>
    child.once('error', reject).once('close', resolve),
  )
  signal.removeEventListener('abort', stop)
  const seconds = Math.round((performance.now() - startMs) / 1000)
  onLine(`@@suite ${JSON.stringify({ name: FAULTS, status, seconds })}`)
  return runs
}
