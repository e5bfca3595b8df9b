// Reaching pods on other nodes by VXLAN, in mode bpf: one device, rows in the maps, routes and neighbours for the stack way (ADR 0042).
//
// createOverlay(deps)    makes the room
//   .start(jobs)         four reconcilers, and the job that follows nodes and underlay; health 'overlay' is ready once all stands
//   .podMtu()            what a pod's device gets; undefined until the underlay is known
//   .plan() .problems()  for status
import type { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import type { NodeRow } from '../cluster/rows.ts'
import type { Datapath } from '../datapath/datapath.ts'
import { KernelSettings } from '../kernel-settings.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Health } from '../runtime/health.ts'
import type { Jobs } from '../runtime/jobs.ts'
import type { Log } from '../runtime/log.ts'
import { Reconciler, type ReconcilerOptions } from '../state/reconcile.ts'
import type { RowStatus } from '../state/row-status.ts'
import type { Table } from '../state/table.ts'
import type { OverlayOptions } from './compute.ts'
import { DesiredOverlay } from './desired.ts'
import { OverlayDeviceTarget } from './device-target.ts'
import { followOverlay } from './follow.ts'
import { Gate } from './gate.ts'
import { PeerTarget } from './peer-target.ts'
import { OverlayNeighbourTarget, OverlayRouteTarget } from './route-target.ts'
import type { OverlayPlan, OverlayProblem } from './rows.ts'
import { settleForwarding } from './settings.ts'
import { readUnderlay, Underlay } from './underlay.ts'

export interface OverlayDeps extends OverlayOptions {
  readonly nodes: Table<NodeRow>
  readonly datapath: Datapath
  /** In the node's namespace, as `hostNamespace`. */
  readonly netlink: RouteNetlink
  readonly hostNamespace: NetworkNamespace
  readonly tunnelPort: number
  readonly vni: number
  readonly clock: Clock
  readonly health: Health
  readonly log: Log
  readonly refreshMs?: number
}

/** Several changes of the underlay or of nodes that come together are one. */
const SETTLE_MS = 50
const REFRESH_MS = 60_000

export function createOverlay(deps: OverlayDeps): Overlay {
  return new Overlay(deps)
}

export class Overlay {
  readonly #deps: OverlayDeps
  readonly #settings: KernelSettings
  readonly #underlay = new Underlay()
  /** Open once the device stands: what lies on it would only fail before. */
  readonly #deviceGate = new Gate('overlay device')
  readonly #desired: DesiredOverlay
  readonly #device: AnyReconciler
  readonly #reconcilers: readonly AnyReconciler[]

  constructor(deps: OverlayDeps) {
    this.#deps = deps
    this.#settings = new KernelSettings(deps.hostNamespace)
    const { netlink, datapath, nodes, clock, health, log, refreshMs = REFRESH_MS } = deps
    const sources = [nodes, this.#underlay]
    const common = { sources, clock, health, log, refreshMs }
    const onDevice = { ...common, sources: [...sources, this.#deviceGate] }
    health.starting('overlay', `waits for the Node object ${deps.nodeName}`)
    const desired = new DesiredOverlay({ ...deps, underlay: this.#underlay, maps: datapath.maps })
    this.#desired = desired
    const peers = new PeerTarget({
      maps: datapath.maps,
      bumpGeneration: () => datapath.config.bumpGeneration(),
    })
    this.#device = named(
      new OverlayDeviceTarget({ netlink, datapath, settings: this.#settings }),
      () => desired.deviceRows(),
      common,
    )
    this.#reconcilers = [
      this.#device,
      named(peers, () => desired.peerRows(), common),
      named(
        new OverlayNeighbourTarget(netlink),
        () => (this.#deviceGate.isReady ? desired.neighbourRows() : []),
        onDevice,
      ),
      named(
        new OverlayRouteTarget(netlink),
        () => (this.#deviceGate.isReady ? desired.routeRows() : []),
        onDevice,
      ),
    ]
  }

  start(jobs: Jobs): void {
    for (const { name, reconciler } of this.#reconcilers) {
      jobs.start(name, (signal) => reconciler.run(signal))
    }
    jobs.start('overlay', (signal, alive) => this.#run(signal, alive))
  }

  /** Largest IP packet of a pod; undefined until the underlay is known. */
  podMtu(): number | undefined {
    return this.#desired.podMtu()
  }

  plan(): OverlayPlan {
    return this.#desired.plan()
  }

  problems(): readonly OverlayProblem[] {
    return this.#desired.problems()
  }

  /** By reconciler. */
  statuses(): ReadonlyMap<string, RowStatus[]> {
    return new Map(this.#reconcilers.map(({ name, reconciler }) => [name, reconciler.statuses()]))
  }

  /** Looks at nodes and underlay whenever one of them changes, and says when everything stands for the first time. */
  async #run(signal: AbortSignal, alive: () => void): Promise<void> {
    const { nodes, netlink, hostNamespace, clock } = this.#deps
    let wake: () => void = () => undefined
    let isDirty = true
    let hasDrifted = false
    let failure: unknown
    const changed = (): void => {
      isDirty = true
      wake()
    }
    const endFollowing = await followOverlay({
      netns: hostNamespace,
      netlink,
      onUnderlay: changed,
      onError: (error) => {
        failure = error
        wake()
      },
      onDrift: () => {
        hasDrifted = true
        changed()
      },
    })
    const endSubscription = nodes.subscribe(changed)
    signal.addEventListener('abort', () => wake(), { once: true })
    try {
      while (!signal.aborted) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve
        })
        // Settings change without a word: now and then it looks unasked.
        if (!isDirty && failure === undefined) await this.#sleepUnless(woken, signal)
        isDirty = false
        if (signal.aborted) break
        if (failure !== undefined) throw failure
        // Our own changes are heard here too: with a thousand nodes thousands of them, while one look settles them all.
        if (hasDrifted) for (const { reconciler } of this.#reconcilers) reconciler.kick()
        hasDrifted = false
        await this.#look()
        this.#report(alive)
        await clock.sleep(SETTLE_MS, signal)
      }
    } finally {
      endSubscription()
      endFollowing()
    }
  }

  async #sleepUnless(woken: Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, refreshMs = REFRESH_MS } = this.#deps
    const over = new AbortController()
    const sleep = clock.sleep(refreshMs, AbortSignal.any([signal, over.signal]))
    await Promise.race([woken, sleep.catch(() => undefined)])
    over.abort()
  }

  async #look(): Promise<void> {
    const { netlink, datapath, log } = this.#deps
    const { self, peers } = this.plan()
    if (self === undefined) return
    const families = new Set(self.ownAddresses.map((a) => (a.includes(':') ? 6 : 4)))
    await settleForwarding(netlink, this.#settings, families)
    const underlay = await readUnderlay(netlink, self, peers)
    if (this.#underlay.set(underlay)) {
      log.info({ device: underlay?.device, mtu: underlay?.mtu, podMtu: this.podMtu() }, 'underlay')
    }
    if (this.podMtu() === undefined) return
    await this.#device.reconciler.settled()
    if (!this.#isStanding()) return
    this.#deviceGate.open()
    await Promise.all(this.#reconcilers.map(({ reconciler }) => reconciler.settled()))
    datapath.config.markReady()
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
    const device = this.#device.reconciler.statuses()
    return device.length > 0 && device.every(({ state }) => state === 'done')
  }
}

interface AnyReconciler {
  readonly name: string
  readonly reconciler: Pick<Reconciler<object, unknown>, 'run' | 'kick' | 'statuses' | 'settled'>
}

function named<Row extends object, Actual>(
  target: ReconcilerOptions<Row, Actual>['target'],
  desired: () => Iterable<Row>,
  common: Omit<ReconcilerOptions<Row, Actual>, 'target' | 'desired'>,
): AnyReconciler {
  return { name: target.name, reconciler: new Reconciler({ target, desired, ...common }) }
}
