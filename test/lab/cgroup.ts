// The lab's cgroup2 directory: every process of a lab is in it or below, so ending a lab is one write that nothing escapes.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.ts'
import { eventually } from './eventually.ts'

/** Where cgroup2 is mounted, whether alone or beside v1 controllers; undefined where nobody mounted it. */
export function cgroup2MountPoint(mounts: string): string | undefined {
  for (const line of mounts.split('\n')) {
    const [, point, type] = line.split(' ')
    if (type === 'cgroup2' && point !== undefined) return unescapeMount(point)
  }
  return undefined
}

/** /proc/mounts writes blanks in paths as octal. */
function unescapeMount(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}

/** The machine's cgroup2, mounted at `fallback` if there is none. */
export async function openCgroup2(fallback: string): Promise<string> {
  const found = cgroup2MountPoint(readFileSync('/proc/mounts', 'utf8'))
  if (found !== undefined) return found
  mkdirSync(fallback, { recursive: true })
  await run(['mount', '-t', 'cgroup2', 'cgroup2', fallback])
  return fallback
}

/** Every process in the directory or below it, as the host numbers them. */
export function processesIn(directory: string): number[] {
  try {
    const own = readFileSync(join(directory, 'cgroup.procs'), 'utf8')
    const pids = own.split('\n').filter(Boolean).map(Number)
    return [...pids, ...childrenOf(directory).flatMap(processesIn)]
  } catch (error) {
    if (isGone(error)) return []
    throw error
  }
}

/** ENODEV: the directory was removed after the file was opened. */
function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')
}

/** Kills everything in the directory (kernel 5.14), waits until it is gone, removes the directory. Absent is fine. */
export async function removeCgroup(directory: string): Promise<void> {
  if (!existsSync(directory)) return
  await eventually(`processes of ${directory} to end`, () => killAll(directory))
  await eventually(`${directory} to be removed`, () => removeTree(directory))
}

function killAll(directory: string): boolean {
  try {
    writeFileSync(join(directory, 'cgroup.kill'), '1')
    return readFileSync(join(directory, 'cgroup.events'), 'utf8').includes('populated 0')
  } catch (error) {
    if (isGone(error)) return true
    throw error
  }
}

function removeTree(directory: string): boolean {
  try {
    for (const child of childrenOf(directory)) removeTree(child)
    rmdirSync(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false // a process is not quite gone
    if (!isGone(error)) throw error
  }
  return true
}

function childrenOf(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(directory, entry.name))
}
