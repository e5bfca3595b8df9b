// A cgroup of the cluster's own in every hierarchy the machine has: all of cgroup2, or cgroup v1 with a cgroup2 without controllers.
//
// A node's processes are in its cgroup2 directory before its cgroup namespace is made, so that directory is the root the node
// sees, and its pods are below it. Ending the cluster is one write to cgroup.kill that nothing escapes.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { openCgroup2, removeCgroup } from '../lab/cgroup.ts'
import { eventually } from '../lab/eventually.ts'

export interface Cgroups {
  readonly unified: string
  /** The same name in each v1 hierarchy; none where all is cgroup2. */
  readonly v1: readonly string[]
}

/** Paths for a cluster called `name`; nothing is made. */
export async function planCgroups(name: string, cgroup2Fallback: string): Promise<Cgroups> {
  const unified = join(await openCgroup2(cgroup2Fallback), name)
  const mounts = readFileSync('/proc/mounts', 'utf8').split('\n')
  const v1: string[] = []
  for (const line of readFileSync('/proc/self/cgroup', 'utf8').trim().split('\n')) {
    const [, controllers = '', ...path] = line.split(':')
    if (controllers === '') continue
    const first = controllers.split(',')[0] ?? ''
    const point = mounts
      .map((mount) => mount.split(' '))
      .find(([, , type, options]) => type === 'cgroup' && options?.split(',').includes(first))?.[1]
    // Below our own group, as a container of this machine would be: above it may be out of bounds.
    if (point !== undefined) v1.push(join(point, path.join(':'), name))
  }
  return { unified, v1 }
}

export function below({ unified, v1 }: Cgroups, name: string): Cgroups {
  return { unified: join(unified, name), v1: v1.map((path) => join(path, name)) }
}

export function makeCgroups({ unified, v1 }: Cgroups): void {
  mkdirSync(unified, { recursive: true })
  for (const path of v1) {
    mkdirSync(path, { recursive: true })
    if (existsSync(join(path, 'cpuset.cpus'))) fillCpuset(path)
  }
  if (v1.length === 0) passControllersOn(dirname(unified))
}

/** What all processes in it have used till now. */
export function cpuMs({ unified, v1 }: Cgroups): number {
  const accounts = v1.map((path) => join(path, 'cpuacct.usage')).find(existsSync)
  if (accounts !== undefined) return Number(readFileSync(accounts, 'utf8')) / 1e6
  const [, usec] = /^usage_usec (\d+)$/m.exec(readFileSync(join(unified, 'cpu.stat'), 'utf8')) ?? []
  if (usec === undefined) throw new Error(`${unified}/cpu.stat does not tell usage_usec`)
  return Number(usec) / 1e3
}

/** A fresh v1 cpuset is empty, and no process may enter an empty one. */
function fillCpuset(path: string): void {
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    if (readFileSync(join(path, file), 'utf8').trim() !== '') continue
    if (readFileSync(join(dirname(path), file), 'utf8').trim() === '') fillCpuset(dirname(path))
    writeFileSync(join(path, file), readFileSync(join(dirname(path), file), 'utf8'))
  }
}

/** On pure cgroup2 a kubelet wants the controllers in its root; a directory that passes them on must hold no process. */
export function passControllersOn(directory: string): void {
  const names = readFileSync(join(directory, 'cgroup.controllers'), 'utf8').trim()
  if (names === '') return
  const wanted = names.split(' ').map((name) => `+${name}`)
  writeFileSync(join(directory, 'cgroup.subtree_control'), wanted.join(' '))
}

export async function removeCgroups({ unified, v1 }: Cgroups): Promise<void> {
  await removeCgroup(unified)
  for (const path of v1) await eventually(`${path} to be removed`, () => removeTree(path))
}

function removeTree(path: string): boolean {
  if (!existsSync(path)) return true
  const children = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  for (const child of children) removeTree(join(path, child.name))
  try {
    rmdirSync(path)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EBUSY' || code === 'ENOTEMPTY') return false
    if (code === 'ENOENT') return true
    throw error
  }
}
