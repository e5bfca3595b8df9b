// Boots a kernel in qemu with this machine's root as a read-only share, runs one command there, returns its output and status.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { BootFiles } from './prepare.ts'

export interface Job {
  /** A shell script; the working directory is the tree. */
  readonly command: string
  /** A folder of the caller's, seen by the guest too; what is written there for this boot has its name. */
  readonly scratch: string
  readonly timeoutMs: number
  readonly memoryMib: number
  readonly onLine?: (line: string) => void
  /** The command gets this terminal; there are no lines then. */
  readonly isInteractive?: boolean
  readonly signal?: AbortSignal
}

export type Ending = 'exit' | 'panic' | 'timeout' | 'interrupted' | 'died'

export interface Outcome {
  readonly ending: Ending
  /** Of the command, if it came to an end. */
  readonly status: number | undefined
  /** The kernel's last words; of a panic from its first one on. */
  readonly console: string
  /** What the command said last. */
  readonly output: string
  /** What the guest has cost. */
  readonly cpuSeconds: number
}

const TREE = dirname(dirname(import.meta.dirname))
const TAIL_LINES = 40
/** A soft lockup is a busy host, not a broken guest. */
const PANIC =
  /Kernel panic|BUG: (?!soft lockup|workqueue lockup)|Oops: |general protection fault|Unable to handle kernel/
const PANIC_POLL_MS = 250
/** What Linux counts CPU time in, everywhere. */
const TICKS_PER_SEC = 100
/** One that works, since each word between two costs much in emulation; of two, so that a map per CPU has more than one value. */
const CPUS = '1,maxcpus=2'
/** Slower when emulated than what takes their place: string instructions by the byte, long vectors, a fifth level of page tables. */
const SLOW_FEATURES = ['erms', 'fsrm', 'avx', 'avx2', 'f16c', 'xsave', 'xsaveopt', 'la57', 'pku']

export async function boot(files: BootFiles, job: Job): Promise<Outcome> {
  const work = join(job.scratch, `boot-${files.release}`)
  const consoleFile = join(work, 'console')
  mkdirSync(work, { recursive: true })
  writeFileSync(join(work, 'command'), `cd '${TREE}' || exit 1\n${job.command}\n`)
  // The guest ends with us, however we end: setpriv(1) has the kernel see to it.
  const command = ['--pdeathsig', 'KILL', 'qemu-system-x86_64']
  const qemu = spawn('setpriv', [...command, ...qemuArguments(files, job, work, consoleFile)], {
    stdio: job.isInteractive ? ['inherit', 'inherit', 'pipe'] : ['ignore', 'pipe', 'pipe'],
  })
  const gone = new Promise((resolve) => qemu.once('close', resolve).once('error', resolve))
  try {
    const outcome = await watch(qemu, job, consoleFile)
    return { ...outcome, cpuSeconds: cpuSecondsOf(qemu) }
  } finally {
    qemu.kill('SIGKILL')
    await gone
  }
}

/** 0 when it has ended by itself. */
function cpuSecondsOf({ pid }: ChildProcess): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return Math.round((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SEC)
  } catch {
    return 0
  }
}

function qemuArguments(files: BootFiles, job: Job, work: string, consoleFile: string): string[] {
  const settings = {
    script: join(import.meta.dirname, 'guest-run.sh'),
    work,
    modules: files.modules,
    ...(job.isInteractive ? { interactive: 1 } : {}),
  }
  const cmdline = Object.entries(settings).map(([key, value]) => `sinabro.${key}=${value}`)
  // What costs in emulation and tests nothing. Above all ASLR: translated code is kept by its virtual address, so each start of a
  // program would be translated anew. A busy host would set off the watchdogs, and make the clock look unfit.
  const quick = [
    ...['mitigations=off', 'norandmaps', 'init_on_alloc=0'],
    ...['nowatchdog', 'no_timer_check', 'rcupdate.rcu_cpu_stall_suppress=1', 'tsc=reliable'],
  ].join(' ')
  return [
    // Software emulation even where KVM is offered: nested KVM fails in ways of its own, and a boot takes seconds anyway.
    ...[
      '-accel',
      'tcg,thread=multi',
      '-cpu',
      ['max', ...SLOW_FEATURES.map((name) => `${name}=off`)].join(','),
    ],
    ...['-smp', CPUS, '-m', String(job.memoryMib)],
    ...['-nodefaults', '-display', 'none', '-no-reboot'],
    // In a shell ^C is the guest's, not qemu's.
    ...['-chardev', `stdio,id=talk,signal=${job.isInteractive ? 'off' : 'on'}`],
    ...['-serial', `file:${consoleFile}`, '-serial', 'chardev:talk'],
    ...['-kernel', files.kernel, '-initrd', files.initrd],
    ...['-append', `console=ttyS0 panic=-1 loglevel=4 ${quick} ${cmdline.join(' ')}`],
    ...['-fsdev', 'local,id=root,path=/,security_model=none,readonly=on,multidevs=remap'],
    ...['-device', 'virtio-9p-pci,fsdev=root,mount_tag=root'],
  ]
}

async function watch(
  qemu: ChildProcess,
  job: Job,
  consoleFile: string,
): Promise<Omit<Outcome, 'cpuSeconds'>> {
  const said = (): string => (existsSync(consoleFile) ? readFileSync(consoleFile, 'utf8') : '')
  const { promise, resolve, reject } = Promise.withResolvers<Ending>()
  const output: string[] = []
  let status: number | undefined
  let errors = ''
  if (qemu.stdout !== null) {
    createInterface({ input: qemu.stdout }).on('line', (raw) => {
      const line = raw.replace(/\r+$/, '')
      // The command may have left its line open, or ended with an escape sequence.
      const exit = /@@exit (\d+)$/.exec(line)
      if (exit === null) {
        output.push(line)
        if (output.length > TAIL_LINES) output.shift()
        job.onLine?.(line)
      } else {
        status = Number(exit[1])
        resolve(PANIC.test(said()) ? 'panic' : 'exit')
      }
    })
  }
  qemu.stderr?.on('data', (part: Buffer) => {
    errors += part.toString()
  })
  const timer = setTimeout(resolve, job.timeoutMs, 'timeout')
  const poll = setInterval(() => PANIC.test(said()) && resolve('panic'), PANIC_POLL_MS)
  const interrupt = (): void => resolve('interrupted')
  job.signal?.addEventListener('abort', interrupt, { once: true })
  if (job.signal?.aborted) interrupt()
  qemu.once('error', reject)
  qemu.once('close', (code) => {
    // Nobody reads a status from a terminal: an interactive guest says goodbye by ending.
    const isDone = job.isInteractive === true && code === 0
    resolve(PANIC.test(said()) ? 'panic' : isDone ? 'exit' : 'died')
  })
  const ending = await promise.finally(() => {
    clearTimeout(timer)
    clearInterval(poll)
    job.signal?.removeEventListener('abort', interrupt)
  })
  const words = `${said()}${status === undefined ? errors : ''}`
  const lines = words.trimEnd().split('\n')
  const panicAt = lines.findIndex((line) => PANIC.test(line))
  const from = panicAt < 0 ? Math.max(0, lines.length - TAIL_LINES) : panicAt
  const console = lines.slice(from, from + TAIL_LINES).join('\n')
  return { ending, status, console, output: output.join('\n') }
}
