// Directories of cgroup2 as places for programs: opened, recognised, and which programs run in them.
import { closeSync, constants as flags, openSync, statfsSync, statSync } from 'node:fs'
import { type CgroupHook, cgroupTypes } from './attach-type.ts'
import { queryAttached } from './attached.ts'
import { BpfError } from './error.ts'

/** One hook of one cgroup and of those below it. */
export interface CgroupPlace {
  /** A directory of cgroup2. */
  readonly path: string
  readonly hook: CgroupHook
}

/** `CGROUP2_SUPER_MAGIC` of `include/uapi/linux/magic.h`. */
const CGROUP2_MAGIC = 0x63677270
const BPF_F_QUERY_EFFECTIVE = 1

/**
 * A descriptor of the directory; the caller closes it.
 * @throws BpfError EBADF if the path is not on cgroup2, ENOENT if it is not at all
 */
export function openCgroup(path: string): number {
  try {
    if (statfsSync(path).type !== CGROUP2_MAGIC) {
      throw new BpfError(`open cgroup ${path}`, { code: 'EBADF', detail: 'it is not on cgroup2' })
    }
    return openSync(path, flags.O_RDONLY | flags.O_DIRECTORY)
  } catch (error) {
    if (error instanceof BpfError) throw error
    const { errno = 0 } = error as NodeJS.ErrnoException
    throw new BpfError(`open cgroup ${path}`, { errno: -errno })
  }
}

/** As links tell it: the inode number of the directory, never used twice. Undefined if there is none. */
export function cgroupId(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino
}

/** Ids of the programs attached to this very cgroup, in the order they run. */
export function listCgroup(place: CgroupPlace): number[] {
  return programIds(place, 0)
}

/** Ids of all that run for a process in this cgroup, in that order: those of the cgroups above are among them. */
export function listCgroupEffective(place: CgroupPlace): number[] {
  return programIds(place, BPF_F_QUERY_EFFECTIVE)
}

function programIds({ path, hook }: CgroupPlace, flags: number): number[] {
  const fd = openCgroup(path)
  try {
    return queryAttached({
      op: `BPF_PROG_QUERY cgroup ${path} ${hook}`,
      target: fd,
      attachType: cgroupTypes[hook],
      flags,
    }).map(({ programId }) => programId)
  } finally {
    closeSync(fd)
  }
}
