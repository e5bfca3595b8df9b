// Pins in bpffs: names by which maps, programs and links outlive the process.
import { mkdirSync, rmSync, statfsSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import { BpfError } from './error.ts'
import { native } from './native.ts'

/** `BPF_FS_MAGIC` of `include/uapi/linux/magic.h`. */
const BPF_FS_MAGIC = 0xcafe4a11

/**
 * Pins at a path that must be free, makes its directory.
 * @throws BpfError EEXIST; EPERM also if the path is not on bpffs
 */
export function pinAt(fd: number, path: string): void {
  const folder = dirname(path)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const result = native().pin(fd, path)
  if (result >= 0) return
  const isPlainFolder = statfsSync(folder).type !== BPF_FS_MAGIC
  throw new BpfError(`BPF_OBJ_PIN ${path}`, {
    errno: -result,
    ...(isPlainFolder ? { detail: `${folder} is not on a bpf file system` } : {}),
  })
}

/** The descriptor, or undefined if nothing is pinned there. */
export function openPin(path: string): number | undefined {
  const result = native().getPinned(path)
  if (result === -constants.errno.ENOENT) return undefined
  if (result < 0) throw new BpfError(`BPF_OBJ_GET ${path}`, { errno: -result })
  return result
}

/** Removes the name; what it held lives on while it is used. False if it was not there. */
export function unpin(path: string): boolean {
  try {
    rmSync(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
