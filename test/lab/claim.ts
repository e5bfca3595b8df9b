// Whose a lab is, from its first moment to its last: a name is taken and given up by one rename each, so that several processes
// can raise, end and sweep labs at once and an interrupted one is always found by the next.
import { randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { openCgroup2, removeCgroup } from './cgroup.ts'
import { run } from './command.ts'
import { LabError } from './errors.ts'
import { identify, isAlive, LABS_DIR, labPlaces, type ProcessIdentity } from './places.ts'

/** In the lab's folder before the folder has its name. */
interface Claim {
  /** The process that raised the lab and will end it; null for one that stays up. */
  readonly owner: ProcessIdentity | null
  /** Name of its cgroup, no two alike: what a late clean-up ends is never a younger lab of the same name. */
  readonly cgroup: string
}

const CLAIM_FILE = 'claim.json'
const DRAFT = '.draft-'
const GONE = '.gone-'
const CGROUP_PREFIX = 'sinabro-lab-'
/** Where we mount cgroup2 if nobody has. */
const OWN_CGROUP2 = join(LABS_DIR, '.cgroup2')

/** Takes the name for this process. Returns the lab's cgroup directory. @throws LabError in-use */
export async function take(name: string, canReplace: boolean): Promise<string> {
  await sweep()
  const { dir, stateFile } = labPlaces(name)
  const found = readClaim(dir)
  if (found !== undefined) {
    refuseIfOwned(name, found)
    if (!canReplace && found.owner === null && existsSync(stateFile)) {
      throw new LabError(
        'in-use',
        `lab ${name} is up already; 'npm run lab -- --name ${name} down' ends it`,
      )
    }
    await give(name)
  }
  const owner = identify(process.pid) ?? null
  const id = randomBytes(4).toString('hex')
  const draft = join(LABS_DIR, `${DRAFT}${process.pid}-${id}`)
  const cgroup = join(await openCgroup2(OWN_CGROUP2), `${CGROUP_PREFIX}${name}-${id}`)
  mkdirSync(draft, { recursive: true })
  writeClaim(draft, { owner, cgroup })
  try {
    renameSync(draft, dir)
  } catch (cause) {
    rmSync(draft, { recursive: true, force: true })
    throw new LabError('in-use', `another process took lab ${name} at this moment`, { cause })
  }
  mkdirSync(cgroup)
  return cgroup
}

/** From now on the lab belongs to nobody and stays up. */
export function disown(name: string): void {
  const { dir } = labPlaces(name)
  const claim = readClaim(dir)
  if (claim !== undefined) writeClaim(dir, { ...claim, owner: null })
}

/** Ends every process of the lab and removes what it left, whole or half raised; absent is fine. @throws LabError in-use */
export async function give(name: string): Promise<void> {
  const { dir } = labPlaces(name)
  const claim = readClaim(dir)
  if (claim === undefined) return
  refuseIfOwned(name, claim)
  const gone = join(LABS_DIR, `${GONE}${randomBytes(4).toString('hex')}`)
  try {
    renameSync(dir, gone)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return // somebody else is at it
    throw error
  }
  await destroy(gone)
  await leaveNothing()
}

/** Ends what interrupted runs left, whatever its name. */
export async function sweep(): Promise<void> {
  for (const entry of existsSync(LABS_DIR) ? readdirSync(LABS_DIR) : []) {
    const dir = join(LABS_DIR, entry)
    if (entry.startsWith(GONE)) await destroy(dir)
    else if (entry.startsWith(DRAFT)) {
      const pid = Number(entry.slice(DRAFT.length).split('-')[0])
      if (identify(pid) === undefined) rmSync(dir, { recursive: true, force: true })
    } else {
      const owner = readClaim(dir)?.owner
      if (owner !== undefined && owner !== null && !isAlive(owner)) await give(entry)
    }
  }
}

function refuseIfOwned(name: string, { owner }: Claim): void {
  if (owner !== null && owner.pid !== process.pid && isAlive(owner)) {
    throw new LabError('in-use', `lab ${name} is being used by process ${owner.pid}`)
  }
}

async function destroy(dir: string): Promise<void> {
  const claim = readClaim(dir)
  if (claim !== undefined) await removeCgroup(claim.cgroup)
  rmSync(dir, { recursive: true, force: true })
}

/** After the last lab: the folder of labs, and the cgroup2 mount if it was ours. */
async function leaveNothing(): Promise<void> {
  const left = readdirSync(LABS_DIR)
  if (left.length === 1 && join(LABS_DIR, left[0] ?? '') === OWN_CGROUP2) {
    await run(['umount', OWN_CGROUP2], { canFail: true })
    rmSync(OWN_CGROUP2, { recursive: true, force: true })
  }
  try {
    rmdirSync(LABS_DIR)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOTEMPTY' && code !== 'ENOENT') throw error
  }
}

function readClaim(dir: string): Claim | undefined {
  try {
    return JSON.parse(readFileSync(join(dir, CLAIM_FILE), 'utf8')) as Claim
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}

function writeClaim(dir: string, claim: Claim): void {
  writeFileSync(join(dir, `${CLAIM_FILE}.new`), JSON.stringify(claim))
  renameSync(join(dir, `${CLAIM_FILE}.new`), join(dir, CLAIM_FILE))
}
