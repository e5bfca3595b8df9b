// The eBPF side of this node: programs loaded onto pinned maps, attached where pods and the overlay need them, swept and counted.
import { BpfIterator, type BpfProgram, type TcMode, type XdpMode } from '@sinabro/libbpf-ts'
import {
  CONFIG_CSUM_IPV6,
  CONFIG_FIB_SOURCE,
  CONFIG_TRANSLATED,
  DEFAULT_TIMEOUTS,
  ENDPOINT_KEEPS_ADDRESS,
  ENDPOINT_LOCAL_POD,
  ENDPOINT_NETKIT,
  ENDPOINT_NODE_OWN,
  ENDPOINT_SHAPED,
  type Endpoint,
  MAP_NAMES,
  type StaleSocket,
  staleSocket,
} from '@sinabro/libbpf-ts/layouts'
import { NetworkNamespace, type RouteNetlink } from '@sinabro/node-netlink'
import type { Features } from '../features/features.ts'
import type { FeatureName } from '../features/table.ts'
import type { CrashPoint } from '../ipam/crash-point.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Jobs } from '../runtime/jobs.ts'
import type { Log } from '../runtime/log.ts'
import { CgroupHooks } from './cgroup-hooks.ts'
import { ConfigRow } from './config-row.ts'
import { type CounterRow, readCounters } from './counters.ts'
import { DatapathError } from './error.ts'
import { type Device, type HookPrograms, Hooks } from './hooks.ts'
import { type LoadedObjects, loadObjects, pinPaths } from './load.ts'
import { type DatapathMaps, openMaps } from './maps.ts'
import { Migration } from './migrate.ts'
import { Sweeper, type SweepResult } from './sweep.ts'
import { XdpHooks } from './xdp-hooks.ts'

export interface DatapathOptions {
  readonly bpfDir: string
  /** auto: whichever suits the kind of device. */
  readonly attach: 'auto' | Exclude<TcMode, 'netkit'>
  readonly features: Features
  /** In the node's namespace. */
  readonly netlink: RouteNetlink
  /** The node's namespace, if it is not this process's. */
  readonly netns?: NetworkNamespace
  /** New flows to the outside are translated by our programs: something hangs on uplinks' way out too. */
  readonly isMasquerading?: boolean
  /** Rows of the flow table when it is made. */
  readonly flowsMax?: number
  /** Rows of sb_services when it is made; absent: Services are served by somebody else. */
  readonly servicesMax?: number | undefined
  /** A directory of cgroup2 that has every process of the node below it. Absent: where cgroup2 is mounted. */
  readonly cgroupRoot?: string | undefined
  /** Connections to services go on before the stack, on uplinks that take it. Default: off. */
  readonly xdp?: 'off' | XdpMode
  readonly crashPoint?: CrashPoint
  readonly clock: Clock
  readonly log: Log
}

/** The host's end of a pod's pair. */
export interface PodDevice extends Device {
  readonly kind?: string
}

export interface UplinkDevice extends Device {
  /** Its packets have no Ethernet header. */
  readonly isL3?: boolean
}

export interface PodEndpoint {
  readonly ifindex: number
  readonly id: number
  readonly incarnation: number
  readonly podMac: string
  readonly hostMac: string
  /** Largest IP packet its device takes. */
  readonly mtu: number
  readonly isNetkit: boolean
  /** What is sent to it has to pass the qdisc of its host end. */
  readonly isShaped: boolean
  /** It is not masqueraded. Undefined: as the row has it, if there is one of this incarnation. */
  readonly keepsAddress?: boolean | undefined
}

const NO_MAC = '00:00:00:00:00:00'

