// A machine that kubelet and containerd can live on: a lab machine with a disk that outlives it and cgroups in every hierarchy.
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { start } from '../lab/command.ts'
import { eventually } from '../lab/eventually.ts'
import { Machine, type MachineState } from '../lab/machine.ts'
import { identify, machinePlaces } from '../lab/places.ts'
import { below, type Cgroups, makeCgroups, passControllersOn } from './cgroups.ts'
import { CLUSTER_DIR } from './places.ts'

/** In the node's cgroup2 directory; on pure cgroup2 the directory itself must stay empty. */
const INIT = 'init'
/** Of cgroup v1: a machine's daemons are beside its pods, not above them, or each of their threads would count as much as all pods. */
const SYSTEM = 'system.slice'

export class NodeMachine extends Machine {
  readonly cgroups: Cgroups

  constructor(state: MachineState, cgroups: Cgroups) {
    super(state)
    this.cgroups = cgroups
  }

  static async bootNode(name: string, cgroups: Cgroups): Promise<NodeMachine> {
    const { dir, runDir, initLog } = machinePlaces(CLUSTER_DIR, name)
    for (const path of [dir, runDir, join(dir, 'disk')]) mkdirSync(path, { recursive: true })
    makeCgroups(cgroups)
    makeCgroups({ ...below(cgroups, SYSTEM), unified: cgroups.unified })
    const log = openSync(initLog, 'a')
    const join_ = 'for dir in $0; do echo 0 >"$dir/cgroup.procs" || exit 125; done; exec "$@"'
    const child = start(
      [
        ...['sh', '-c', join_, [cgroups.unified, ...cgroups.v1].join(' ')],
        ...['unshare', '--net', '--mount', '--pid', '--uts', '--ipc', '--cgroup'],
        ...['--fork', '--kill-child=KILL'],
        ...['sh', join(import.meta.dirname, 'node-init.sh'), CLUSTER_DIR, name],
      ],
      { stdio: ['ignore', 'pipe', log], detached: true, cwd: '/' },
    )
    const pid = await readyPid(child, initLog)
    const init = identify(pid)
    if (init === undefined || child.pid === undefined) throw new Error(`node ${name} ended at once`)
    if (cgroups.v1.length === 0) emptyRoot(cgroups.unified, [child.pid, pid])
    child.unref()
    const state = { name, labDir: CLUSTER_DIR, cgroup: cgroups.unified, init }
    return new NodeMachine(state, cgroups)
  }

  override enter(argv: readonly string[], { cgroup = 'run' } = {}): string[] {
    if (!this.isUp) throw new Error(`node ${this.name} is not running`)
    const own = join(this.cgroups.unified, cgroup)
    mkdirSync(own, { recursive: true })
    const script = join(import.meta.dirname, 'enter-node.sh')
    const { pid } = this.state.init
    return ['sh', script, String(pid), own, ...below(this.cgroups, SYSTEM).v1, '--', ...argv]
  }

  /** All its processes and with them its namespaces go at once, as when the power goes; its disk stays. */
  async end(): Promise<void> {
    writeFileSync(join(this.cgroups.unified, 'cgroup.kill'), '1')
    await eventually(`the processes of ${this.name} to end`, () =>
      readFileSync(join(this.cgroups.unified, 'cgroup.events'), 'utf8').includes('populated 0'),
    )
  }

  /** Path on the host of a path on the node's disk, also while the node is down. */
  onDisk(path: string): string {
    return join(this.places.dir, 'disk', path)
  }
}

function emptyRoot(unified: string, pids: readonly number[]): void {
  mkdirSync(join(unified, INIT), { recursive: true })
  for (const pid of pids) writeFileSync(join(unified, INIT, 'cgroup.procs'), String(pid))
  passControllersOn(unified)
}

async function readyPid(child: ChildProcess, log: string): Promise<number> {
  if (child.stdout === null) throw new Error('no pipe to the node')
  const lines = createInterface({ input: child.stdout })
  for await (const line of lines) {
    const pid = Number(/^ready (\d+)$/.exec(line)?.[1])
    if (!Number.isInteger(pid)) throw new Error(`node said ${JSON.stringify(line)}`)
    lines.close()
    child.stdout.destroy()
    return pid
  }
  throw new Error(`a node ended while starting, see ${log}`)
}
