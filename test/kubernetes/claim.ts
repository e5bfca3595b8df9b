// Whose the cluster is and what it changed on this machine, written down before anything is made: whoever comes next can undo it.

import { randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { identify, isAlive, type ProcessIdentity } from '../lab/places.ts'
import { type Cgroups, planCgroups, removeCgroups } from './cgroups.ts'
import { CLUSTER_DIR, LOGS } from './places.ts'

interface Claim {
  /** The process that raised the cluster and will end it; null for one that stays up. */
  readonly owner: ProcessIdentity | null
  readonly cgroups: Cgroups
  /** Settings of the whole machine that kubelet changes, as they were. */
  readonly sysctls: Readonly<Record<string, string>>
}

const CLAIM = join(CLUSTER_DIR, 'claim.json')
const OWN_CGROUP2 = join(CLUSTER_DIR, 'cgroup2')
/** Not namespaced; a kubelet sets them to what it likes. */
const MACHINE_WIDE = ['vm/overcommit_memory', 'kernel/panic', 'kernel/panic_on_oops']

/** Ends what an earlier run left, then takes the place. @throws Error when a living process has it */
export async function take(): Promise<Cgroups> {
  await give()
  const id = randomBytes(4).toString('hex')
  mkdirSync(CLUSTER_DIR, { recursive: true })
  const cgroups = await planCgroups(`sinabro-kubernetes-${id}`, OWN_CGROUP2)
  const sysctls = Object.fromEntries(
    MACHINE_WIDE.map((name) => [name, readFileSync(`/proc/sys/${name}`, 'utf8').trim()]),
  )
  writeClaim({ owner: identify(process.pid) ?? null, cgroups, sysctls }, 'wx')
  return cgroups
}

/** From now on the cluster belongs to nobody and stays up. */
export function disown(): void {
  const claim = readClaim()
  if (claim !== undefined) writeClaim({ ...claim, owner: null }, 'w')
}

/** Ends every process of the cluster and undoes what it changed; absent is fine. Can leave the logs for who wants to know why. */
export async function give(keepsLogs = false): Promise<void> {
  const claim = readClaim()
  if (claim === undefined) {
    if (!keepsLogs) rmSync(CLUSTER_DIR, { recursive: true, force: true })
    return
  }
  const { owner } = claim
  if (owner !== null && owner.pid !== process.pid && isAlive(owner)) {
    throw new Error(`the test cluster is being used by process ${owner.pid}`)
  }
  await removeCgroups(claim.cgroups)
  for (const [name, value] of Object.entries(claim.sysctls)) {
    if (MACHINE_WIDE.includes(name)) writeFileSync(`/proc/sys/${name}`, value)
  }
  for (const entry of readdirSync(CLUSTER_DIR)) {
    const path = join(CLUSTER_DIR, entry)
    if (!keepsLogs || path !== LOGS) rmSync(path, { recursive: true, force: true })
  }
  if (!keepsLogs) rmdirSync(CLUSTER_DIR)
}

function readClaim(): Claim | undefined {
  if (!existsSync(CLAIM)) return undefined
  return JSON.parse(readFileSync(CLAIM, 'utf8')) as Claim
}

function writeClaim(claim: Claim, flag: 'wx' | 'w'): void {
  writeFileSync(CLAIM, JSON.stringify(claim, null, 2), { flag })
}
