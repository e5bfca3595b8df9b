// `npm run test:vm`: on each kernel of kernels.ts, loads every eBPF object; ends with the line `N passed, N failed`.
//
// test:vm [-- --kernel NAME] [-- --exec COMMAND]: one kernel only; another command instead of the tests, to look around.
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { boot } from './boot.ts'
import { bundle } from './bundle.ts'
import { KERNELS } from './kernels.ts'
import { prepare } from './prepare.ts'

const TIMEOUT_MS = 180_000
const MEMORY_MIB = 2048
const CPUS = 2

const { values } = parseArgs({
  options: { kernel: { type: 'string' }, exec: { type: 'string' } },
})
const chosen = KERNELS.filter(({ name }) => values.kernel === undefined || name === values.kernel)
if (chosen.length === 0) {
  console.error(`no kernel ${values.kernel}; there are ${KERNELS.map((k) => k.name).join(', ')}`)
  process.exit(2)
}
const abort = new AbortController()
process.once('SIGINT', () => abort.abort())
process.once('SIGTERM', () => abort.abort())

const tests = await bundle(join(import.meta.dirname, 'load-objects.ts'))
let passed = 0
let failed = 0
for (const kernel of chosen) {
  if (abort.signal.aborted) break
  const files = prepare(kernel)
  const startMs = performance.now()
  console.log(`kernel ${files.release}`)
  let counted = 0
  const outcome = await boot(files, {
    command: values.exec ?? tests.command,
    timeoutMs: TIMEOUT_MS,
    memoryMib: MEMORY_MIB,
    cpus: CPUS,
    signal: abort.signal,
    onLine: (line) => {
      console.log(`  ${line}`)
      if (values.exec !== undefined) return
      if (line.startsWith('ok ')) passed++
      else if (line.startsWith('FAIL ')) failed++
      else return
      counted++
    },
  })
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
  const { ending, status } = outcome
  console.log(
    `kernel ${files.release}: ${ending === 'exit' ? `exit ${status}` : ending}, ${seconds} s`,
  )
  if (ending !== 'exit') console.log(`the console ended with\n${outcome.console}`)
  // A guest that dies, or ends without having tested anything, is a failure of its own.
  if (ending !== 'exit' || (counted === 0 && values.exec === undefined)) failed++
  if (values.exec !== undefined && status !== 0) failed++
}
tests.remove()
if (abort.signal.aborted) failed++
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
