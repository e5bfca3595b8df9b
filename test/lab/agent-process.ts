// The agent of one lab node as a process: start it, see whether it is ready, kill it with any signal.
import type { ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { processesIn } from './cgroup.ts'
import { LabError } from './errors.ts'
import { eventually } from './eventually.ts'
import type { Machine } from './machine.ts'
import { TREE } from './places.ts'
import { readNetworkList } from './runtime.ts'

export interface AgentOptions {
  /** Run the sources or the bundle that ships; SINABRO_AGENT_FROM where nothing is said, else the sources. */
  readonly from?: 'source' | 'bundle'
  /** Added to the command line. */
  readonly args?: readonly string[]
  readonly env?: Record<string, string>
}

const CGROUP = 'agent'
const SOCKET = '/run/sinabro/agent.sock'
const READY_DEADLINE_MS = 30_000

export class AgentProcess {
  readonly #machine: Machine
  readonly #manifestsDir: string
  /** What `start` of this object started; an agent of another process is known by its cgroup alone. */
  #child: ChildProcess | undefined

  constructor(machine: Machine, manifestsDir: string) {
    this.#machine = machine
    this.#manifestsDir = manifestsDir
  }

  /** Starts it and returns at once; what it prints goes to the machine's agent.log. */
  start(options: AgentOptions = {}): void {
    if (this.pids().length > 0) {
      throw new LabError('in-use', `an agent runs on ${this.#machine.name} already`)
    }
    const { from = process.env.SINABRO_AGENT_FROM } = options
    const program =
      from === 'bundle'
        ? [join(TREE, 'agent/build/sinabro')]
        : [process.execPath, join(TREE, 'agent/src/main.ts')]
    const log = openSync(this.#machine.places.agentLog, 'a')
    const child = this.#machine.spawn(
      [
        ...[...program, 'agent'],
        ...['--source', `manifests:${this.#manifestsDir}`, '--node-name', this.#machine.name],
        ...(options.args ?? []),
      ],
      {
        cgroup: CGROUP,
        stdio: ['ignore', log, log],
        detached: true,
        ...(options.env === undefined ? {} : { env: options.env }),
      },
    )
    closeSync(log)
    child.unref()
    this.#child = child
  }

  /** Host pids of the agent; empty when it does not run. */
  pids(): number[] {
    return processesIn(this.#cgroup).filter(isInside)
  }

  get #cgroup(): string {
    return join(this.#machine.state.cgroup, CGROUP)
  }

  get #hasEnded(): boolean {
    if (this.#child === undefined) return processesIn(this.#cgroup).length === 0
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** Sends the signal and waits until no agent is left. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const isOnItsWay = (): boolean => this.#child !== undefined && this.pids().length === 0
    await eventually('the agent to start', () => this.#hasEnded || !isOnItsWay())
    for (const pid of this.pids()) {
      try {
        process.kill(pid, signal)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
    }
    await eventually(
      `the agent of ${this.#machine.name} to end`,
      () => processesIn(this.#cgroup).length === 0,
    )
  }

  /**
   * Until the agent answers, says it is ready, and the CNI configuration is there.
   * @throws LabError absent when it ends before; timeout
   */
  async waitReady(deadlineMs = READY_DEADLINE_MS): Promise<void> {
    const isReady = async (): Promise<boolean> => {
      if (this.#hasEnded) throw new LabError('absent', 'the agent ended')
      return (
        readNetworkList(this.#machine.places.cniConfDir) !== undefined &&
        isReadyStatus(await this.get('/v1/status'))
      )
    }
    try {
      await eventually(`the agent of ${this.#machine.name} to be ready`, isReady, deadlineMs)
    } catch (cause) {
      if (!(cause instanceof LabError)) throw cause
      const message = `${cause.message}; its log ends with\n${this.logTail()}`
      throw new LabError(cause.code, message, { cause })
    }
  }

  /** Asks the agent's API from outside its namespaces; undefined if nobody answers. */
  get(path: string): Promise<unknown> {
    const socketPath = this.#machine.pathOnHost(SOCKET)
    return new Promise((resolve) => {
      const call = request({ socketPath, path, method: 'GET' }, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (part: string) => {
          body += part
        })
        response.on('end', () =>
          resolve(response.statusCode === 200 ? JSON.parse(body) : undefined),
        )
        response.on('error', () => resolve(undefined))
      })
      call.on('error', () => resolve(undefined)).end()
    })
  }

  logTail(lines = 20): string {
    return readFileSync(this.#machine.places.agentLog, 'utf8')
      .trimEnd()
      .split('\n')
      .slice(-lines)
      .join('\n')
  }
}

function isReadyStatus(status: unknown): boolean {
  return typeof status === 'object' && status !== null && 'ready' in status && status.ready === true
}

/** The agent itself lives in the machine's pid namespace; the nsenter that waits for it does not. */
function isInside(pid: number): boolean {
  try {
    const line = /^NSpid:(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return (line?.trim().split(/\s+/).length ?? 0) > 1
  } catch {
    return false
  }
}
