// Compares one pod with what ADD left: devices, addresses, routes, programs and map rows, both ends; lists every difference.
import { type NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { PodError } from './error.ts'
import type { PodRow } from './rows.ts'
import type { ObservableDatapath } from './target.ts'
import { findHostEnd, type WireDeps } from './wire.ts'

export interface CheckDeps extends WireDeps {
  readonly datapath: ObservableDatapath
}

/** @throws PodError check-failed, with all differences in its message */
export async function check(deps: CheckDeps, row: PodRow, netns: NetworkNamespace): Promise<void> {
  const differences = [...(await checkHostEnd(deps, row)), ...(await checkPodEnd(row, netns))]
  if (differences.length > 0) throw new PodError('check-failed', differences.join('; '))
}

async function checkHostEnd(deps: CheckDeps, row: PodRow): Promise<string[]> {
  const { netlink, datapath } = deps
  const host = await findHostEnd(netlink, row)
  if (host === undefined) return [`device ${row.hostDevice} is gone`]
  const missing: string[] = []
  if (!host.isUp) missing.push(`device ${host.name} is down`)
  if (!(await datapath.isPodAttached(host))) missing.push(`programs on ${host.name} are gone`)
  const rows = new Map(datapath.podEndpoints())
  const routes = await netlink.routes.list()
  const neighbours = await netlink.neighbours.list({ index: host.index })
  for (const { address, prefixLen } of row.addresses) {
    const endpoint = rows.get(address)
    const isWritten =
      endpoint !== undefined &&
      endpoint.ifindex === host.index &&
      endpoint.incarnation === row.incarnation
    if (!isWritten) {
      missing.push(`map row of ${address} is gone`)
    }
    const dst = `${address}/${prefixLen}`
    if (!routes.some((route) => route.dst === dst && route.index === host.index)) {
      missing.push(`route ${dst} on ${host.name} is gone`)
    }
    if (!neighbours.some((one) => one.address === address && one.state === 'permanent')) {
      missing.push(`neighbour ${address} on ${host.name} is gone`)
    }
  }
  return missing
}

/** Routes that later plug-ins changed are theirs; that any default route is left is what the pod lives by. */
async function checkPodEnd(row: PodRow, netns: NetworkNamespace): Promise<string[]> {
  using inPod = RouteNetlink.open({ netns })
  const link = await inPod.links.get({ name: row.ifname })
  if (link === undefined) return [`interface ${row.ifname} is gone`]
  const missing: string[] = []
  if (!link.isUp) missing.push(`interface ${row.ifname} is down`)
  const addresses = await inPod.addresses.list({ index: link.index })
  for (const { address, prefixLen, family } of row.addresses) {
    if (!addresses.some((one) => one.address === address && one.prefixLen === prefixLen)) {
      missing.push(`address ${address}/${prefixLen} on ${row.ifname} is gone`)
    }
    const routes = await inPod.routes.list({ family })
    if (!routes.some(({ dst }) => dst === 'default')) {
      missing.push(`default route of IPv${family} is gone`)
    }
  }
  return missing
}
