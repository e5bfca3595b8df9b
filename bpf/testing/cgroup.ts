// A cgroup of a test's own and processes in it, for programs that only see the sockets of those; what killed runs left goes when the next run begins.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdirSync, mkdtempSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { type CgroupHook, cgroupTypes } from '../src/attach-type.ts'
import { openCgroup } from '../src/cgroup.ts'
import { check } from '../src/error.ts'
import { native } from '../src/native.ts'
import type { BpfProgram } from '../src/program.ts'
import { leftovers } from './leftovers.ts'

const PREFIX = 'sinabro-cgroup-'
let hasSwept = false

export class TestCgroup {
  /** Its directory, under a mount of its own: machines have cgroup2 in different places, or none mounted. */
  readonly path: string
  readonly #mount: string
  #isOpen = true

  private constructor(mount: string, path: string) {
    this.#mount = mount
    this.path = path
  }

  /** What killed runs left goes first. */
  static open(): TestCgroup {
    if (!hasSwept) sweep()
    hasSwept = true
    const mount = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`))
    execFileSync('mount', ['-t', 'cgroup2', 'cgroup2', mount])
    const path = pathIn(mount)
    mkdirSync(path)
    return new TestCgroup(mount, path)
  }

  /** One below it; goes when it is removed or with its parent. */
  child(name: string): string {
    const path = join(this.path, name)
    mkdirSync(path)
    return path
  }

  /** Without a link, and so that no other program runs beside it; it goes with the cgroup, at the latest. */
  attachAlone(hook: CgroupHook, program: BpfProgram): void {
    this.#onDirectory((fd) => {
      const attached = native().programAttach(program.fd, fd, cgroupTypes[hook])
      check(attached, `attach ${program.name} alone to ${hook}`)
    })
  }

  detachAlone(hook: CgroupHook, program: BpfProgram): void {
    this.#onDirectory((fd) => {
      const detached = native().programDetach(program.fd, fd, cgroupTypes[hook])
      check(detached, `detach ${program.name} from ${hook}`)
    })
  }

  #onDirectory(run: (fd: number) => void): void {
    const fd = openCgroup(this.path)
    try {
      run(fd)
    } finally {
      closeSync(fd)
    }
  }

  /** Runs a script inside, to its end; what it printed. */
  async run(script: string): Promise<string> {
    const child = spawn(
      'sh',
      ['-c', 'echo $$ >"$0/cgroup.procs" && exec "$@"', this.path, ...node(script)],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    let [output, errors] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text
    })
    const [status] = (await once(child, 'close')) as [number | null]
    if (status !== 0) throw new Error(`script in the cgroup ended with ${status}: ${errors}`)
    return output
  }

  /** Its processes have ended by then. Safe twice. */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    removeTree(this.path)
    execFileSync('umount', ['--lazy', this.#mount])
    rmdirSync(this.#mount)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function pathIn(mount: string): string {
  return join(mount, basename(mount))
}

function removeTree(path: string): void {
  execFileSync('find', [path, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}

function sweep(): void {
  for (const mount of leftovers(tmpdir(), PREFIX)) {
    const path = pathIn(mount)
    try {
      if (existsSync(path)) {
        writeFileSync(join(path, 'cgroup.kill'), '1')
        removeTree(path)
      }
    } catch {
      // Another run is at it, or who was killed has not ended yet: it is there for the next run.
      continue
    }
    try {
      execFileSync('umount', ['--lazy', mount], { stdio: 'ignore' })
    } catch {
      // Killed before it mounted, or somebody else was first.
    }
    try {
      rmdirSync(mount)
    } catch {
      // Gone already.
    }
  }
}

function node(script: string): string[] {
  return [process.execPath, '--input-type=module', '-e', script]
}
