// A lab machine: namespaces (net, mount, pid, uts, ipc, cgroup) held by one process, and running commands inside them.
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type CommandOptions, type CommandResult, run, start } from './command.ts'
import { LabError } from './errors.ts'
import { identify, isAlive, machinePlaces, type ProcessIdentity, TREE } from './places.ts'

export interface MachineState {
  readonly name: string
  readonly labDir: string
  /** The machine's cgroup2 directory as the host sees it. */
  readonly cgroup: string
  /** PID 1 of the machine as the host numbers it. */
  readonly init: ProcessIdentity
}

export interface Inside {
  /** Path of a network namespace as the machine names it; its own without. */
  readonly netns?: string | undefined
  /** Cgroup below the machine's, made if absent. */
  readonly cgroup?: string | undefined
}

const LAB = import.meta.dirname

export class Machine {
  readonly state: MachineState
  readonly places: ReturnType<typeof machinePlaces>

  constructor(state: MachineState) {
    this.state = state
    this.places = machinePlaces(state.labDir, state.name)
  }

  static async boot(labDir: string, name: string, labCgroup: string): Promise<Machine> {
    const places = machinePlaces(labDir, name)
    const { dir, runDir, cniConfDir, cniBinDir, stateDir, podsDir } = places
    for (const path of [dir, runDir, cniConfDir, cniBinDir, stateDir, podsDir]) {
      mkdirSync(path, { recursive: true })
    }
    const cgroup = join(labCgroup, name)
    mkdirSync(cgroup, { recursive: true })
    const log = openSync(places.initLog, 'a')
    // The holder is in the cgroup before it makes namespaces, so that what is left of an interrupted start is found there.
    const child = start(
      [
        ...['sh', '-c', 'echo 0 >"$0/cgroup.procs" && exec "$@"', cgroup],
        ...['unshare', '--net', '--mount', '--pid', '--uts', '--ipc', '--cgroup'],
        ...['--fork', '--kill-child=KILL'],
        ...['sh', join(LAB, 'machine-init.sh'), labDir, name, TREE],
      ],
      { stdio: ['ignore', 'pipe', log], detached: true, cwd: '/' },
    )
    const pid = await readyPid(child, places.initLog)
    const init = identify(pid)
    if (init === undefined) throw new LabError('command', `machine ${name} ended at once`)
    child.unref()
    return new Machine({ name, labDir, cgroup, init })
  }

  get name(): string {
    return this.state.name
  }

  get isUp(): boolean {
    return isAlive(this.state.init)
  }

  /** Path on the host of a path inside the machine. */
  pathOnHost(path: string): string {
    return `/proc/${this.state.init.pid}/root${path}`
  }

  /** The command line that runs `argv` inside. */
  enter(argv: readonly string[], inside: Inside = {}): string[] {
    if (!this.isUp) throw new LabError('absent', `machine ${this.name} is not running`)
    const cgroup = join(this.state.cgroup, inside.cgroup ?? '')
    mkdirSync(cgroup, { recursive: true })
    const netns = inside.netns === undefined ? '' : this.pathOnHost(inside.netns)
    const { pid } = this.state.init
    return ['sh', join(LAB, 'enter.sh'), cgroup, String(pid), netns, ...argv]
  }

  exec(argv: readonly string[], options: CommandOptions & Inside = {}): Promise<CommandResult> {
    return run(this.enter(argv, options), options)
  }

  /** Starts a command that goes on; it ends with the lab at the latest. */
  spawn(
    argv: readonly string[],
    options: Omit<SpawnOptions, 'env'> & Inside & { env?: Record<string, string> } = {},
  ): ChildProcess {
    const { netns, cgroup, ...spawnOptions } = options
    return start(this.enter(argv, { netns, cgroup }), spawnOptions)
  }
}

async function readyPid(child: ChildProcess, log: string): Promise<number> {
  if (child.stdout === null) throw new LabError('command', 'no pipe to the machine')
  const ended = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('exit', (code) =>
      reject(new LabError('command', `machine ended with ${code} while starting, see ${log}`)),
    )
  })
  const lines = createInterface({ input: child.stdout })
  const line = await Promise.race([
    new Promise<string>((resolve) => lines.once('line', resolve)),
    ended,
  ])
  ended.catch(() => undefined) // from here on the machine may end whenever it is told to
  lines.close()
  child.stdout.destroy()
  const pid = Number(/^ready (\d+)$/.exec(line)?.[1])
  if (!Number.isInteger(pid)) throw new LabError('command', `machine said ${JSON.stringify(line)}`)
  return pid
}
