// The wiring of each local pod: birth with full undo, death, check, and adoption of what an earlier agent left (ADR 0041).
//
// createPods(deps)            fills the table of live pods from the allocations; does nothing to the kernel yet
//   .start(jobs)              first pass adopts and prunes, later ones repair; follows the kernel
//   .settled()                after the first pass
//   .add / .remove / .check   the CNI verbs' part in the kernel
import type { NetworkNamespace } from '@sinabro/node-netlink'
import { type Allocation, type AttachmentKey, keyText } from '../ipam/allocation.ts'
import { type CrashPoint, noCrash } from '../ipam/crash-point.ts'
import { readEra } from '../ipam/era.ts'
import { KernelSettings } from '../kernel-settings.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Health } from '../runtime/health.ts'
import type { Jobs } from '../runtime/jobs.ts'
import type { Log } from '../runtime/log.ts'
import { Reconciler } from '../state/reconcile.ts'
import type { RowStatus } from '../state/row-status.ts'
import { Table } from '../state/table.ts'
import { check } from './check.ts'
import { computePod, parseAlias } from './compute.ts'
import type { PodDevice } from './device.ts'
import { PodError } from './error.ts'
import { followPods } from './follow.ts'
import { followMacs, PodMacs } from './macs.ts'
import type { LivePod, PodRow } from './rows.ts'
import { type ObservableDatapath, PodsTarget, podKey } from './target.ts'
import { isUnborn, isUnmarked, unwire, type WireDeps, wire } from './wire.ts'

export interface PodsDeps extends Omit<WireDeps, 'crashPoint' | 'settings' | 'macs'> {
  /** The node's own, where `netlink` is. */
  readonly hostNamespace: NetworkNamespace
  readonly datapath: ObservableDatapath
  readonly ipam: {
    list(): readonly Allocation[]
    release(key: AttachmentKey): Promise<unknown>
    quarantined(): readonly unknown[]
  }
  /** Called again and again for a pod whose device and namespace are gone; by default it is released at once. */
  readonly onGone?: (key: AttachmentKey) => Promise<void>
  /** What a new pod gets; undefined while nothing is known of the underlay. */
  podMtu(): number | undefined
  readonly crashPoint?: CrashPoint
  readonly clock: Clock
  readonly health: Health
  readonly log: Log
  readonly refreshMs?: number
}

/** Used for rows of adopted pods until the overlay knows better; their devices keep the MTU they have till then. */
const UNKNOWN_MTU = 1280

export function createPods(deps: PodsDeps): Pods {
  return new Pods(deps)
}

export class Pods {
  readonly live: Table<LivePod>
  readonly #deps: PodsDeps
  readonly #wire: WireDeps & { readonly datapath: PodsDeps['datapath'] }
  readonly #busy = new Set<string>()
  #owesLook = false
  /** Repairs under way, by pod. */
  readonly #repairs = new Map<string, Repair>()
  /** Devices without a single record mean a state folder that was lost, or is another one: no reason to cut pods off. */
  readonly #hadRecords: boolean
  /** Keys of living pods by host device. */
  readonly #devices = new Map<string, string>()
  readonly #reconciler: Reconciler<LivePod, Parameters<PodsTarget['remove']>[0]>