export class Datapath {
  readonly maps: DatapathMaps
  readonly config: ConfigRow
  readonly #podHooks: Hooks
  readonly #netkitHooks: Hooks
  readonly #overlayHooks: Hooks
  readonly #uplinkHooks: Hooks
  readonly #cgroupHooks: CgroupHooks
  readonly #xdpHooks: XdpHooks
  readonly #isXdpSafe: boolean
  /** How uplinks are to have the program before the stack. */
  readonly xdpMode: 'off' | XdpMode
  readonly #netns: NetworkNamespace | undefined
  readonly #objects: LoadedObjects
  readonly #podPrograms: Required<HookPrograms>
  readonly #overlayPrograms: HookPrograms
  readonly #sweeper: Sweeper
  readonly #isServing: boolean
  #hasUplinkEgress: boolean
  #migration: Migration | undefined

  private constructor(
    options: DatapathOptions,
    objects: LoadedObjects,
    hooks: { readonly cgroup: CgroupHooks; readonly xdp: XdpHooks },
    migration?: Migration,
  ) {
    this.#migration = migration
    this.#objects = objects
    this.#cgroupHooks = hooks.cgroup
    this.#xdpHooks = hooks.xdp
    this.xdpMode = options.xdp ?? 'off'
    this.#isXdpSafe = options.features.has('xdp')
    this.#netns = options.netns
    this.maps = openMaps(objects)
    this.config = new ConfigRow(this.maps.config)
    this.maps.timeouts.set(0, DEFAULT_TIMEOUTS)
    this.#sweeper = new Sweeper(objects.sweep, this.maps.flows.map, options.clock)
    this.#podPrograms = { ingress: objects.fromPod, egress: objects.toPod }
    this.#overlayPrograms = { ingress: objects.fromOverlay, egress: objects.toOverlay }
    const {
      bpfDir,
      attach,
      features,
      netlink,
      netns,
      isMasquerading = false,
      servicesMax,
    } = options
    this.config.setFlags(CONFIG_FIB_SOURCE, features.has('fib_lookup_src') ? CONFIG_FIB_SOURCE : 0)
    this.config.setFlags(CONFIG_CSUM_IPV6, features.has('csum_ipv6') ? CONFIG_CSUM_IPV6 : 0)
    this.#isServing = servicesMax !== undefined
    const isTranslating = isMasquerading || this.#isServing
    this.#hasUplinkEgress = isTranslating || this.config.has(CONFIG_TRANSLATED)
    const place = {
      linksDir: pinPaths(bpfDir).links,
      netlink,
      ...(netns === undefined ? {} : { netns }),
    }
    // A tcx link waits for all CPUs, twice per pod and with the kernel's configuration locked (ADR 0040).
    this.#podHooks = new Hooks({ ...place, mode: attach === 'auto' ? 'clsact' : attach })
    this.#netkitHooks = new Hooks({ ...place, mode: 'netkit' })
    const overlayMode = attach === 'auto' ? (features.has('tcx') ? 'tcx' : 'clsact') : attach
    this.#overlayHooks = new Hooks({ ...place, mode: overlayMode })
    const linksDir = pinPaths(bpfDir).uplinks
    this.#uplinkHooks = new Hooks({ ...place, linksDir, mode: overlayMode })
  }

  /** Attaches nothing yet: running pods keep the programs they have until their room replaces them. */
  static async open(options: DatapathOptions): Promise<Datapath> {
    const migration = Migration.find(options)
    // Not less than there is room for now: every flow of the older layout comes along.
    const flowsMax = Math.max(migration?.flowsMax ?? 0, options.flowsMax ?? 0)
    const { bpfDir, netlink, netns, cgroupRoot, xdp = 'off' } = options
    const dirs = pinPaths(bpfDir)
    const hooks = {
      cgroup: new CgroupHooks({ linksDir: dirs.cgroup, root: cgroupRoot }),
      xdp: new XdpHooks({
        linksDir: dirs.xdp,
        netlink,
        ...(netns === undefined ? {} : { netns }),
      }),
    }
    // What an agent that served them left, before its maps go.
    const hasSockets = options.features.has('cgroup2')
    if (options.servicesMax === undefined || !hasSockets) await hooks.cgroup.detach()
    const hasXdp = xdp !== 'off'
    if (!hasXdp) await hooks.xdp.detachAll()
    const flows = flowsMax === 0 ? {} : { flowsMax }
    const objects = await loadObjects({ ...options, ...flows, hasSockets, hasXdp })
    try {
      await migration?.copy(objects)
      return new Datapath(options, objects, hooks, migration)
    } catch (error) {
      objects.close()
      throw error
    }
  }

