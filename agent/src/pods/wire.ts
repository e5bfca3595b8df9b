// Wires one pod, step by step in the order of its birth, and takes it apart again. Each step may be repeated: it leaves the same state.
import { isCode, type Link, type NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { shape } from '../bandwidth/shape.ts'
import type { CrashPoint } from '../ipam/crash-point.ts'
import type { KernelSettings } from '../kernel-settings.ts'
import { ROUTE_PROTOCOL, UNBORN_GROUP } from '../marks.ts'
import { parseAlias } from './compute.ts'
import { isPodDevice, type PodDevice, pairSpec } from './device.ts'
import { PodError } from './error.ts'
import { configurePodEnd } from './inside.ts'
import type { PodMacs } from './macs.ts'
import { requireAll } from './outcomes.ts'
import type { PodRow } from './rows.ts'
import { nextTurn } from './turn.ts'

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
  readonly kind?: string
  /** Made a moment ago: nothing is on it, so nothing is looked for. */
  readonly isNew?: boolean
}

export interface PodEndpoint {
  readonly ifindex: number
  readonly id: number
  readonly incarnation: number
  readonly podMac: string
  readonly hostMac: string
  readonly mtu: number
  readonly isNetkit: boolean
  /** What is sent to it has to pass the qdisc of its host end. */
  readonly isShaped: boolean
  /** It is not masqueraded; undefined: not known yet. */
  readonly keepsAddress?: boolean | undefined
}

export interface WireDeps {
  /** In the node's namespace, as `settings`. */
  readonly netlink: RouteNetlink
  readonly settings: KernelSettings
  readonly datapath: PodDatapath
  /** Of new pods; those that are there keep what they have. */
  readonly podDevice: PodDevice
  readonly macs: PodMacs
  /** Whether a pod's address is kept towards the outside; undefined: not known yet. */
  keepsAddress?(pod: PodRow): boolean | undefined
  /** Called after each thing that was done to the kernel. */
  readonly crashPoint: CrashPoint
}

/**
 * Makes the pod whole; what is already there and right stays as it is, so this also finishes an interrupted birth. The order
 * is what keeps it isolated: nothing moves before programs and map rows are in place, because the host end is down till then.
 * It comes up only when the pod's record is on disk (`stored`), which is why the two may be made at the same time (ADR 0048).
 * On failure what was done stays: the caller undoes it with `unwire`.
 */