  constructor(deps: PodsDeps) {
    this.#deps = deps
    const settings = new KernelSettings(deps.hostNamespace)
    const macs = new PodMacs()
    this.#wire = { ...deps, settings, macs, crashPoint: deps.crashPoint ?? noCrash }
    this.live = new Table<LivePod>('live pods', podKey)
    this.live.subscribe((changes) => {
      for (const { key, row, previous } of changes) {
        if (previous !== undefined) this.#devices.delete(previous.hostDevice)
        if (row !== undefined) this.#devices.set(row.hostDevice, key)
        else if (previous !== undefined) macs.forget(previous)
      }
    })
    const mtu = deps.podMtu() ?? UNKNOWN_MTU
    this.live.replaceAll(deps.ipam.list().map((allocation) => livePod(allocation, mtu)))
    this.live.markReady()
    this.#hadRecords = this.live.size > 0
    const { clock, health, log, refreshMs = 60_000 } = deps
    this.#reconciler = new Reconciler({
      target: new PodsTarget({
        ...this.#wire,
        live: this.live,
        hostNamespace: deps.hostNamespace,
        era: readEra(deps.hostNamespace),
        clock: deps.clock,
        log: deps.log,
        podMtu: () => deps.podMtu(),
        whileIdle: (key, run) => this.#whileIdle(key, run),
        isLive: (device) => this.#devices.has(device),
        isBusy: (key) => this.#busy.has(key),
        onGone: (pod) => deps.onGone?.(pod.key) ?? this.#bury(pod),
        mayRemoveUnrecorded: () => this.#hadRecords && deps.ipam.quarantined().length === 0,
        onUnrecorded: (devices) => this.#reportUnrecorded(devices),
      }),
      desired: this.live,
      sources: [],
      clock,
      health,
      log,
      refreshMs,
    })
  }

  /** What new pods hang on. */
  get podDevice(): PodDevice {
    return this.#deps.podDevice
  }

  start(jobs: Jobs): void {
    jobs.start('pods', (signal) => this.#reconciler.run(signal))
    jobs.start('pods follow', (signal) =>
      followPods({
        netns: this.#deps.hostNamespace,
        netlink: this.#deps.netlink,
        isOurs: (device) => this.#devices.has(device),
        isBusy: (device) => this.#busy.has(this.#devices.get(device) ?? ''),
        onDrift: () => this.#reconciler.kick(),
        signal,
      }),
    )
    jobs.start('pods MACs', (signal) =>
      followMacs({
        netns: this.#deps.hostNamespace,
        macs: this.#wire.macs,
        onDoubt: () => this.#reconciler.kick(),
        clock: this.#deps.clock,
        signal,
      }),
    )
  }

  /** Something that pods' wiring is computed from has changed. Those that a verb works on are not judged now: once more after it. */
  lookAgain(): void {
    this.#owesLook ||= this.#busy.size > 0
    this.#reconciler.kick()
  }

  /** Resolves when every pod known now was looked at. */
  settled(): Promise<void> {
    return this.#reconciler.settled()
  }

  statuses(): RowStatus[] {
    return this.#reconciler.statuses()
  }

  /**
   * Wires the pod of an allocation; repeated for one that is wired it verifies, repairs and answers the same. Nothing moves before
   * its record is `stored`. If it fails, what this call made is gone again; a pod that was there before stays.
   */
  async add(
    allocation: Allocation,
    netns: NetworkNamespace,
    signal: AbortSignal,
    stored: Promise<unknown> = Promise.resolve(),
  ): Promise<PodRow> {
    const mtu = this.#deps.podMtu()
    if (mtu === undefined) throw new PodError('no-mtu', 'the MTU of the underlay is not known yet')
    const pod = livePod(allocation, mtu)
    const key = podKey(pod)
    return await this.#exclusively(key, async () => {
      const known = this.live.get(key)
      const wasThere = known !== undefined && (await this.#hasDevice(pod))
      if (!wasThere) this.live.upsert(pod)
      try {
        const host = await wire(this.#wire, pod, netns, signal, stored)
        // Of one that was there before, only a look inside can tell.
        if (!wasThere) this.#wire.macs.know(pod, host.index, pod.podMac)
        // The same container may be in another namespace by now.
        if (wasThere && known.netnsCookie !== pod.netnsCookie) this.live.upsert(pod)
        return { ...pod, mtu: host.mtu }
      } catch (error) {
        if (!wasThere) await this.#undo(pod, error)
        throw error
      }
    })
  }

  /** Takes the pod apart. Repeated, or for one that was never wired, it is done at once. */
  async remove(allocation: Allocation): Promise<void> {
    const pod = livePod(allocation, UNKNOWN_MTU)
    const key = podKey(pod)
    await this.#exclusively(key, async () => {
      await unwire(this.#wire, pod)
      this.live.remove(key)
    })
  }

  /** For a removal without a readable allocation: whatever of ours has the name that its key gives. */
  async removeDevice(hostDevice: string): Promise<void> {
    const { netlink, datapath } = this.#deps
    const link = await netlink.links.get({ name: hostDevice })
    const identity = parseAlias(link?.alias)
    if (link !== undefined && identity !== undefined) {
      const rows = [...datapath.podEndpoints()].filter(
        ([, { id, incarnation }]) =>
          id === identity.endpointId && incarnation === identity.incarnation,
      )
      for (const [address, { incarnation }] of rows) datapath.removeEndpoint(address, incarnation)
      await netlink.links.del(link.index)
      // What was said of devices without a record is to be looked at again.
      this.#reconciler.kick()
    } else if (link !== undefined && isUnmarked(link) && isUnborn(link)) {
      await netlink.links.del(link.index)
    }
    datapath.forgetDevice(hostDevice)
  }

  /** @throws PodError check-failed */
  async check(allocation: Allocation, netns: NetworkNamespace): Promise<void> {
    await check(this.#wire, livePod(allocation, UNKNOWN_MTU), netns)
  }

  async #undo(pod: LivePod, reason: unknown): Promise<void> {
    try {
      await unwire(this.#wire, pod)
      this.live.remove(podKey(pod))
    } catch (error) {
      // The row stays live, so the next pass and the runtime's DEL find what is left.
      this.#deps.log.error({ pod: keyText(pod.key), error, reason }, 'an ADD could not be undone')
      throw new PodError('undo-failed', `${keyText(pod.key)}: could not be undone`, {
        cause: new AggregateError([reason, error], String(reason)),
      })
    }
  }

  /** Its namespace and device are gone without a DEL: nobody has the address any more. */
  async #bury(pod: LivePod): Promise<void> {
    this.#deps.log.info({ pod: keyText(pod.key) }, 'pod is gone without a DEL: released')
    await unwire(this.#wire, pod)
    await this.#deps.ipam.release(pod.key)
    this.live.remove(podKey(pod))
  }

  #reportUnrecorded(devices: readonly string[]): void {
    const { health } = this.#deps
    if (devices.length === 0) {
      health.ok('pod records')
      return
    }
    const message = `no record of ${devices.join(', ')}: is --state-dir the one these pods were made with? They keep their network till their namespace ends`
    health.degraded('pod records', new Error(message))
  }

  async #hasDevice(pod: LivePod): Promise<boolean> {
    const link = await this.#deps.netlink.links.get({ name: pod.hostDevice })
    return parseAlias(link?.alias) !== undefined
  }

  async #exclusively<T>(key: string, run: () => Promise<T>): Promise<T> {
    this.#busy.add(key)
    try {
      const repair = this.#repairs.get(key)
      repair?.abort.abort(new Error('a verb came'))
      await repair?.ended
      return await run()
    } finally {
      this.#busy.delete(key)
      if (this.#owesLook) {
        this.#owesLook = false
        this.lookAgain()
      }
    }
  }

  /** Given up without a word when a verb comes: it does the rest, or undoes it. */
  async #whileIdle(key: string, run: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (this.#busy.has(key)) return
    const abort = new AbortController()
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    this.#repairs.set(key, { abort, ended })
    try {
      await run(abort.signal)
    } catch (error) {
      if (!abort.signal.aborted) throw error
    } finally {
      this.#repairs.delete(key)
      end()
    }
  }
}

interface Repair {
  readonly abort: AbortController
  readonly ended: Promise<void>
}

function livePod(allocation: Allocation, mtu: number): LivePod {
  const { key, netns, netnsCookie, era, podNamespace, podName } = allocation
  const row = computePod({ ...allocation, ifname: key.ifname, podNamespace, podName }, mtu)
  return {
    ...row,
    ...{ key, netns },
    ...(netnsCookie === undefined ? {} : { netnsCookie }),
    ...(era === undefined ? {} : { era }),
  }
}
