// `npm run test:vm`: on each kernel of kernels.ts every suite of suites.ts; ends with the line `N passed, N failed`.
//
// test:vm [-- --kernel NAME] [-- --only SUITE] [-- --update] [-- --shell] [-- --exec COMMAND]
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { boot } from './boot.ts'
import { KERNELS, type Kernel } from './kernels.ts'
import { type BootFiles, prepare } from './prepare.ts'
import { missingPrograms } from './programs.ts'
import { judge, type SuiteRun } from './report.ts'
import { runFaults } from './run-faults.ts'
import { bundleSuites, CPUS, MEMORY_MIB, runKernel } from './run-kernel.ts'
import { makeScratch, removeScratch } from './scratch.ts'
import { FAULTS, SUITES, VERIFIER } from './suites.ts'
import { differences, readTable, updateTable, writeTable } from './verifier.ts'

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
/** Those that run in guests. */
const suites = chosenSuites.filter(({ name }) => name !== FAULTS)
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
      cpus: CPUS,
      isInteractive: values.shell,
      signal: abort.signal,
      onLine: (line) => console.log(line),
    })
    if (ending !== 'exit') console.error(`the guest: ${ending}\n${tail}`)
    process.exitCode = ending === 'exit' ? status : 1
  }
}

/** One kernel that cannot be had does not keep the others from running. */
function tryPrepare(kernel: Kernel): BootFiles | undefined {
  try {
    return prepare(kernel)
  } catch (error) {
    console.log(`FAIL kernel ${kernel.name}: ${error instanceof Error ? error.message : error}`)
    return undefined
  }
}

function isGreen({ results }: SuiteRun): boolean {
  return results.every(({ state }) => state === 'passed')
}

async function test(): Promise<void> {
  const folder = join(scratch, 'suites')
  await bundleSuites(suites, folder)
  const smaller = suites.flatMap(({ name, env = {}, only }) => [
    ...Object.entries(env).map(([key, value]) => `${name}: ${key}=${value}`),
    ...(only === undefined ? [] : [`${name}: only ${only}`]),
  ])
  if (smaller.length > 0)
    console.log(`smaller numbers, because emulation is slow: ${smaller.join(', ')}`)
  const runs: SuiteRun[] = []
  let failed = 0
  let table = readTable()
  for (const kernel of suites.length === 0 ? [] : kernels) {
    if (abort.signal.aborted) break
    const files = tryPrepare(kernel)
    if (files === undefined) {
      failed++
      continue
    }
    const startMs = performance.now()
    console.log(`kernel ${files.release}`)
    const inFolders = { folder, scratch, signal: abort.signal }
    const { outcome, runs: own, loaded } = await runKernel(kernel.name, files, suites, inFolders)
    runs.push(...own)
    const seconds = Math.round((performance.now() - startMs) / 1000)
    console.log(`kernel ${files.release}: ${outcome.ending} after ${seconds} s`)
    if (outcome.ending !== 'exit') console.log(`the console ended with\n${outcome.console}`)
    if (outcome.ending === 'timeout') console.log(`the command said last\n${outcome.output}`)
    const verifier = own.find(({ suite }) => suite === VERIFIER)
    if (verifier === undefined) continue
    for (const { object, program, instructions, loadMs } of loaded) {
      console.log(`  ${object}/${program}: ${instructions} instructions, ${loadMs} ms`)
    }
    // Where an object was refused that is what there is to say, and nothing to write down.
    if (verifier.problem !== undefined || !isGreen(verifier)) continue
    if (values.update) table = updateTable(table, kernel.name, loaded)
    const changes = differences(table, kernel.name, loaded)
    if (changes.length === 0) continue
    const how = 'if that is meant, npm run test:vm -- --only verifier --update'
    verifier.problem = `${[...changes, how].join('\n    ')}`
  }
  if (values.update) writeTable(table)
  const faults = chosenSuites.find(({ name }) => name === FAULTS)
  const isWanted = values.kernel === undefined || values.only === FAULTS
  if (faults !== undefined && isWanted && !abort.signal.aborted) {
    const [file = ''] = faults.files
    runs.push(await runFaults(file, { scratch, signal: abort.signal }))
  }
  const isWhole = values.kernel === undefined && values.only === undefined
  const verdict = judge(runs, isWhole)
  for (const line of verdict.lines) console.log(line)
  if (abort.signal.aborted) {
    console.log('interrupted')
    failed++
  }
  failed += verdict.failed
  console.log(`${verdict.passed} passed, ${failed} failed`)
  process.exitCode = failed === 0 ? 0 : 1
}
