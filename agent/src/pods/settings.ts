// The kernel's per-device settings for both ends of a pod's pair. Written by path from inside the namespace they belong to.
import type { NetworkNamespace } from '@sinabro/node-netlink'

/** Nothing but our own programs decides what a pod may send: no reverse-path filter, no router advertisements. */
export function settleHostEnd(namespace: NetworkNamespace, device: string, hasIpv6: boolean): void {
  write(namespace, `ipv4/conf/${device}/rp_filter`, '0')
  if (!hasIpv6) return
  // A node whose default is 1 would forward nothing that comes from this device.
  write(namespace, `ipv6/conf/${device}/disable_ipv6`, '0')
  write(namespace, `ipv6/conf/${device}/accept_ra`, '0')
}

export function settlePodEnd(namespace: NetworkNamespace, device: string, hasIpv6: boolean): void {
  if (!hasIpv6) return
  // Runtimes start sandboxes with IPv6 off when they are told to by their defaults.
  write(namespace, `ipv6/conf/${device}/disable_ipv6`, '0')
  write(namespace, `ipv6/conf/${device}/accept_ra`, '0')
  // The link has two ends and we chose both addresses: the link-local one needs no detection of duplicates either.
  write(namespace, `ipv6/conf/${device}/accept_dad`, '0')
}

function write(namespace: NetworkNamespace, setting: string, value: string): void {
  const path = `/proc/sys/net/${setting}`
  if (namespace.readFile(path).trim() === value) return
  namespace.writeFile(path, value)
}
