// Boots a kernel in qemu with this machine's root as a read-only share, runs one command there, returns its output and status.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { BootFiles } from './prepare.ts'

export interface Job {
  /** A shell script; the working directory is the tree. */
  readonly command: string
  readonly timeoutMs: number
  readonly memoryMib: number
  readonly cpus: number
  readonly onLine?: (line: string) => void
  readonly signal?: AbortSignal
}

export type Ending = 'exit' | 'panic' | 'timeout' | 'died'

export interface Outcome {
  readonly ending: Ending
  /** Of the command, if it came to an end. */
  readonly status: number | undefined
  /** The kernel's last words. */
  readonly console: string
}

const TREE = join(import.meta.dirname, '..', '..')
const CONSOLE_LINES = 40
const PANIC = /Kernel panic|BUG: |Oops: |general protection fault|Unable to handle kernel/
const PANIC_POLL_MS = 250

export async function boot(files: BootFiles, job: Job): Promise<Outcome> {
  const work = mkdtempSync(join(tmpdir(), 'sinabro-vm-'))
  const consoleFile = join(work, 'console')
  writeFileSync(join(work, 'command'), `cd '${TREE}' || exit 1\n${job.command}\n`)
  const qemu = spawn('qemu-system-x86_64', qemuArguments(files, job, work, consoleFile), {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  try {
    return await watch(qemu, job, consoleFile)
  } finally {
    qemu.kill('SIGKILL')
    rmSync(work, { recursive: true, force: true })
  }
}

function qemuArguments(files: BootFiles, job: Job, work: string, consoleFile: string): string[] {
  const settings = {
    script: join(import.meta.dirname, 'guest-run.sh'),
    work,
    modules: files.modules,
  }
  const cmdline = Object.entries(settings).map(([key, value]) => `sinabro.${key}=${value}`)
  return [
    // Software emulation even where KVM is offered: nested KVM fails in ways of its own, and a boot takes seconds anyway.
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max'],
    ...['-smp', String(job.cpus), '-m', String(job.memoryMib)],
    ...['-nodefaults', '-display', 'none', '-no-reboot'],
    ...['-serial', `file:${consoleFile}`, '-serial', 'stdio'],
    ...['-kernel', files.kernel, '-initrd', files.initrd],
    ...['-append', `console=ttyS0 panic=-1 loglevel=4 ${cmdline.join(' ')}`],
    ...['-fsdev', 'local,id=root,path=/,security_model=none,readonly=on,multidevs=remap'],
    ...['-device', 'virtio-9p-pci,fsdev=root,mount_tag=root'],
  ]
}

async function watch(qemu: ChildProcess, job: Job, consoleFile: string): Promise<Outcome> {
  const said = (): string => (existsSync(consoleFile) ? readFileSync(consoleFile, 'utf8') : '')
  const { promise, resolve, reject } = Promise.withResolvers<Ending>()
  let status: number | undefined
  let errors = ''
  if (qemu.stdout !== null) {
    createInterface({ input: qemu.stdout }).on('line', (raw) => {
      const line = raw.replace(/\r+$/, '')
      const exit = /^@@exit (\d+)$/.exec(line)
      if (exit === null) job.onLine?.(line)
      else {
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
  job.signal?.addEventListener('abort', () => resolve('died'), { once: true })
  qemu.once('error', reject)
  qemu.once('close', () => resolve(PANIC.test(said()) ? 'panic' : 'died'))
  const ending = await promise.finally(() => {
    clearTimeout(timer)
    clearInterval(poll)
  })
  const words = `${said()}${status === undefined ? errors : ''}`
  return { ending, status, console: words.trimEnd().split('\n').slice(-CONSOLE_LINES).join('\n') }
}
