// Wires one pod, step by step in the order of its birth, and takes it apart again. Each step may be repeated: it leaves the same state.
import { isCode, type Link, type NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { shape } from '../bandwidth/shape.ts'
import type { CrashPoint } from '../ipam/crash-point.ts'
import { KernelSettings } from '../kernel-settings.ts'
import { ROUTE_PROTOCOL } from '../marks.ts'
import { parseAlias } from './compute.ts'
import { PodError } from './error.ts'
import type { PodMacs } from './macs.ts'
import type { PodAddress, PodRow } from './rows.ts'

/** What the wiring of pods needs of the datapath. */
export interface PodDatapath {
  /** Puts the current programs on both directions of the host end; those that are there are replaced in one step. */
  attachPod(device: Device): Promise<void>
  /** Forgets the pinned links of a device that is gone. */
  forgetDevice(name: string): void
  setEndpoint(address: string, endpoint: PodEndpoint): void
  /** Leaves the row alone when it names another incarnation. */
  removeEndpoint(address: string, incarnation: number): void
}

export interface Device {
  readonly name: string
  readonly index: number
}

export interface PodEndpoint {
  readonly ifindex: number
  readonly id: number
  readonly incarnation: number
  readonly podMac: string
  readonly hostMac: string
  readonly mtu: number
  /** What is sent to it has to pass the qdisc of its host end. */
  readonly isShaped: boolean
}

export interface WireDeps {
  /** In the node's namespace, as `settings`. */
  readonly netlink: RouteNetlink
  readonly settings: KernelSettings
  readonly datapath: PodDatapath
  readonly macs: PodMacs
  /** Called after each thing that was done to the kernel. */
  readonly crashPoint: CrashPoint
}

/**
 * Makes the pod whole; what is already there and right stays as it is, so this also finishes an interrupted birth. The order
 * is what keeps it isolated: nothing moves before programs and map rows are in place, because the host end is down till then.
 * On failure what was done stays: the caller undoes it with `unwire`.
 */
export async function wire(
  deps: WireDeps,
  row: PodRow,
  netns: NetworkNamespace,
  signal: AbortSignal,
): Promise<Link> {
  using inPod = RouteNetlink.open({ netns })
  const host = await pair(deps, row, netns, inPod)
  const podIndex = host.peerIndex
  if (podIndex === undefined) throw new PodError('device-lost', `${host.name} has no other end`)
  await deps.crashPoint('pods.pair')
  signal.throwIfAborted()
  settleHostEnd(deps.settings, row)
  await deps.crashPoint('pods.settings')
  await deps.datapath.attachPod(host)
  await deps.crashPoint('pods.programs')
  signal.throwIfAborted()
  setEndpoints(deps, row, host)
  await deps.crashPoint('pods.endpoints')
  await configurePodEnd(inPod, netns, row, podIndex)
  await shape(deps.netlink, host.index, row.bandwidth?.ingress)
  await shape(inPod, podIndex, row.bandwidth?.egress)
  await deps.crashPoint('pods.inside')
  signal.throwIfAborted()
  await deps.netlink.links.set(host.index, { isUp: true })
  await deps.crashPoint('pods.up')
  await routeToPod(deps, row, host.index)
  await deps.crashPoint('pods.routes')
  signal.throwIfAborted()
  return host
}

/** Takes away all of it, in reverse. What is absent is fine, so it may be repeated after being cut short anywhere. */
export async function unwire(deps: WireDeps, row: PodRow): Promise<void> {
  for (const { address } of row.addresses) deps.datapath.removeEndpoint(address, row.incarnation)
  await deps.crashPoint('pods.unwire.endpoints')
  const host = await findHostEnd(deps.netlink, row)
  // Routes, neighbours, programs and the pod's end go with it.
  if (host !== undefined) await deps.netlink.links.del(host.index)
  await deps.crashPoint('pods.unwire.pair')
  deps.datapath.forgetDevice(row.hostDevice)
  await deps.crashPoint('pods.unwire.pins')
}

/** Repairs what is ours on the host's side. Inside, a running pod's network belongs to the pod and to later plug-ins. */
export async function repairHostSide(deps: WireDeps, row: PodRow, host: Link): Promise<void> {
  settleHostEnd(deps.settings, row)
  await deps.datapath.attachPod(host)
  setEndpoints(deps, row, host)
  // A device that is down takes no routes. It was never brought up, or somebody means it to be down.
  if (host.isUp) await routeToPod(deps, row, host.index)
}

/** The pair as it should be, made if need be. Asked for optimistically: in the usual case nothing is there yet. */
async function pair(
  deps: WireDeps,
  row: PodRow,
  netns: NetworkNamespace,
  inPod: RouteNetlink,
): Promise<Link> {
  try {
    await addPair(deps.netlink, row, netns)
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error
    const host = await findHostEnd(deps.netlink, row)
    const inside = await inPod.links.get({ name: row.ifname })
    const isPair = host !== undefined && inside !== undefined && host.peerIndex === inside.index
    // With another MAC it is that of an earlier incarnation, whose neighbours and rows know another.
    if (isPair && host.mac === row.hostMac) {
      // Cut short between making it and marking it.
      if (host.alias !== row.alias) await deps.netlink.links.set(host.index, { alias: row.alias })
      return host
    }
    if (inside !== undefined) {
      throw new PodError(
        'interface-taken',
        `the namespace already has an interface ${row.ifname}`,
        {
          cause: error,
        },
      )
    }
    if (host === undefined) {
      throw new PodError('interface-taken', `${row.hostDevice} is somebody else's device`, {
        cause: error,
      })
    }
    // Ours, but of an earlier incarnation, or its other end is not in this namespace: what it belonged to is gone.
    await deps.netlink.links.del(host.index)
    deps.datapath.forgetDevice(host.name)
    await addPair(deps.netlink, row, netns)
  }
  const host = await deps.netlink.links.get({ name: row.hostDevice })
  if (host === undefined) throw new PodError('device-lost', `${row.hostDevice} vanished`)
  return host
}

function addPair(netlink: RouteNetlink, row: PodRow, netns: NetworkNamespace): Promise<void> {
  return netlink.links.add({
    name: row.hostDevice,
    kind: 'veth',
    mac: row.hostMac,
    mtu: row.mtu,
    isUp: false,
    alias: row.alias,
    addrGenMode: 'none',
    peer: { name: row.ifname, netns, mac: row.podMac, mtu: row.mtu },
  })
}

/** Our device by name; one that was made but not yet marked has no alias. */
export async function findHostEnd(netlink: RouteNetlink, row: PodRow): Promise<Link | undefined> {
  const link = await netlink.links.get({ name: row.hostDevice })
  if (link === undefined || link.kind !== 'veth') return undefined
  const isOurs = link.alias === undefined || parseAlias(link.alias) !== undefined
  return isOurs ? link : undefined
}

/** The MTU is that of the device, which follows the underlay (mtu.ts). */
function setEndpoints(deps: WireDeps, row: PodRow, { index: ifindex, mtu }: Link): void {
  const { endpointId: id, incarnation, hostMac } = row
  const podMac = deps.macs.of(row)
  const isShaped = row.bandwidth?.ingress !== undefined
  const endpoint = { ifindex, id, incarnation, podMac, hostMac, mtu, isShaped }
  for (const { address } of row.addresses) deps.datapath.setEndpoint(address, endpoint)
}

/** LOOPBACK_IFINDEX of include/net/flow.h: the same in every namespace. */
const LOOPBACK_INDEX = 1

/** Nothing but our own programs decides what a pod may send: no reverse-path filter, no router advertisements. */
function settleHostEnd(settings: KernelSettings, { hostDevice, addresses }: PodRow): void {
  settings.set(`ipv4/conf/${hostDevice}/rp_filter`, '0')
  if (!addresses.some(({ family }) => family === 6)) return
  // A node whose default is 1 would forward nothing that comes from this device.
  settings.set(`ipv6/conf/${hostDevice}/disable_ipv6`, '0')
  settings.set(`ipv6/conf/${hostDevice}/accept_ra`, '0')
}

async function configurePodEnd(
  inPod: RouteNetlink,
  netns: NetworkNamespace,
  row: PodRow,
  index: number,
): Promise<void> {
  await inPod.links.set(LOOPBACK_INDEX, { isUp: true })
  await inPod.links.set(index, { isUp: true })
  for (const { address, prefixLen, gateway } of row.addresses) {
    // nodad: nobody else is on this link, and a second of waiting is a second of start-up.
    const spec = { index, address, prefixLen, flags: ['nodad'] } as const
    try {
      await inPod.addresses.replace(spec)
    } catch (error) {
      if (!isCode(error, 'EACCES')) throw error
      // Sandboxes may start with IPv6 off by their defaults. Asked for only then: it costs a thread in the pod's namespace.
      new KernelSettings(netns).set(`ipv6/conf/${row.ifname}/disable_ipv6`, '0')
      await inPod.addresses.replace(spec)
    }
    await inPod.neighbours.replace({
      index,
      address: gateway,
      mac: row.hostMac,
      state: 'permanent',
    })
  }
  for (const address of row.addresses) await addDefaultRoute(inPod, index, address)
}

async function addDefaultRoute(
  inPod: RouteNetlink,
  index: number,
  { family, gateway }: PodAddress,
): Promise<void> {
  try {
    await inPod.routes.add({
      dst: 'default',
      family,
      via: gateway,
      index,
      onlink: true,
      protocol: ROUTE_PROTOCOL,
    })
  } catch (error) {
    // Another interface of the same container was first, or this is a repeated ADD.
    if (!isCode(error, 'EEXIST')) throw error
  }
}

async function routeToPod(
  { netlink, macs }: Pick<WireDeps, 'netlink' | 'macs'>,
  row: PodRow,
  index: number,
): Promise<void> {
  const mac = macs.of(row)
  for (const { address, prefixLen } of row.addresses) {
    await netlink.neighbours.replace({ index, address, mac, state: 'permanent' })
    await netlink.routes.replace({
      dst: `${address}/${prefixLen}`,
      index,
      scope: 'link',
      protocol: ROUTE_PROTOCOL,
    })
  }
}
