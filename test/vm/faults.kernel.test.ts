// What test:vm does when things go wrong: a guest that hangs, panics or ends, runs side by side, one that is killed, a full disk.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest'
import { eventually } from '../lab/eventually.ts'
import { boot, type Job } from './boot.ts'
import { KERNELS } from './kernels.ts'
import { type BootFiles, cacheDir, prepare } from './prepare.ts'
import { missingPrograms } from './programs.ts'
import { makeScratch, removeScratch } from './scratch.ts'
import { FAULTS_SWITCH } from './suites.ts'

const [oldest] = KERNELS
const cached = existsSync(cacheDir()) ? readdirSync(cacheDir()) : []
const hasKernel = cached.some((name) => oldest?.packages.test(name))
const scratches: string[] = []
let files: BootFiles

beforeAll(() => {
  if (hasKernel && oldest !== undefined) files = prepare(oldest)
})

afterAll(() => scratches.forEach(removeScratch))

function needsKernel({ skip }: TestContext): void {
  skip(process.env[FAULTS_SWITCH] !== '1', 'npm run test:vm runs it')
  skip(missingPrograms().length > 0, missingPrograms()[0])
  skip(!hasKernel, 'no kernel has been fetched here yet: npm run test:vm does')
}

function job(command: string, more: Partial<Job> = {}): Job {
  const scratch = makeScratch()
  scratches.push(scratch)
  return { command, scratch, timeoutMs: 100_000, memoryMib: 512, ...more }
}

describe('a guest', () => {
  test('gives back what the command says and its status, behind an open line too', async (context) => {
    needsKernel(context)
    const lines: string[] = []
    const command = "uname -r; printf '\\033[?25hopen'; exit 7"
    const outcome = await boot(files, job(command, { onLine: (line) => lines.push(line) }))
    expect(outcome).toMatchObject({ ending: 'exit', status: 7 })
    expect(lines).toContain(files.release)
  })

  test('that hangs is ended at its limit, with its last words', async (context) => {
    needsKernel(context)
    const controller = new AbortController()
    const { scratch, ...rest } = job('echo the last word; while :; do sleep 1; done')
    // The limit begins to count when the guest has begun to work: how long a boot takes is not the point.
    const onLine = () => setTimeout(() => controller.abort(), 100)
    const stopped = await boot(files, { ...rest, scratch, onLine, signal: controller.signal })
    expect(stopped).toMatchObject({ ending: 'interrupted', output: 'the last word' })
    const late = await boot(files, { ...rest, scratch, timeoutMs: 1000 })
    expect(late.ending).toBe('timeout')
  })

  test('that panics is seen to, with what the kernel said', async (context) => {
    needsKernel(context)
    const outcome = await boot(files, job('echo c >/proc/sysrq-trigger; sleep 60'))
    expect(outcome.ending).toBe('panic')
    expect(outcome.console).toContain('sysrq triggered crash')
  })
})

const MAIN = join(import.meta.dirname, 'main.ts')

describe('a run', () => {
  test('without qemu says what to install', () => {
    const { status, stderr } = spawnSync(process.execPath, [MAIN], {
      env: { PATH: '/nowhere' },
      encoding: 'utf8',
    })
    expect(status).toBe(2)
    expect(stderr).toMatch(/^not found: qemu-system-x86_64, .*apt-get install .*qemu-system-x86 /)
  })

  test('that is killed takes its guest with it; the next one removes its folder', async (context) => {
    needsKernel(context)
    await inFolderOfItsOwn(async (parent) => {
      await end(parent, 'SIGKILL')
      expect(readdirSync(parent)).toHaveLength(1)
      removeScratch(makeScratch(parent))
      expect(readdirSync(parent)).toEqual([])
    })
  })

  test('that is interrupted leaves nothing', async (context) => {
    needsKernel(context)
    await inFolderOfItsOwn(async (parent) => {
      expect(await end(parent, 'SIGINT')).toBe(1)
      expect(readdirSync(parent)).toEqual([])
    })
  })
})

async function inFolderOfItsOwn(body: (parent: string) => Promise<void>): Promise<void> {
  const parent = mkdtempSync(join(tmpdir(), 'sinabro-vm-faults-'))
  try {
    await body(parent)
  } finally {
    rmSync(parent, { recursive: true, force: true })
  }
}

/** Starts a run below that folder and sends it the signal when its guest works; its exit status, when the guest is gone too. */
async function end(parent: string, signal: NodeJS.Signals): Promise<number | null> {
  const args = [MAIN, '--kernel', '6.1', '--exec', 'echo here; while :; do sleep 1; done']
  const run = spawn(process.execPath, args, {
    env: { ...process.env, TMPDIR: parent },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await new Promise<void>((resolve) => {
    run.stdout.on('data', (part: Buffer) => part.includes('here') && resolve())
  })
  expect(guestsOf(parent)).toHaveLength(1)
  const gone = new Promise<number | null>((resolve) => run.once('exit', resolve))
  run.kill(signal)
  const status = await gone
  await eventually('the guest to end', () => guestsOf(parent).length === 0)
  return status
}

/** Guests whose folder lies below that one. */
function guestsOf(parent: string): string[] {
  const all = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).split('\n')
  return all.filter((line) => line.startsWith('qemu-system-x86_64') && line.includes(parent))
}

test('two runs at once do not hinder each other', async (context) => {
  needsKernel(context)
  const commands = ['echo one', 'echo two']
  const outcomes = await Promise.all(commands.map((command) => boot(files, job(command))))
  expect(outcomes.map(({ ending, output }) => [ending, output.trim()])).toEqual([
    ['exit', 'one'],
    ['exit', 'two'],
  ])
})

describe('the cache', () => {
  test('says which package it misses', ({ skip }) => {
    skip(missingPrograms().length > 0, missingPrograms()[0])
    const cache = mkdtempSync(join(tmpdir(), 'sinabro-vm-cache-'))
    const kernel = { name: '0.9', packages: /^linux-image-0\.9-[0-9]+$/ }
    try {
      expect(() => prepare(kernel, cache)).toThrow(
        /^no package like .*linux-image-0.*apt-get update/,
      )
    } finally {
      rmSync(cache, { recursive: true })
    }
  })

  test('says that its disk is full, and leaves no part of a kernel there', (context) => {
    needsKernel(context)
    context.skip(process.getuid?.() !== 0, 'needs root: it mounts a small file system')
    const parent = mkdtempSync(join(tmpdir(), 'sinabro-vm-cache-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', parent])
    try {
      // The package as unpacked, so that the initrd is what does not fit.
      const dir = join(parent, files.packageName)
      mkdirSync(dir)
      const from = join(cacheDir(), files.packageName, 'root')
      execFileSync('ln', ['-s', from, join(dir, 'root')])
      expect(() => oldest && prepare(oldest, parent)).toThrow(
        /^no room in .* for kernel 6\.1: free/,
      )
      expect(readdirSync(dir)).toEqual(['root'])
    } finally {
      execFileSync('umount', [parent])
      rmSync(parent, { recursive: true })
    }
  })
})
