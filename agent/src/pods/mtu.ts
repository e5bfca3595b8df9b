// Running pods follow the underlay: when the MTU that pods get has changed, both ends of a pair are given the new one.
import { type Link, type NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { isNamespaceGone, openPodNamespace } from './namespace.ts'

export interface MtuDeps {
  /** In the node's namespace. */
  readonly netlink: RouteNetlink
  readonly hostNamespace: NetworkNamespace
}

export interface MtuRow {
  readonly ifname: string
  readonly netns: string
}

/**
 * The device as it is afterwards. An end inside that somebody has given another MTU keeps it as long as it still fits. The host's
 * end is never larger than the pod's may be: what arrives and does not fit is refused there, with the answer that path MTU
 * discovery needs.
 */
export async function followMtu(
  { netlink, hostNamespace }: MtuDeps,
  { ifname, netns: path }: MtuRow,
  host: Link,
  mtu: number,
): Promise<Link> {
  if (host.mtu === mtu || isNamespaceGone(path)) return host
  using netns = openPodNamespace(path, hostNamespace)
  using inPod = RouteNetlink.open({ netns })
  const inside = await inPod.links.get({ name: ifname })
  // Paths like /proc/PID/ns/net are used again: only the pair itself says that this is its pod.
  const isPair = inside?.index === host.peerIndex && inside?.peerIndex === host.index
  if (inside === undefined || !isPair) return host
  const isOurs = inside.mtu === host.mtu || inside.mtu > mtu
  // At no moment does one end send what the other does not take.
  if (isOurs && mtu < host.mtu) await inPod.links.set(inside.index, { mtu })
  await netlink.links.set(host.index, { mtu })
  if (isOurs && mtu > host.mtu) await inPod.links.set(inside.index, { mtu })
  return { ...host, mtu }
}
