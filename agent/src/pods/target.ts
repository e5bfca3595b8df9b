// Local pods in the kernel, as a reconciler's target: found by our alias, repaired from the host's side, removed without a record.
import type { Link, Neighbour, NetworkNamespace } from '@sinabro/node-netlink'
import { isShaped, shape } from '../bandwidth/shape.ts'
import { ROUTE_PROTOCOL } from '../marks.ts'
import type { Target } from '../state/target.ts'
import { parseAlias } from './compute.ts'
import { followMtu } from './mtu.ts'
import { insideOf, isNamespaceGone } from './namespace.ts'
import { Remake, type RemakeDeps } from './remake.ts'
import type { LivePod } from './rows.ts'
import {
  type Device,
  findHostEnd,
  isUnborn,
  isUnmarked,
  type PodDatapath,
  type PodEndpoint,
  repairHostSide,
} from './wire.ts'

/** What the kernel and the maps hold of one pod. */
export interface PodActual {
  readonly key: string
  readonly device?: Link
  readonly isAttached: boolean
  readonly endpoints: ReadonlyMap<string, PodEndpoint>
  readonly routes: ReadonlySet<string>
  readonly neighbours: ReadonlyMap<string, string>
  readonly isHeldToLimits: boolean
}

export interface ObservableDatapath extends PodDatapath {
  /** Whether the programs of this process, not only some of ours, are on both directions. */
  isPodAttached(device: Device): Promise<boolean>
  /** Rows of local pods: address and endpoint. */
  podEndpoints(): Iterable<readonly [string, PodEndpoint]>
  /** Names of devices that links are pinned for, whether the devices exist or not. */
  pinnedDevices(): string[]
}

export interface PodsTargetDeps extends RemakeDeps {
  readonly datapath: ObservableDatapath
  readonly live: { values(): LivePod[] }
  readonly hostNamespace: NetworkNamespace
  isLive(hostDevice: string): boolean
  /** A verb is working on it: it is somewhere between two states, and not ours to judge. */
  isBusy(key: string): boolean
  /** Runs unless a verb is working on it; a verb that comes aborts the signal and waits. */
  whileIdle(key: string, run: (signal: AbortSignal) => Promise<void>): Promise<void>
  /** Its device and its namespace are both gone. */
  onGone(pod: LivePod): Promise<void>
  /** False while what looks like nobody's device may be a running pod's: records that nobody can read, or none at all. */
  mayRemoveUnrecorded(): boolean
  /** Devices that stay although no allocation knows them; called after every list. */
  onUnrecorded(devices: readonly string[]): void
}

export function podKey(pod: { readonly endpointId: number; readonly incarnation: number }): string {
  return `${pod.endpointId}/${pod.incarnation}`
}

export class PodsTarget implements Target<LivePod, PodActual> {
  readonly name = 'pods'
  readonly #deps: PodsTargetDeps
  readonly #remake: Remake

  constructor(deps: PodsTargetDeps) {
    this.#deps = deps
    this.#remake = new Remake(deps)
  }

  key(row: LivePod): string {
    return podKey(row)
  }

  keyOf(actual: PodActual): string {
    return actual.key
  }

