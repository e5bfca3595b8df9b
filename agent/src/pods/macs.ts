// The MACs of pods' own ends: made at birth, and followed when a later plug-in or somebody inside changes one (ADR 0016).
import {
  type Link,
  type NetworkNamespace,
  type RouteEvent,
  RouteMonitor,
} from '@sinabro/node-netlink'
import type { Clock } from '../runtime/clock.ts'
import { insideOf } from './namespace.ts'

export interface MacRow {
  readonly endpointId: number
  readonly incarnation: number
  /** Given at birth. */
  readonly podMac: string
}

interface Known {
  readonly hostIndex: number
  readonly mac: string
}

export class PodMacs {
  /** By endpoint id and incarnation. A pod that is not here was wired by an earlier agent, and not looked at yet. */
  readonly #known = new Map<string, Known>()
  readonly #byHostIndex = new Map<number, string>()
  readonly #doubtful = new Set<string>()

  /** Where frames to the pod must be addressed, as far as is known. */
  of(row: MacRow): string {
    return this.#known.get(keyOf(row))?.mac ?? row.podMac
  }

  /** Nobody can have changed it before, or it was just read. */
  know(row: MacRow, hostIndex: number, mac: string): void {
    const key = keyOf(row)
    this.#known.set(key, { hostIndex, mac })
    this.#byHostIndex.set(hostIndex, key)
  }

  isDoubtful(row: MacRow): boolean {
    const key = keyOf(row)
    return !this.#known.has(key) || this.#doubtful.has(key)
  }

  doubtAll(): void {
    for (const key of this.#known.keys()) this.#doubtful.add(key)
  }

  /**
   * Whether the event makes a pod's MAC doubtful. It comes from any namespace and does not say from which, and only the pod's
   * own end points to its host end from elsewhere: who looks inside makes sure.
   */
  hear(event: RouteEvent): boolean {
    if (event.kind !== 'link' || event.change !== 'new') return false
    const { peerIndex, mac } = event.link
    const key = peerIndex === undefined ? undefined : this.#byHostIndex.get(peerIndex)
    if (key === undefined || mac === undefined || this.#known.get(key)?.mac === mac) return false
    this.#doubtful.add(key)
    return true
  }

  forget(row: MacRow): void {
    const key = keyOf(row)
    const known = this.#known.get(key)
    if (known !== undefined && this.#byHostIndex.get(known.hostIndex) === key) {
      this.#byHostIndex.delete(known.hostIndex)
    }
    this.#known.delete(key)
    this.#doubtful.delete(key)
  }

  /** Reads it inside the pod. One that cannot be read is that of its birth. */
  async look(
    row: MacRow & { readonly netns: string },
    host: Link,
    hostNamespace: NetworkNamespace,
  ): Promise<void> {
    // Whatever is heard from now on is doubted again.
    this.#known.delete(keyOf(row))
    this.#doubtful.delete(keyOf(row))
    const mac = await insideOf(row.netns, host, hostNamespace, (_inPod, _index, inside) =>
      Promise.resolve(inside.mac),
    )
    this.know(row, host.index, mac ?? row.podMac)
  }
}

function keyOf({ endpointId, incarnation }: MacRow): string {
  return `${endpointId}/${incarnation}`
}

export interface FollowMacsOptions {
  readonly netns: NetworkNamespace
  readonly macs: PodMacs
  readonly onDoubt: () => void
  readonly clock: Clock
  readonly signal: AbortSignal
}

/** A pod that may change its devices can do so all day: it gets this much of our attention. */
const MIN_INTERVAL_MS = 1000

/** Ends with the signal. @throws what the monitor fails with */
export async function followMacs(options: FollowMacsOptions): Promise<void> {
  const { netns, macs, onDoubt, clock, signal } = options
  let change = Promise.withResolvers<void>()
  using _monitor = RouteMonitor.open({
    netns,
    isAcrossNamespaces: true,
    groups: ['links'],
    onEvent: (event) => {
      if (macs.hear(event)) change.resolve()
    },
    onOverrun: () => {
      macs.doubtAll()
      change.resolve()
    },
    onError: (error) => change.reject(error),
  })
  signal.addEventListener('abort', () => change.resolve(), { once: true })
  // Whatever happened before we listened.
  macs.doubtAll()
  onDoubt()
  while (!signal.aborted) {
    await change.promise
    if (signal.aborted) return
    change = Promise.withResolvers<void>()
    onDoubt()
    await clock.sleep(MIN_INTERVAL_MS, signal)
  }
}
