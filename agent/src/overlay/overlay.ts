// Reaching pods on other nodes in one of three modes: a device, rows in the maps, routes and what they need (ADR 0042, 0045).
//
// createOverlay(deps)    makes the room
//   .start(jobs)         its reconcilers, and the job that follows nodes and underlay; health 'overlay' is ready once all stands
//   .podMtu()            what a pod's device gets; undefined until the underlay is known
//   .plan() .problems() .uplinks()  for those who tell of it
import type { NetworkNamespace, RouteEvent, RouteNetlink } from '@sinabro/node-netlink'
import type { NodeRow } from '../cluster/rows.ts'
import type { Datapath } from '../datapath/datapath.ts'
import { KernelSettings } from '../kernel-settings.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Health } from '../runtime/health.ts'
import type { Jobs } from '../runtime/jobs.ts'
import type { Log } from '../runtime/log.ts'
import type { RowStatus } from '../state/row-status.ts'
import type { Source, Table } from '../state/table.ts'
import type { OverlayOptions } from './compute.ts'
import { DesiredOverlay } from './desired.ts'
import { deviceName, type OverlayDeviceRow } from './device.ts'
import { type OverlayDeviceActual, OverlayDeviceTarget } from './device-target.ts'
import { followOverlay, type Whose } from './follow.ts'
import { News, type Told } from './news.ts'
import { OwnRangeTarget } from './own-range-target.ts'
import { PeerTarget } from './peer-target.ts'
import {
  type ActualFdbEntry,
  type ActualNeighbour,
  type ActualRoute,
  OverlayFdbTarget,
  OverlayNeighbourTarget,
  OverlayRouteTarget,
} from './route-target.ts'
import type {
  OverlayFdbRow,
  OverlayNeighbourRow,
  OverlayPlan,
  OverlayProblem,
  OverlayRouteRow,
} from './rows.ts'
import { settleDevice, settleForwarding } from './settings.ts'
import { Standing } from './standing.ts'
import { extendUnderlay, readUnderlay, Underlay } from './underlay.ts'
import { UplinkTarget } from './uplink-target.ts'
import { isWayOut, readUplinks, type Uplink, Uplinks } from './uplinks.ts'
import { type AnyWatched, Watched } from './watched.ts'

export interface OverlayDeps extends OverlayOptions {
  readonly nodes: Table<NodeRow>
  readonly datapath: Datapath
  /** In the node's namespace, as `hostNamespace`. */
  readonly netlink: RouteNetlink
  readonly hostNamespace: NetworkNamespace
  readonly tunnelPort: number
  readonly vni: number
  /** Without a tunnel: a device for direct server return. Default: none. */
  readonly hasDsrDevice?: boolean
  /** Names of devices; empty: to be found. */
  readonly uplinks: readonly string[]
  readonly clock: Clock
  readonly health: Health
  readonly log: Log
  readonly refreshMs?: number
}

/** Several changes of the underlay or of nodes that come together are one. */
const SETTLE_MS = 50
const REFRESH_MS = 60_000
/** It is of the kind that mode bpf has. */
const DSR_DEVICE = 'bpf'

export function createOverlay(deps: OverlayDeps): Overlay {
  return new Overlay(deps)
}

export class Overlay {
  readonly #deps: OverlayDeps
  readonly #settings: KernelSettings
  readonly #hasDsrDevice: boolean
  readonly #underlay = new Underlay()
  readonly #standing = new Standing()
  readonly #uplinks = new Uplinks()
  readonly #desired: DesiredOverlay
  readonly #deviceTarget: OverlayDeviceTarget
  readonly #device: Watched<OverlayDeviceRow, OverlayDeviceActual>
  readonly #peers: AnyWatched
  readonly #ownRanges: AnyWatched
  readonly #onUplinks: AnyWatched
  readonly #routes: Watched<OverlayRouteRow, ActualRoute>
  readonly #neighbours: Watched<OverlayNeighbourRow, ActualNeighbour>
  /** In mode kernel. */
  readonly #fdb: Watched<OverlayFdbRow, ActualFdbEntry> | undefined
  readonly #all: readonly AnyWatched[]
  readonly #news = new News()
  /** The addresses that uplinks were looked for by. */
  #uplinksFor: readonly string[] | undefined
  /** Since they were looked for, a route came or went that packets to the outside may take. */
  #haveRoutesMoved = false

