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
  if (!file.ok() && [...file.children.allTests()].length === 0) level.failed++
  for (const test of file.children.allTests()) {
    const { state } = test.result()
    if (test.diagnostic()?.flaky) flaky.push(`flaky: ${file.relativeModuleId} › ${test.fullName}`)
    if (state === 'passed') level.passed++
    else if (state === 'failed') level.failed++
    else {
      level.skipped++
      skips.push(`skipped: ${file.relativeModuleId} › ${test.fullName}${reasonOf(test.result())}`)
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

function reasonOf(result: { readonly note?: string | undefined } | object): string {
  return 'note' in result && result.note !== undefined ? ` (${result.note})` : ' (no reason given)'
}
