// Gives a running pod its network again after somebody has deleted its device: only where its namespace is certainly still its own.
import type { NetworkNamespace } from '@sinabro/node-netlink'
import { keyText } from '../ipam/allocation.ts'
import { type Era, isOtherEra } from '../ipam/era.ts'
import type { Log } from '../runtime/log.ts'
import { PodError } from './error.ts'
import { openPodNamespace } from './namespace.ts'
import type { LivePod } from './rows.ts'
import { unwire, type WireDeps, wire } from './wire.ts'

export interface RemakeDeps extends WireDeps {
  readonly hostNamespace: NetworkNamespace
  readonly era: Era
  /** Undefined while nothing is known of the underlay. */
  podMtu(): number | undefined
  readonly log: Log
}

/**
 * What is at the recorded path may be another pod's by now (`/proc/PID/ns/net` is used again, and so are names). The cookie in the
 * record is given to no other namespace within one boot, so it decides; without one nothing is touched (ADR 0049).
 * @throws PodError device-lost, with what to do; what it had made is gone again
 */
export async function remake(deps: RemakeDeps, pod: LivePod, signal: AbortSignal): Promise<void> {
  const { hostNamespace, era, log } = deps
  using netns = openPodNamespace(pod.netns, hostNamespace)
  if (!isSameBoot(pod, era) || pod.netnsCookie !== String(netns.cookie())) {
    throw new PodError(
      'device-lost',
      `${keyText(pod.key)}: device ${pod.hostDevice} is gone, and nothing proves that the namespace at ${pod.netns} is still this pod's: delete the pod`,
    )
  }
  const mtu = deps.podMtu()
  if (mtu === undefined) throw new PodError('no-mtu', 'the MTU of the underlay is not known yet')
  // The new one has the MAC of its birth, whatever somebody had given the old one.
  deps.macs.forget(pod)
  try {
    const host = await wire(deps, { ...pod, mtu }, netns, signal, Promise.resolve())
    deps.macs.know(pod, host.index, pod.podMac)
  } catch (error) {
    // A verb that came meanwhile finishes or removes what is there.
    if (!signal.aborted) await unwire(deps, pod)
    throw error
  }
  log.warn(
    { pod: keyText(pod.key), device: pod.hostDevice },
    'somebody had deleted the device of a running pod: made again, without what others had put on it',
  )
}

function isSameBoot({ era }: LivePod, now: Era): boolean {
  return era !== undefined && !isOtherEra(era, now)
}