  constructor(deps: OverlayDeps) {
    this.#deps = deps
    this.#settings = new KernelSettings(deps.hostNamespace)
    const { tunnel, netlink, datapath, nodes, clock, health, log, refreshMs = REFRESH_MS } = deps
    this.#hasDsrDevice = tunnel === 'none' && deps.hasDsrDevice === true
    const underlay = this.#underlay
    const standing = this.#standing
    const uplinks = this.#uplinks
    const common = { sources: [nodes, underlay], clock, health, log, refreshMs }
    const onDevice = { ...common, sources: [nodes, underlay, standing] }
    health.starting('overlay', `waits for the Node object ${deps.nodeName}`)
    const desired = new DesiredOverlay({
      ...deps,
      hasDsrDevice: this.#hasDsrDevice,
      underlay,
      standing,
      uplinks,
      maps: datapath.maps,
    })
    this.#desired = desired
    this.#deviceTarget = new OverlayDeviceTarget({
      tunnel,
      netlink,
      datapath,
      settings: this.#settings,
    })
    this.#device = new Watched(this.#deviceTarget, () => desired.deviceRows(), common)
    const inMaps = {
      maps: datapath.maps,
      bumpGeneration: () => datapath.config.bumpGeneration(),
    }
    this.#peers = new Watched(new PeerTarget(inMaps), () => desired.peerRows(), common)
    this.#ownRanges = new Watched(new OwnRangeTarget(inMaps), () => desired.ownRangeRows(), {
      ...common,
      sources: [nodes],
    })
    this.#onUplinks = new Watched(
      new UplinkTarget({ netlink, datapath }),
      () => uplinks.state.uplinks.map(({ name, index, isL3 }) => ({ name, index, isL3 })),
      { ...common, sources: [uplinks] },
    )
    this.#neighbours = new Watched(
      new OverlayNeighbourTarget({ netlink, standing }),
      () => desired.neighbourRows(),
      onDevice,
    )
    this.#routes = new Watched(
      new OverlayRouteTarget({ netlink, standing }),
      () => desired.routeRows(),
      onDevice,
    )
    this.#fdb =
      tunnel === 'kernel'
        ? new Watched(
            new OverlayFdbTarget({ netlink, standing }),
            () => desired.fdbRows(),
            onDevice,
          )
        : undefined
    this.#all = [
      this.#device,
      this.#peers,
      this.#ownRanges,
      this.#onUplinks,
      this.#neighbours,
      ...(this.#fdb === undefined ? [] : [this.#fdb]),
      this.#routes,
    ]
  }

  start(jobs: Jobs): void {
    for (const watched of this.#all) jobs.start(watched.name, (signal) => watched.run(signal))
    jobs.start('overlay', (signal, alive) => this.#run(signal, alive))
  }

  /** Largest IP packet of a pod; undefined until the underlay is known. */
  podMtu(): number | undefined {
    return this.#desired.podMtu()
  }

  /** Without a tunnel: other nodes may send on what clients ask them (ADR 0093). */
  takesDsr(): boolean {
    return this.#standing.dsrIndex !== undefined
  }

  /** Changes with that. */
  get standingSource(): Source {
    return this.#standing
  }

  plan(): OverlayPlan {
    return this.#desired.plan()
  }

  /** Devices of the node by which it is reached from outside. */
  uplinks(): readonly Uplink[] {
    return this.#uplinks.state.uplinks
  }

  /** The same as a source that others compute from. */
  get uplinkSource(): Uplinks {
    return this.#uplinks
  }

  problems(): readonly OverlayProblem[] {
    return this.#desired.problems()
  }

  /** By reconciler. */
  statuses(): ReadonlyMap<string, RowStatus[]> {
    return new Map(this.#all.map((watched) => [watched.name, watched.statuses()]))
  }

  /** Looks at nodes and underlay whenever one of them changes, and says when everything stands for the first time. */
  async #run(signal: AbortSignal, alive: () => void): Promise<void> {
    const { nodes, netlink, hostNamespace, clock } = this.#deps
    const news = this.#news
    let failure: unknown
    const endFollowing = await followOverlay({
      netns: hostNamespace,
      netlink,
      onEvent: (whose, event) => this.#hear(whose, event),
      onOverrun: () => news.tell('all'),
      onError: (error) => {
        failure = error
        news.tell('nodes')
      },
    })
    const endSubscription = nodes.subscribe(() => news.tell('nodes'))
    news.tell('underlay')
    try {
      while (!signal.aborted) {
        // Settings change without a word: now and then it looks unasked.
        const what = await news.next(this.#deps.refreshMs ?? REFRESH_MS, clock, signal)
        if (signal.aborted) break
        if (failure !== undefined) throw failure
        await this.#look(what)
        this.#report(alive)
        await clock.sleep(SETTLE_MS, signal)
      }
    } finally {
      endSubscription()
      endFollowing()
    }
  }

  #hear(whose: Whose, event: RouteEvent): void {
    if (whose === 'row') {
      if (event.kind === 'route') this.#routes.saw(event.change, event.route)
      if (event.kind === 'neighbour') this.#neighbours.saw(event.change, event.neighbour)
      if (event.kind === 'fdb') this.#fdb?.saw(event.change, event.entry)
    } else if (whose === 'hook') {
      const index = event.kind === 'filter' ? event.filter.index : undefined
      if (this.#uplinks.state.uplinks.some((uplink) => uplink.index === index)) {
        this.#onUplinks.kick()
      }
    } else {
      if (event.kind === 'route') this.#haveRoutesMoved ||= isWayOut(event.route)
      this.#news.tell(whose)
    }
  }

  async #look(what: ReadonlySet<Told>): Promise<void> {
    const { netlink, datapath } = this.#deps
    const { self } = this.plan()
    if (self === undefined) return
    const families = new Set(self.ownAddresses.map((a) => (a.includes(':') ? 6 : 4)))
    await settleForwarding(netlink, this.#settings, families)
    const mayHaveChanged = what.has('underlay') || what.has('all')
    if (mayHaveChanged || this.#uplinksFor !== self.nodeAddresses) {
      const haveMoved = this.#haveRoutesMoved || what.has('all')
      this.#haveRoutesMoved = false
      const uplinks = await readUplinks(netlink, self.nodeAddresses, this.#deps.uplinks)
      this.#uplinks.set(uplinks, haveMoved)
      this.#uplinksFor = self.nodeAddresses
    }
    await this.#lookAtUnderlay(self.tunnelAddress, mayHaveChanged)
    const isLost = what.has('lost') || what.has('all')
    if (isLost || what.has('device')) this.#device.kick()
    if (what.has('all')) for (const watched of [this.#peers, this.#onUplinks]) watched.kick()
    if (this.podMtu() === undefined) return
    await this.#device.settled()
    const { index } = this.#deviceTarget
    if (!this.#isStanding() || index === undefined) return
    settleDevice(this.#settings, deviceName(this.#deps.tunnel))
    const hasDsr = this.#isDsrStanding()
    if (hasDsr) settleDevice(this.#settings, deviceName(DSR_DEVICE))
    // The kernel takes routes away without a word when their device goes down, and without a tunnel that is an uplink.
    const areRoutesLost = isLost || (this.#deps.tunnel === 'none' && mayHaveChanged)
    const isAnother = this.#standing.set(index, hasDsr ? this.#deviceTarget.dsrIndex : undefined)
    if (isAnother || areRoutesLost) this.#routes.kick()
    if (isAnother || isLost) {
      this.#neighbours.kick()
      this.#fdb?.kick()
    }
    await Promise.all(this.#all.map((watched) => watched.settled()))
    if (!datapath.config.isReady) datapath.config.markReady()
  }

  async #lookAtUnderlay(address: string, mayHaveChanged: boolean): Promise<void> {
    const { netlink, log } = this.#deps
    const known = this.#underlay.state
    const peers = this.#desired.wayAddresses()
    const state =
      mayHaveChanged || known?.address !== address
        ? await readUnderlay(netlink, address, peers, known)
        : await extendUnderlay(netlink, peers, known)
    const before = known === undefined ? '' : `${known.device} ${known.mtu}`
    if (!this.#underlay.set(state) || before === `${state?.device} ${state?.mtu}`) return
    log.info({ device: state?.device, mtu: state?.mtu, podMtu: this.podMtu() }, 'underlay')
  }

  #report(alive: () => void): void {
    const { health, nodeName } = this.#deps
    const { self, problems } = this.plan()
    const own = problems.find(({ node }) => node === nodeName)
    if (self === undefined || own !== undefined) {
      health.degraded('overlay', new Error(`node ${nodeName}: ${own?.message ?? 'unknown'}`))
    } else if (this.podMtu() === undefined) {
      const message = `no device has the address ${self.tunnelAddress}, and no route leads to a peer`
      health.degraded('overlay', new Error(message))
    } else if (this.#isStanding()) {
      alive()
    }
  }

  /** The device is what everything else stands on; rows that fail show in their own reconciler's health. */
  #isStanding(): boolean {
    const devices = this.#device.statuses().filter(({ key }) => !this.#isOfDsr(key))
    return devices.length > 0 && devices.every(({ state }) => state === 'done')
  }

  /** Without it Services are asked in the node's name: pods' network does not wait for it. */
  #isDsrStanding(): boolean {
    return this.#device.statuses().some(({ key, state }) => this.#isOfDsr(key) && state === 'done')
  }

  #isOfDsr(key: string): boolean {
    return this.#hasDsrDevice && key === DSR_DEVICE
  }
}
