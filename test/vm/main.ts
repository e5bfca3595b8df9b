// `npm run test:vm`: on each kernel of kernels.ts every suite of suites.ts; ends with the line `N passed, N failed`.
//
// test:vm [-- --kernel NAME] [-- --only SUITE] [-- --update] [-- --shell] [-- --exec COMMAND]
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { boot } from './boot.ts'
import { bundleSuite } from './bundle.ts'
import { KERNELS, type Kernel } from './kernels.ts'
import { type BootFiles, prepare } from './prepare.ts'
import { missingPrograms } from './programs.ts'
import { judge } from './report.ts'
import { runFaults } from './run-faults.ts'
import { MEMORY_MIB, runKernel } from './run-kernel.ts'
import { makeScratch, removeScratch } from './scratch.ts'
import { FAULTS, isFor, SUITES, type Suite } from './suites.ts'
import { readTable, updateTable, writeTable } from './verifier.ts'

const { values } = parseArgs({
  options: {
    kernel: { type: 'string' },
    only: { type: 'string' },
    update: { type: 'boolean', default: false },
    shell: { type: 'boolean', default: false },
    exec: { type: 'string' },
  },
})

function refuse(message: string): never {
  console.error(message)
  process.exit(2)
}

function choose<T extends { readonly name: string }>(
  what: string,
  all: readonly T[],
  name: string | undefined,
): readonly T[] {
  const chosen = all.filter((one) => name === undefined || one.name === name)
  if (chosen.length > 0) return chosen
  return refuse(`no ${what} ${name}; there are ${all.map((one) => one.name).join(', ')}`)
}

const kernels = choose('kernel', KERNELS, values.kernel)
const chosenSuites = choose('suite', SUITES, values.only)
/** Those that run in the guest of a kernel. */
const suitesOf = ({ name: kernel }: Kernel): readonly Suite[] =>
  chosenSuites.filter((suite) => suite.name !== FAULTS && isFor(suite, kernel))
if (kernels.every((kernel) => suitesOf(kernel).length === 0) && values.only !== FAULTS) {
  refuse(`${values.only} is not for ${values.kernel}`)
}
for (const line of missingPrograms()) refuse(line)

const abort = new AbortController()
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => abort.abort())
}
const scratch = makeScratch()
try {
  if (values.shell || values.exec !== undefined) await enter(kernels)
  else await test()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  console.log('0 passed, 1 failed')
  process.exitCode = 1
} finally {
  removeScratch(scratch)
}

/** A shell, or one command, instead of the tests. */
async function enter(chosen: readonly Kernel[]): Promise<void> {
  for (const kernel of values.shell ? chosen.slice(0, 1) : chosen) {
    const {
      ending,
      status,
      console: tail,
    } = await boot(prepare(kernel), {
      command: values.exec ?? 'exec bash',
      scratch,
      timeoutMs: values.shell ? 2 ** 31 - 1 : 600_000,
      memoryMib: MEMORY_MIB,
      isInteractive: values.shell,
      signal: abort.signal,
      onLine: (line) => console.log(line),
    })
    if (ending !== 'exit') console.error(`the guest: ${ending}\n${tail}`)
    process.exitCode = ending === 'exit' ? status : 1
  }
}

/** One kernel that cannot be had does not keep the others from running. */
function tryPrepare(kernel: Kernel): [Kernel, BootFiles][] {
  try {
    return [[kernel, prepare(kernel)]]
  } catch (error) {
    console.log(`FAIL kernel ${kernel.name}: ${error instanceof Error ? error.message : error}`)
    return []
  }
}

function tellSmaller(): void {
  const smaller = chosenSuites.flatMap(({ name, env = {}, only, kernel }) => [
    ...Object.entries(env).map(([key, value]) => `${name}: ${key}=${value}`),
    ...(only === undefined ? [] : [`${name}: only ${only}`]),
    ...(kernel === undefined ? [] : [`${name}: only on ${kernel}`]),
  ])
  if (smaller.length === 0) return
  console.log(`smaller numbers, because emulation is slow: ${smaller.join(', ')}`)
}

async function test(): Promise<void> {
  const startMs = performance.now()
  const folder = join(scratch, 'suites')
  mkdirSync(folder)
  for (const suite of chosenSuites) await bundleSuite(suite, folder)
  tellSmaller()
  const { signal } = abort
  const kept = readTable()
  const table = values.update ? undefined : kept
  const wanted = kernels.filter((kernel) => suitesOf(kernel).length > 0)
  const ready = wanted.flatMap(tryPrepare)
  // Side by side: each guest has one CPU.
  const guests = ready.map(([kernel, files]) =>
    runKernel(kernel.name, files, suitesOf(kernel), { folder, scratch, signal, table }),
  )
  const faults = chosenSuites.find(({ name }) => name === FAULTS)
  const isWanted = values.kernel === undefined || values.only === FAULTS
  const testFaults = async () => {
    // On the CPU of the guest that ends first.
    if (guests.length > 1) await Promise.race(guests)
    return faults !== undefined && isWanted && !signal.aborted
      ? runFaults(faults, { folder, signal })
      : []
  }
  const [faultRuns, ...ended] = await Promise.all([testFaults(), ...guests])
  const runs = [...ended.flatMap((one) => one.runs), ...faultRuns]
  if (values.update) writeTable(ended.reduce(updateTable, kept))
  const isWhole = values.kernel === undefined && values.only === undefined && !signal.aborted
  const verdict = judge(runs, isWhole)
  for (const line of verdict.lines) console.log(line)
  if (signal.aborted) console.log('interrupted')
  const failed = verdict.failed + (wanted.length - ready.length) + (signal.aborted ? 1 : 0)
  console.log(`${Math.round((performance.now() - startMs) / 1000)} s`)
  console.log(`${verdict.passed} passed, ${failed} failed`)
  process.exitCode = failed === 0 ? 0 : 1
}
