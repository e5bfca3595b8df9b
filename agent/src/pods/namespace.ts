// A pod's network namespace by its path: opened if it is one and not the node's, recognised when it is gone.
import { statfsSync } from 'node:fs'
import { NetworkNamespace } from '@sinabro/node-netlink'
import { PodError } from './error.ts'

/** `NSFS_MAGIC` of include/uapi/linux/magic.h. */
const NSFS_MAGIC = 0x6e736673

/** The caller closes it. @throws PodError netns-gone, netns-own */
export function openPodNamespace(path: string, host: NetworkNamespace): NetworkNamespace {
  if (isNamespaceGone(path)) {
    throw new PodError('netns-gone', `${path}: there is no network namespace`)
  }
  const netns = NetworkNamespace.open(path)
  if (netns.isSame(host)) {
    netns.close()
    throw new PodError('netns-own', `${path} is the node's own network namespace`)
  }
  return netns
}

/**
 * True only if it certainly is: nothing is at the path, or what is there is the empty file that `ip netns add` mounts on. What
 * cannot be told for any other reason counts as alive.
 */
export function isNamespaceGone(path: string): boolean {
  if (path === '') return true
  try {
    return statfsSync(path).type !== NSFS_MAGIC
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    return code === 'ENOENT' || code === 'ENOTDIR'
  }
}