  /** Once our programs are everywhere: nobody needs what an agent of an older layout left. */
  async endMigration(): Promise<void> {
    await this.#migration?.finish(this.#objects)
    this.#migration = undefined
  }

  /** For people. */
  get attachMode(): string {
    return `${this.#podHooks.mode} on pods, ${this.#overlayHooks.mode} on the overlay`
  }

  /** Those of the kernel's that a setting keeps from being used. */
  get unusedFeatures(): FeatureName[] {
    const unused: FeatureName[] = this.#overlayHooks.mode === 'tcx' ? [] : ['tcx']
    if (this.xdpMode === 'off') unused.push('xdp')
    if (this.#objects.sockets === undefined) unused.push('cgroup2', 'socket_destroy')
    return unused
  }

  /** Those that this process loaded. */
  get programs(): readonly BpfProgram[] {
    const { fromPod, toPod, fromOverlay, toOverlay, sweep } = this.#objects
    const { fromUplink, toUplink, fromUplinkL3, toUplinkL3, sockets, staleSockets } = this.#objects
    const { xdpUplink } = this.#objects
    const onUplinks = [fromUplink, toUplink, fromUplinkL3, toUplinkL3]
    if (xdpUplink !== undefined) onUplinks.push(xdpUplink)
    const onSockets = sockets === undefined ? [] : Object.values(sockets)
    const onStale = staleSockets === undefined ? [] : [staleSockets]
    return [fromPod, toPod, fromOverlay, toOverlay, ...onUplinks, ...onSockets, ...onStale, sweep]
  }

  get lastSweep(): SweepResult | undefined {
    return this.#sweeper.last
  }

  start(jobs: Jobs): void {
    this.#sweeper.start(jobs)
  }

  async attachPod(device: PodDevice): Promise<void> {
    for (const [hooks, programs] of this.#podAttachments(device)) {
      await hooks.attach(device, programs)
    }
  }

  async isPodAttached(device: PodDevice): Promise<boolean> {
    for (const [hooks, programs] of this.#podAttachments(device)) {
      if (!(await hooks.isAttached(device, programs))) return false
    }
    return true
  }

  /** What a netkit pod sends is judged where it sends it; what is sent to it, like any other pod's, at the host's end (ADR 0056). */
  #podAttachments({ kind }: PodDevice): (readonly [Hooks, HookPrograms])[] {
    if (kind !== 'netkit') return [[this.#podHooks, this.#podPrograms]]
    const { ingress, egress } = this.#podPrograms
    return [
      [this.#netkitHooks, { ingress }],
      [this.#podHooks, { egress }],
    ]
  }

  attachOverlay(device: Device): Promise<void> {
    return this.#overlayHooks.attach(device, this.#overlayPrograms)
  }

  isOverlayAttached(device: Device): Promise<boolean> {
    return this.#overlayHooks.isAttached(device, this.#overlayPrograms)
  }

  async attachUplink(device: UplinkDevice): Promise<void> {
    const { ingress, egress } = this.#uplinkPrograms(device)
    const programs = this.#hasUplinkEgress ? { ingress, egress } : { ingress }
    await this.#uplinkHooks.attach(device, programs)
    if (!this.#hasUplinkEgress) await this.#uplinkHooks.detach(device, { egress })
  }

  async isUplinkAttached(device: UplinkDevice): Promise<boolean> {
    const { ingress, egress } = this.#uplinkPrograms(device)
    const programs = this.#hasUplinkEgress ? { ingress, egress } : { ingress }
    if (!(await this.#uplinkHooks.isAttached(device, programs))) return false
    return this.#hasUplinkEgress || !(await this.#uplinkHooks.hasAny(device, { egress }))
  }

  /** Whether it is an uplink to us, or was one to an earlier agent. */
  hasUplinkProgram(device: UplinkDevice): Promise<boolean> {
    return this.#uplinkHooks.hasAny(device, this.#uplinkPrograms(device))
  }

  /** @param device index 0: it is gone */
  async detachUplink(device: UplinkDevice): Promise<void> {
    if (device.index !== 0) await this.#uplinkHooks.detach(device, this.#uplinkPrograms(device))
    this.#uplinkHooks.forget(device.name)
  }

  #uplinkPrograms({ isL3 = false }: UplinkDevice): Required<HookPrograms> {
    const { fromUplink, toUplink, fromUplinkL3, toUplinkL3 } = this.#objects
    return isL3
      ? { ingress: fromUplinkL3, egress: toUplinkL3 }
      : { ingress: fromUplink, egress: toUplink }
  }

  /** @throws DatapathError xdp: what is in the way; then nothing of ours is there */
  async attachXdp(device: Device): Promise<void> {
    const { xdpUplink } = this.#objects
    if (xdpUplink === undefined || this.xdpMode === 'off') throw new TypeError('XDP is off')
    if (!this.#isXdpSafe) {
      const why = 'kernels before Linux 6.6 can crash when they cut up packets that XDP has seen'
      throw new DatapathError('xdp', `no XDP on ${device.name}: ${why}; use --xdp off here`)
    }
    await this.#xdpHooks.attach(device, xdpUplink, this.xdpMode)
  }

  /** Whether it is exactly this program, in the mode that is wanted. */
  isXdpAttached(device: Device): boolean {
    const { xdpUplink } = this.#objects
    if (xdpUplink === undefined || this.xdpMode === 'off') return false
    return this.#xdpHooks.isAttached(device, xdpUplink, this.xdpMode)
  }

  /** The device may be gone. False if nothing was there. */
  detachXdp(name: string): Promise<boolean> {
    return this.#xdpHooks.detach(name)
  }

  /** Names of devices that XDP links are pinned for. */
  pinnedXdp(): string[] {
    return this.#xdpHooks.pinnedDevices()
  }

  /**
   * From now on sockets of the whole node get backends in place of services: call it when the maps of services are filled.
   * Idempotent. @throws DatapathError cgroup: where there is no root to attach to, or somebody keeps the programs from running
   */
  async attachSockets(): Promise<void> {
    const { sockets } = this.#objects
    if (!this.#isServing) throw new TypeError('services are not ours to serve')
    if (sockets === undefined) {
      throw new DatapathError(
        'cgroup',
        'no cgroup2 is mounted, or --without-features says to do without: mount -t cgroup2 cgroup2 /sys/fs/cgroup, and restart the agent',
      )
    }
    await this.#cgroupHooks.attach(sockets)
  }

  /** Whether exactly our programs are there and run. @throws DatapathError cgroup */
  areSocketsAttached(): boolean {
    const { sockets } = this.#objects
    return sockets !== undefined && this.#cgroupHooks.isAttached(sockets)
  }

  /** Sockets that have a backend keep it. False if nothing was attached. */
  detachSockets(): Promise<boolean> {
    return this.#cgroupHooks.detach()
  }

  /** Connected UDP sockets of the whole node whose backend is none of their service any more. */
  async staleSockets(): Promise<StaleSocket[]> {
    const { staleSockets: program } = this.#objects
    if (program === undefined) return []
    using iterator = BpfIterator.open({ program, map: this.#objects.map(MAP_NAMES.sockets) })
    const found: StaleSocket[] = []
    for await (const records of iterator.records(staleSocket)) found.push(...records)
    return found
  }

  /** Of the node's namespace, for `sb_svc_config`. */
  hostNetnsCookie(): bigint {
    if (this.#netns !== undefined) return this.#netns.cookie()
    using here = NetworkNamespace.current()
    return here.cookie()
  }

  /** Nothing is translated any more: what hangs there for it goes when the uplinks are looked at next. */
  dropUplinkEgress(): void {
    this.#hasUplinkEgress = false
  }

  /** Names of devices that links are pinned for as uplinks. */
  pinnedUplinks(): string[] {
    return this.#uplinkHooks.pinnedDevices()
  }

  /** For a device that is gone: removes the pins of its links. */
  forgetDevice(name: string): void {
    this.#podHooks.forget(name)
  }

  /** Names of devices that links are pinned for, whether the devices exist or not. */
  pinnedDevices(): string[] {
    return this.#podHooks.pinnedDevices()
  }

  setEndpoint(
    address: string,
    { isNetkit, isShaped, keepsAddress, ...endpoint }: PodEndpoint,
  ): void {
    const before = keepsAddress === undefined ? this.maps.endpoints.get(address) : undefined
    const known = before?.incarnation === endpoint.incarnation ? before.flags : 0
    const keeps = keepsAddress ?? (known & ENDPOINT_KEEPS_ADDRESS) !== 0
    const flags =
      ENDPOINT_LOCAL_POD |
      (isNetkit ? ENDPOINT_NETKIT : 0) |
      (isShaped ? ENDPOINT_SHAPED : 0) |
      (keeps ? ENDPOINT_KEEPS_ADDRESS : 0)
    this.maps.endpoints.set(address, { ...endpoint, flags })
  }

  /** Leaves the row alone when the address has another owner by now. */
  removeEndpoint(address: string, incarnation: number): void {
    if (this.maps.endpoints.get(address)?.incarnation !== incarnation) return
    this.maps.endpoints.delete(address)
  }

  *podEndpoints(): Generator<[string, PodEndpoint]> {
    for (const [address, row] of this.maps.endpoints.entries()) {
      const { flags, ...endpoint } = row
      if ((flags & ENDPOINT_LOCAL_POD) === 0) continue
      const has = (flag: number): boolean => (flags & flag) !== 0
      const isNetkit = has(ENDPOINT_NETKIT)
      const isShaped = has(ENDPOINT_SHAPED)
      const keepsAddress = has(ENDPOINT_KEEPS_ADDRESS)
      yield [address, { ...endpoint, isNetkit, isShaped, keepsAddress }]
    }
  }

  /** Makes these, and no others, the addresses in the pod network that are the node's own. */
  setOwnAddresses(addresses: readonly string[]): void {
    const row: Endpoint = {
      ifindex: 0,
      id: 0,
      incarnation: 0,
      flags: ENDPOINT_NODE_OWN,
      podMac: NO_MAC,
      hostMac: NO_MAC,
      mtu: 0,
    }
    for (const address of addresses) this.maps.endpoints.set(address, row)
    const stale = [...this.maps.endpoints.entries()]
      .filter(([, { flags }]) => (flags & ENDPOINT_NODE_OWN) !== 0)
      .filter(([address]) => !addresses.includes(address))
    for (const [address] of stale) this.maps.endpoints.delete(address)
  }

  counters(): CounterRow[] {
    return readCounters(this.maps)
  }

  /** Deletes expired flow rows inside the kernel: user space would race with the packets. */
  sweep(): Promise<SweepResult> {
    return this.#sweeper.sweep()
  }

  /** The same, by the job that sweeps, at most once a second: a backend of UDP is gone from the maps. */
  sweepSoon(): void {
    this.#sweeper.sweepSoon()
  }

  /** Programs stay attached and maps pinned: packets do not notice. */
  close(): void {
    this.#objects.close()
  }
}