export async function wire(
  deps: WireDeps,
  row: PodRow,
  netns: NetworkNamespace,
  signal: AbortSignal,
  stored: Promise<unknown>,
): Promise<Link> {
  using inPod = RouteNetlink.open({ netns })
  const { host, isNew } = await ensurePair(deps, row, netns, inPod)
  const { index, peerIndex } = host
  if (peerIndex === undefined) throw new PodError('device-lost', `${host.name} has no other end`)
  await deps.crashPoint('pods.pair')
  // Nothing here waits for the kernel, so this is where the first half of the record is heard of and its second half begun.
  if (isNew) await nextTurn()
  signal.throwIfAborted()
  settleHostEnd(deps.settings, row)
  await deps.crashPoint('pods.settings')
  await deps.datapath.attachPod({ ...host, isNew })
  await deps.crashPoint('pods.programs')
  signal.throwIfAborted()
  setEndpoints(deps, row, host)
  await deps.crashPoint('pods.endpoints')
  await configurePodEnd(inPod, netns, row, peerIndex)
  await shape(deps.netlink, index, row.bandwidth?.ingress)
  await shape(inPod, peerIndex, row.bandwidth?.egress)
  await deps.crashPoint('pods.inside')
  await stored
  signal.throwIfAborted()
  await bringUp(deps, row, index)
  await deps.crashPoint('pods.up')
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

interface Pair {
  readonly host: Link
  /** Not one that was there already. */
  readonly isNew: boolean
}

/** The pair as it should be, made if need be. Asked for optimistically: in the usual case nothing is there yet. */
async function ensurePair(
  { netlink, datapath, podDevice }: WireDeps,
  row: PodRow,
  netns: NetworkNamespace,
  inPod: RouteNetlink,
): Promise<Pair> {
  try {
    await netlink.links.add(pairSpec(podDevice, row, netns))
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error
    const host = await findHostEnd(netlink, row)
    const inside = await inPod.links.get({ name: row.ifname })
    const isPair = host !== undefined && inside !== undefined && host.peerIndex === inside.index
    // With another MAC it is that of an earlier incarnation, whose neighbours and rows know another.
    if (isPair && host.mac === row.hostMac) {
      // Cut short between making it and marking it.
      if (host.alias !== row.alias) await netlink.links.set(host.index, { alias: row.alias })
      return { host, isNew: false }
    }
    const cause = { cause: error }
    if (inside !== undefined) {
      const message = `the namespace already has an interface ${row.ifname}`
      throw new PodError('interface-taken', message, cause)
    }
    if (host === undefined) {
      throw new PodError('interface-taken', `${row.hostDevice} is somebody else's device`, cause)
    }
    // Ours, but of an earlier incarnation, or its other end is not in this namespace: what it belonged to is gone.
    await netlink.links.del(host.index)
    datapath.forgetDevice(host.name)
    await netlink.links.add(pairSpec(podDevice, row, netns))
  }
  const host = await netlink.links.get({ name: row.hostDevice })
  if (host === undefined) throw new PodError('device-lost', `${row.hostDevice} vanished`)
  return { host, isNew: true }
}

/** Our device by name; one that was made but not yet marked has no alias. */
export async function findHostEnd(
  netlink: RouteNetlink,
  { hostDevice }: PodRow,
): Promise<Link | undefined> {
  const link = await netlink.links.get({ name: hostDevice })
  if (link === undefined || !isPodDevice(link)) return undefined
  const isOurs = link.alias === undefined || parseAlias(link.alias) !== undefined
  return isOurs ? link : undefined
}

/** Of the kind that pods get, and without an alias: ours if a record, or its group, says so. */
export function isUnmarked(link: Link): boolean {
  return isPodDevice(link) && link.alias === undefined
}

/**
 * A host end that never was up, so its ADD was never answered and nothing ever moved through it: it may go without anybody asking
 * whose it is, even if there is no record of it (ADR 0048).
 */
export function isUnborn(link: Link): boolean {
  const { group, isUp, name } = link
  return isPodDevice(link) && group === UNBORN_GROUP && !isUp && /^sb[a-z2-7]{13}$/.test(name)
}

/** The MTU is that of the device, which follows the underlay (mtu.ts). */
function setEndpoints(deps: WireDeps, row: PodRow, { index: ifindex, mtu, kind }: Link): void {
  const { endpointId: id, incarnation, hostMac } = row
  const podMac = deps.macs.of(row)
  const isNetkit = kind === 'netkit'
  const isShaped = row.bandwidth?.ingress !== undefined
  const keepsAddress = deps.keepsAddress?.(row)
  const endpoint = { ifindex, id, incarnation, podMac, hostMac, mtu, isNetkit, isShaped }
  for (const { address } of row.addresses) {
    deps.datapath.setEndpoint(address, { ...endpoint, keepsAddress })
  }
}

/** Nothing but our own programs decides what a pod may send: no reverse-path filter, no router advertisements. */
function settleHostEnd(settings: KernelSettings, { hostDevice, addresses }: PodRow): void {
  settings.set(`ipv4/conf/${hostDevice}/rp_filter`, '0')
  if (!addresses.some(({ family }) => family === 6)) return
  // A node whose default is 1 would forward nothing that comes from this device.
  settings.set(`ipv6/conf/${hostDevice}/disable_ipv6`, '0')
  settings.set(`ipv6/conf/${hostDevice}/accept_ra`, '0')
}

/** The birth itself: in one message the host end stops being unborn, comes up and is routed to. */
async function bringUp({ netlink, macs }: WireDeps, row: PodRow, index: number): Promise<void> {
  requireAll(
    await netlink.batch((verbs) => [
      verbs.links.set(index, { isUp: true, group: 0 }),
      ...routesToPod(verbs, row, macs.of(row), index),
    ]),
  )
}

async function routeToPod({ netlink, macs }: WireDeps, row: PodRow, index: number): Promise<void> {
  requireAll(await netlink.batch((verbs) => routesToPod(verbs, row, macs.of(row), index)))
}

function routesToPod(
  { neighbours, routes }: Pick<RouteNetlink, 'neighbours' | 'routes'>,
  { addresses }: PodRow,
  mac: string,
  index: number,
): Promise<void>[] {
  return addresses.flatMap(({ address, prefixLen }) => [
    neighbours.replace({ index, address, mac, state: 'permanent' }),
    routes.replace({
      dst: `${address}/${prefixLen}`,
      index,
      scope: 'link',
      protocol: ROUTE_PROTOCOL,
    }),
  ])
}
