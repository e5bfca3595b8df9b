// Runs the specs of the Kubernetes source, which raise an API server of their own, and hands their results to the report.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '../../lab/command.ts'
import { TREE } from '../../lab/places.ts'
import type { SpecResult } from '../e2e.ts'

const TIMEOUT_MS = 600_000

interface Output {
  readonly testResults: readonly {
    readonly message: string
    readonly assertionResults: readonly {
      readonly fullName: string
      readonly status: string
      readonly duration?: number
      readonly failureMessages: readonly string[]
    }[]
  }[]
}

/** One that was left out counts as failed: whoever calls this has built what they need. */
export async function runSourceSpecs(signal: AbortSignal): Promise<SpecResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sinabro-specs-'))
  const file = join(folder, 'results.json')
  const config = join(import.meta.dirname, 'vitest.config.ts')
  const vitest = join(TREE, 'node_modules/vitest/vitest.mjs')
  const report = ['--reporter=json', `--outputFile=${file}`]
  try {
    await run([process.execPath, vitest, 'run', '--config', config, ...report], {
      ...{ timeoutMs: TIMEOUT_MS, canFail: true, signal },
    })
    const { testResults } = JSON.parse(readFileSync(file, 'utf8')) as Output
    return testResults.flatMap(({ message, assertionResults }) => {
      if (assertionResults.length === 0) {
        return [{ name: 'source', seconds: 0, failure: message || 'nothing ran' }]
      }
      return assertionResults.map(({ fullName, status, duration = 0, failureMessages }) => ({
        name: `source: ${fullName.trim()}`,
        seconds: duration / 1000,
        ...(status === 'passed' ? {} : { failure: failureMessages.join('\n') || status }),
      }))
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}
