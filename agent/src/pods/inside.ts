// The pod's end of the pair: addresses, gateways and default routes, in one message to the kernel.
import { isCode, type NetworkNamespace, type RouteNetlink } from '@sinabro/node-netlink'
import { KernelSettings } from '../kernel-settings.ts'
import { ROUTE_PROTOCOL } from '../marks.ts'
import { type Outcomes, requireAll } from './outcomes.ts'
import type { PodRow } from './rows.ts'

/** LOOPBACK_IFINDEX of include/net/flow.h: the same in every namespace. */
const LOOPBACK_INDEX = 1

export async function configurePodEnd(
  inPod: RouteNetlink,
  netns: NetworkNamespace,
  row: PodRow,
  index: number,
): Promise<void> {
  let outcomes = await configure(inPod, row, index)
  if (outcomes.some((one) => one.status === 'rejected' && isCode(one.reason, 'EACCES'))) {
    // Sandboxes may start with IPv6 off by their defaults. Asked for only then: mostly it is on.
    new KernelSettings(netns).set(`ipv6/conf/${row.ifname}/disable_ipv6`, '0')
    outcomes = await configure(inPod, row, index)
  }
  requireAll(outcomes)
}

/** May be repeated: what is there stays. */
function configure(inPod: RouteNetlink, row: PodRow, index: number): Promise<Outcomes> {
  return inPod.batch(({ links, addresses, neighbours, routes }) => [
    links.set(LOOPBACK_INDEX, { isUp: true }),
    links.set(index, { isUp: true }),
    ...row.addresses.flatMap(({ address, prefixLen, gateway }) => [
      // nodad: nobody else is on this link, and a second of waiting is a second of start-up.
      addresses.replace({ index, address, prefixLen, flags: ['nodad'] }),
      neighbours.replace({ index, address: gateway, mac: row.hostMac, state: 'permanent' }),
    ]),
    ...row.addresses.map(({ family, gateway }) =>
      routes
        .add({
          dst: 'default',
          family,
          via: gateway,
          index,
          onlink: true,
          protocol: ROUTE_PROTOCOL,
        })
        .catch((error: unknown) => {
          // Another interface of the same container was first, or this is a repeated ADD.
          if (!isCode(error, 'EEXIST')) throw error
        }),
    ),
  ])
}
