// Where a lab keeps what it knows: one directory per lab, everything in it, nothing elsewhere on the disk.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export const LABS_DIR = '/run/sinabro-lab'

/** Root of the source tree. */
export const TREE = dirname(dirname(import.meta.dirname))

export interface LabPlaces {
  readonly dir: string
  /** Written last when a lab goes up: a lab without it is a leftover. */
  readonly stateFile: string
  readonly manifestsDir: string
}

export function labPlaces(name: string): LabPlaces {
  const dir = join(LABS_DIR, name)
  return {
    dir,
    stateFile: join(dir, 'lab.json'),
    manifestsDir: join(dir, 'manifests'),
  }
}

/** A machine's folders; each but `run` and `pods` is bound to its usual place inside the machine. */
export function machinePlaces(labDir: string, machine: string) {
  const dir = join(labDir, 'machines', machine)
  return {
    dir,
    /** Mount point of the machine's /run. */
    runDir: join(dir, 'run'),
    cniConfDir: join(dir, 'cni-conf'),
    cniBinDir: join(dir, 'cni-bin'),
    stateDir: join(dir, 'state'),
    /** What the runtime remembers about pods. */
    podsDir: join(dir, 'pods'),
    agentLog: join(dir, 'agent.log'),
    initLog: join(dir, 'init.log'),
  }
}

/** A process, named so that a number used again for another process is not taken for it. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks from boot to its start: field 22 of /proc/PID/stat. */
  readonly startTicks: string
}

export function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field is the name in parentheses and may hold anything; fields are counted from after it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const startTicks = fields[19]
    return startTicks === undefined || fields[0] === 'Z' ? undefined : { pid, startTicks }
  } catch {
    return undefined
  }
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTicks === identity.startTicks
}
