// Kernel settings of the node as a router for its pods: forwarding, and nothing in the way on the overlay device.
import type { RouteNetlink } from '@sinabro/node-netlink'
import type { KernelSettings } from '../kernel-settings.ts'

/** RTPROT_RA of include/uapi/linux/rtnetlink.h: a default route from a router advertisement. */
const RTPROT_RA = 9

/**
 * Turns on forwarding for the families given. A node that lives by router advertisements stops listening to them when it
 * forwards, and loses its own default route with the next expiry, unless accept_ra is 2 (Documentation/networking/ip-sysctl).
 */
export async function settleForwarding(
  netlink: RouteNetlink,
  settings: KernelSettings,
  families: ReadonlySet<4 | 6>,
): Promise<void> {
  if (families.has(4)) settings.set('ipv4/conf/all/forwarding', '1')
  if (!families.has(6) || settings.read('ipv6/conf/all/forwarding') === '1') return
  for (const { dst, protocol, index } of await netlink.routes.list({ family: 6 })) {
    if (dst !== 'default' || protocol !== RTPROT_RA || index === undefined) continue
    const link = await netlink.links.get(index)
    if (link !== undefined) settings.set(`ipv6/conf/${link.name}/accept_ra`, '2')
  }
  settings.set('ipv6/conf/all/forwarding', '1')
}

/** The tunnel's programs know who may send what: no reverse-path filter. */
export function settleDevice(settings: KernelSettings, device: string): void {
  settings.set(`ipv4/conf/${device}/rp_filter`, '0')
  if (settings.read(`ipv6/conf/${device}/disable_ipv6`) === undefined) return
  settings.set(`ipv6/conf/${device}/disable_ipv6`, '0')
  settings.set(`ipv6/conf/${device}/accept_ra`, '0')
}
