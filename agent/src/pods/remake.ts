// Gives a running pod its network again after somebody has deleted its device: only where its namespace is certainly still its own.
import type { NetworkNamespace } from '@sinabro/node-netlink'
import { keyText } from '../ipam/allocation.ts'
import { type Era, isOtherEra } from '../ipam/era.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { PodError } from './error.ts'
import { openPodNamespace } from './namespace.ts'
import type { LivePod } from './rows.ts'
import { unwire, type WireDeps, wire } from './wire.ts'

export interface RemakeDeps extends WireDeps {
  readonly hostNamespace: NetworkNamespace
  readonly era: Era
  /** Undefined while nothing is known of the underlay. */
  readonly podMtu: () => number | undefined
  readonly clock: Clock
  readonly log: Log
}

/** A pod that may delete its own interface can do so all day: it gets this much of our attention. */
const MIN_INTERVAL_MS = 10_000

export class Remake {
  readonly #deps: RemakeDeps
  readonly #lastMs = new WeakMap<LivePod, number>()

  constructor(deps: RemakeDeps) {
    this.#deps = deps
  }

  /**
   * What is at the recorded path may be another pod's by now (`/proc/PID/ns/net` is used again, and so are names). The cookie in the
   * record is given to no other namespace within one boot, so it decides; without one nothing is touched (ADR 0049).
   * @throws PodError device-lost, with what to do; what it had made is gone again
   */
  async make(pod: LivePod, signal: AbortSignal): Promise<void> {
    const { hostNamespace, era, clock, log, macs, podMtu } = this.#deps
    const lost = (why: string) =>
      new PodError('device-lost', `${keyText(pod.key)}: device ${pod.hostDevice} is gone${why}`)
    const lastMs = this.#lastMs.get(pod)
    if (lastMs !== undefined && clock.monotonicMs() - lastMs < MIN_INTERVAL_MS) {
      throw lost(
        ` again, within ${MIN_INTERVAL_MS / 1000} s of being made again; find out who does it`,
      )
    }
    using netns = openPodNamespace(pod.netns, hostNamespace)
    if (!isSameBoot(pod, era) || pod.netnsCookie !== String(netns.cookie())) {
      const unproven = `nothing proves that the namespace at ${pod.netns} is still this pod's`
      throw lost(`, and ${unproven}: delete the pod`)
    }
    const mtu = podMtu()
    if (mtu === undefined) throw new PodError('no-mtu', 'the MTU of the underlay is not known yet')
    // The new one has the MAC of its birth, whatever somebody had given the old one.
    macs.forget(pod)
    try {
      const host = await wire(this.#deps, { ...pod, mtu }, netns, signal, Promise.resolve())
      macs.know(pod, host.index, pod.podMac)
    } catch (error) {
      // A verb that came meanwhile finishes or removes what is there.
      if (!signal.aborted) await unwire(this.#deps, pod)
      throw error
    }
    this.#lastMs.set(pod, clock.monotonicMs())
    log.warn(
      { pod: keyText(pod.key), device: pod.hostDevice },
      'somebody had deleted the device of a running pod: made again, without what others had put on it',
    )
  }
}

function isSameBoot({ era }: LivePod, now: Era): boolean {
  return era !== undefined && !isOtherEra(era, now)
}