  isEqual(row: LivePod, actual: PodActual): boolean {
    const { device, isAttached, endpoints, routes, neighbours } = actual
    const { macs, isBusy } = this.#deps
    if (isBusy(podKey(row))) return true
    if (device === undefined || !isAttached || device.alias !== row.alias) return false
    if (macs.isDoubtful(row) || !actual.isHeldToLimits) return false
    const podMac = macs.of(row)
    const keepsAddress = this.#deps.keepsAddress?.(row)
    if (device.mtu !== (this.#deps.podMtu() ?? device.mtu)) return false
    return row.addresses.every(({ address, prefixLen }) => {
      const endpoint = endpoints.get(address)
      const isWritten =
        endpoint !== undefined &&
        endpoint.ifindex === device.index &&
        endpoint.mtu === device.mtu &&
        endpoint.isNetkit === (device.kind === 'netkit') &&
        endpoint.podMac === podMac &&
        endpoint.keepsAddress === (keepsAddress ?? endpoint.keepsAddress) &&
        endpoint.isShaped === (row.bandwidth?.ingress !== undefined) &&
        endpoint.hostMac === row.hostMac
      if (!isWritten || !device.isUp) return isWritten
      return neighbours.get(address) === podMac && routes.has(`${address}/${prefixLen}`)
    })
  }

  async list(): Promise<PodActual[]> {
    const { netlink, datapath, live } = this.#deps
    const recorded = new Map(live.values().map((pod) => [pod.hostDevice, podKey(pod)]))
    const found = new Map<string, Found>()
    const at = (key: string): Found => {
      const known = found.get(key) ?? new Found()
      found.set(key, known)
      return known
    }
    const byIndex = new Map<number, Found>()
    // Read before the devices: one that is pinned by then and missing afterwards is gone.
    const pinned = datapath.pinnedDevices()
    const links = await netlink.links.list()
    this.#forgetDeadPins(pinned, new Set(links.map(({ name }) => name)))
    for (const link of links) {
      const key = identify(link, recorded)
      if (key === undefined) continue
      const pod = at(key)
      pod.device = link
      byIndex.set(link.index, pod)
    }
    for (const [address, endpoint] of datapath.podEndpoints()) {
      at(podKey({ endpointId: endpoint.id, incarnation: endpoint.incarnation })).endpoints.set(
        address,
        endpoint,
      )
    }
    for (const route of await netlink.routes.list({ protocol: ROUTE_PROTOCOL })) {
      if (route.index !== undefined) byIndex.get(route.index)?.routes.add(route.dst)
    }
    for (const neighbour of await netlink.neighbours.list()) {
      if (isUsable(neighbour)) {
        byIndex.get(neighbour.index)?.neighbours.set(neighbour.address, neighbour.mac)
      }
    }
    const records = new Set(recorded.values())
    const isHeldToLimits = await this.#limitsInForce(found)
    const actuals: PodActual[] = []
    const unrecorded: string[] = []
    for (const [key, pod] of found) {
      if (this.#deps.isBusy(key)) continue
      const { device } = pod
      const isDoomed = device !== undefined && isUnborn(device)
      if (!records.has(key) && !isDoomed && !this.#deps.mayRemoveUnrecorded()) {
        if (device !== undefined) unrecorded.push(device.name)
        continue
      }
      const isAttached = device !== undefined && (await datapath.isPodAttached(device))
      actuals.push({ ...pod, key, isAttached, isHeldToLimits: isHeldToLimits(key) })
    }
    this.#deps.onUnrecorded(unrecorded)
    return actuals
  }

  /** Asked of the kernel only for pods that have limits. Who shapes itself inside a pod may take that away: it is looked for there. */
  async #limitsInForce(found: ReadonlyMap<string, Found>): Promise<(key: string) => boolean> {
    const { netlink, live, hostNamespace } = this.#deps
    const limited = live.values().filter(({ bandwidth }) => bandwidth !== undefined)
    const unheld = new Set<string>()
    if (limited.length === 0) return () => true
    const qdiscs = await netlink.qdiscs.list()
    for (const row of limited) {
      const { bandwidth, netns } = row
      const host = found.get(podKey(row))?.device
      if (host === undefined) continue
      const isHeld =
        isShaped(qdiscs, host.index, bandwidth?.ingress) &&
        ((await insideOf(netns, host, hostNamespace, async (inPod, index) =>
          isShaped(await inPod.qdiscs.list({ index }), index, bandwidth?.egress),
        )) ??
          true)
      if (!isHeld) unheld.add(podKey(row))
    }
    return (key) => !unheld.has(key)
  }

  /** Pins of links whose pod is gone: a crash came between removing the device and forgetting it. */
  #forgetDeadPins(pinned: readonly string[], present: ReadonlySet<string>): void {
    const { datapath, isLive } = this.#deps
    for (const device of pinned) {
      const isPod = /^sb[a-z2-7]{13}$/.test(device)
      if (isPod && !present.has(device) && !isLive(device)) datapath.forgetDevice(device)
    }
  }

  /** A row leaves only after its pod was taken apart: what is found then is nothing. */
  async find(): Promise<undefined> {
    return undefined
  }

  update(row: LivePod): Promise<void> {
    return this.#deps.whileIdle(podKey(row), (signal) => this.#repair(row, signal))
  }

  async #repair(row: LivePod, signal: AbortSignal): Promise<void> {
    const { netlink, macs, hostNamespace } = this.#deps
    const host = await findHostEnd(netlink, row)
    if (host !== undefined) {
      if (macs.isDoubtful(row)) await macs.look(row, host, hostNamespace)
      await this.#holdToLimits(row, host)
      const mtu = this.#deps.podMtu()
      const fitting = mtu === undefined ? host : await followMtu(this.#deps, row, host, mtu)
      return await repairHostSide(this.#deps, row, fitting)
    }
    if (isNamespaceGone(row.netns)) return await this.#deps.onGone(row)
    await this.#remake.make(row, signal)
  }

  async #holdToLimits({ bandwidth, netns }: LivePod, host: Link): Promise<void> {
    if (bandwidth === undefined) return
    const { netlink, hostNamespace } = this.#deps
    await shape(netlink, host.index, bandwidth.ingress)
    await insideOf(netns, host, hostNamespace, (inPod, index) =>
      shape(inPod, index, bandwidth.egress),
    )
  }

  async remove({ key, device, endpoints }: PodActual): Promise<void> {
    const { netlink, datapath, isBusy, isLive } = this.#deps
    if (isBusy(key)) return
    // One without a mark, whose birth is under way or was finished since the list was made.
    if (device !== undefined && key === device.name && isLive(key)) return
    for (const [address, { incarnation }] of endpoints)
      datapath.removeEndpoint(address, incarnation)
    if (device === undefined) return
    await netlink.links.del(device.index)
    datapath.forgetDevice(device.name)
  }
}

class Found {
  device?: Link
  readonly endpoints = new Map<string, PodEndpoint>()
  readonly routes = new Set<string>()
  readonly neighbours = new Map<string, string>()
}

/** By alias; by name only when a record has that name and the device was not marked yet, or it cannot be anything else. */
function identify(link: Link, recorded: ReadonlyMap<string, string>): string | undefined {
  const alias = parseAlias(link.alias)
  if (alias !== undefined) return podKey(alias)
  if (!isUnmarked(link)) return undefined
  return recorded.get(link.name) ?? (isUnborn(link) ? link.name : undefined)
}

function isUsable(neighbour: Neighbour): neighbour is Neighbour & { readonly mac: string } {
  return neighbour.state === 'permanent' && neighbour.mac !== undefined
}
