// A long-lived program of the cluster on one of its machines: started, seen, killed; its log goes to the cluster's logs.
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { processesIn } from '../lab/cgroup.ts'
import { eventually } from '../lab/eventually.ts'
import type { Machine } from '../lab/machine.ts'
import { LOGS } from './places.ts'

/** The kernel keeps this many characters of a program's name. */
const COMM_LENGTH = 15
const END_DEADLINE_MS = 30_000

export class Daemon {
  readonly #machine: Machine
  readonly #argv: readonly string[]
  readonly #env: Record<string, string>
  readonly name: string

  constructor(machine: Machine, argv: readonly string[], env: Record<string, string> = {}) {
    this.#machine = machine
    this.#argv = argv
    this.#env = env
    this.name = basename(argv[0] ?? '')
  }

  get logFile(): string {
    return join(LOGS, `${this.#machine.name}-${this.name}.log`)
  }

  start(): void {
    mkdirSync(LOGS, { recursive: true })
    const log = openSync(this.logFile, 'a')
    const child = this.#machine.spawn(this.#argv, {
      cgroup: this.name,
      stdio: ['ignore', log, log],
      detached: true,
      env: this.#env,
    })
    closeSync(log)
    child.on('error', () => undefined) // whoever waits for its work sees that it is not there
    child.unref()
  }

  /** Host pids of the program itself; what it started (a shim, a pod) is not counted. */
  pids(): number[] {
    const comm = this.name.slice(0, COMM_LENGTH)
    return processesIn(join(this.#machine.state.cgroup, this.name)).filter(
      (pid) => commOf(pid) === comm,
    )
  }

  async kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    for (const pid of this.pids()) {
      try {
        process.kill(pid, signal)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
    }
    await eventually(`${this.name} to end`, () => this.pids().length === 0, END_DEADLINE_MS)
  }

  async restart(signal?: NodeJS.Signals): Promise<void> {
    await this.kill(signal)
    this.start()
  }
}

function commOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return undefined
  }
}
