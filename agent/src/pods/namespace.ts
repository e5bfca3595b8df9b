// A pod's network namespace by its path: opened if it is one and not the node's, recognised when it is gone.
import { statfsSync } from 'node:fs'
import { isCode, type Link, NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { PodError } from './error.ts'

/** `NSFS_MAGIC` of include/uapi/linux/magic.h. */
const NSFS_MAGIC = 0x6e736673

/** The caller closes it. @throws PodError netns-gone, netns-unusable, netns-own */
export function openPodNamespace(path: string, host: NetworkNamespace): NetworkNamespace {
  if (isNamespaceGone(path)) {
    throw new PodError('netns-gone', `${path}: there is no network namespace`)
  }
  const netns = open(path)
  if (netns.isSame(host)) {
    netns.close()
    throw new PodError('netns-own', `${path} is the node's own network namespace`)
  }
  return netns
}

/** A namespace of processes or mounts lies in the same file system, and is told from one of the network only once it is open. */
function open(path: string): NetworkNamespace {
  try {
    return NetworkNamespace.open(path)
  } catch (cause) {
    if (isCode(cause, 'ENOENT')) {
      throw new PodError('netns-gone', `${path}: there is no network namespace`, { cause })
    }
    const what = 'cannot be opened as a network namespace; is it one of another kind?'
    throw new PodError('netns-unusable', `${path}: ${what}`, { cause })
  }
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

/**
 * Does something at the other end of a pod's pair; undefined if that is not in the namespace at the path. Paths like
 * /proc/PID/ns/net are used again: only the pair itself says that this is its pod.
 */
export async function insideOf<T>(
  path: string,
  host: Pick<Link, 'index' | 'peerIndex'>,
  hostNamespace: NetworkNamespace,
  run: (inPod: RouteNetlink, index: number, link: Link) => Promise<T>,
): Promise<T | undefined> {
  if (host.peerIndex === undefined || isNamespaceGone(path)) return undefined
  using netns = openPodNamespace(path, hostNamespace)
  using inPod = RouteNetlink.open({ netns })
  const inside = await inPod.links.get({ index: host.peerIndex })
  if (inside?.peerIndex !== host.index) return undefined
  return await run(inPod, inside.index, inside)
}
