// One kernel's turn: the guest booted, the suites run in it, its words sorted by suite, its verifier held against the table.
import { boot, type Outcome } from './boot.ts'
import type { Loaded } from './guest/load-objects.ts'
import { listen, SUITE_LIMIT_SEC } from './listen.ts'
import type { BootFiles } from './prepare.ts'
import { isGreen, type SuiteRun } from './report.ts'
import { type Suite, VERIFIER } from './suites.ts'
import { differences, type VerifierTable } from './verifier.ts'

export const MEMORY_MIB = 2560
/** Two suites share the one CPU: much of a test is waiting for the kernel. */
const LANES = 2
const KERNEL_LIMIT_MS = 2_100_000

export interface KernelRun {
  readonly kernel: string
  readonly runs: readonly SuiteRun[]
  /** Of every object, if none was refused. */
  readonly loaded: readonly Loaded[] | undefined
}

interface Surroundings {
  /** Of the suites' modules. */
  readonly folder: string
  readonly scratch: string
  readonly signal: AbortSignal
  /** What the verifier has to say; absent when that is to be written down. */
  readonly table: VerifierTable | undefined
}

export async function runKernel(
  kernel: string,
  files: BootFiles,
  suites: readonly Suite[],
  { folder, scratch, signal, table }: Surroundings,
): Promise<KernelRun> {
  const startMs = performance.now()
  const tell = (text: string): void => console.log(`${kernel}: ${text}`)
  const loaded: Loaded[] = []
  let isVerified = false
  const take = (one: Loaded): void => {
    const { object, program, instructions, loadMs } = one
    loaded.push(one)
    tell(`${object}/${program}: ${instructions} instructions, ${loadMs} ms`)
  }
  const compare = (run: SuiteRun): void => {
    if (run.suite !== VERIFIER || !isGreen(run)) return
    isVerified = true
    const changes = table === undefined ? [] : differences(table, kernel, loaded)
    if (changes.length === 0) return
    const how = 'if that is meant, npm run test:vm -- --only verifier --update'
    run.problem = ['the verifier walks otherwise than verifier.json says', ...changes, how].join(
      '\n    ',
    )
  }
  const { runs, onLine } = listen(kernel, suites, take, compare)
  tell(`boots ${files.release}`)
  const outcome = await boot(files, {
    command: commandFor(suites, folder),
    scratch,
    timeoutMs: KERNEL_LIMIT_MS,
    memoryMib: MEMORY_MIB,
    signal,
    onLine,
  })
  const seconds = Math.round((performance.now() - startMs) / 1000)
  const { ending, cpuSeconds, console: said, output } = outcome
  tell(`${ending} after ${seconds} s, of which the CPU worked ${cpuSeconds}`)
  if (ending !== 'exit') tell(`the console ended with\n${said}`)
  if (ending === 'timeout') tell(`the command said last\n${output}`)
  for (const run of runs) {
    if (run.seconds === undefined) run.problem ??= `did not end: ${wordFor(outcome)}`
  }
  return { kernel, runs, loaded: isVerified ? loaded : undefined }
}

function wordFor({ ending, status }: Outcome): string {
  return ending === 'exit' ? `the guest ended with ${status}` : `the guest: ${ending}`
}

/** The verifier first and alone, since its time is measured; then two at a time. */
function commandFor(suites: readonly Suite[], folder: string): string {
  const names = suites.map(({ name }) => name)
  const call = `sh test/vm/guest/run-suite.sh '${folder}' ${SUITE_LIMIT_SEC} '${process.execPath}'`
  const rest = names.filter((name) => name !== VERIFIER)
  const first = names.includes(VERIFIER) ? [`${call} ${VERIFIER}`] : []
  const lanes = rest.length === 0 ? [] : [`echo ${rest.join(' ')} | xargs -P ${LANES} -n 1 ${call}`]
  return [...first, ...lanes].join('\n')
}
