// `npm test`: every level that runs on one machine, one report, and the closing line `N passed, N failed`.
import { dirname } from 'node:path'
import { startVitest } from 'vitest/node'
import { giveBack } from './owner.ts'

const root = dirname(import.meta.dirname)
const levels = ['unit', 'exec', 'kernel', 'integration']
const filters = process.argv.slice(2)

const vitest = await startVitest('test', filters, {
  root,
  run: true,
  watch: false,
  reporters: ['default'],
})
const counts = new Map(levels.map((level) => [level, { passed: 0, failed: 0, skipped: 0 }]))
const skips: string[] = []
const flaky: string[] = []

for (const file of vitest.state.getTestModules()) {
  const level = counts.get(file.project.name)
  if (level === undefined) continue
  // A file or a suite that broke outside of its tests, in beforeAll say, has failed once more than they tell.
  for (const suite of [file, ...file.children.allSuites()]) {
    if (suite.errors().length > 0) level.failed++
  }
  for (const test of file.children.allTests()) {
    const { state } = test.result()
    if (test.diagnostic()?.flaky) flaky.push(`flaky: ${file.relativeModuleId} › ${test.fullName}`)
    if (state === 'passed') level.passed++
    else if (state === 'failed') level.failed++
    else {
      level.skipped++
      const reason = reasonOf(file.project.name, test.result())
      if (reason === undefined) level.failed++
      const why = reason ?? 'FAILED: a test that is left out has to say why'
      skips.push(`skipped: ${file.relativeModuleId} › ${test.fullName} (${why})`)
    }
  }
}
const unhandled = vitest.state.getUnhandledErrors().length
await vitest.close()
giveBack(root)

for (const line of [...skips, ...flaky]) console.log(line)
let passed = 0
let failed = unhandled
for (const [level, count] of counts) {
  console.log(`${level}: ${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`)
  passed += count.passed
  failed += count.failed
  // A level in which nothing ran reads as green and is not: it counts as a failure unless tests were chosen by name.
  if (filters.length === 0 && count.passed + count.failed === 0) {
    console.log(`${level}: nothing ran`)
    failed++
  }
}
if (passed + failed === 0) {
  console.log(`no test file matches ${filters.join(' ')}`)
  failed++
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

/** `ctx.skip(condition, reason)` says it; of levels that need root there is nothing to say to somebody else. */
function reasonOf(level: string, result: object): string | undefined {
  if ('note' in result && typeof result.note === 'string') return result.note
  const needsRoot = level === 'kernel' || level === 'integration'
  return needsRoot && process.getuid?.() !== 0 ? 'needs root' : undefined
}
