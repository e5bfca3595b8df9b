// Listens to the kernel for what happens to pods' devices behind our back, and says when it is time to look.
import {
  type Link,
  type NetworkNamespace,
  type RouteEvent,
  RouteMonitor,
  type RouteNetlink,
} from '@sinabro/node-netlink'
import { OVERLAY_ALIAS, ROUTE_PROTOCOL } from '../marks.ts'
import { parseAlias } from './compute.ts'

export interface FollowOptions {
  readonly netns: NetworkNamespace
  /** In that namespace. */
  readonly netlink: RouteNetlink
  /** Whether a living pod has this device. */
  isOurs(device: string): boolean
  /** Whether one of our own verbs works on this device: what is heard of it is our own doing. */
  isBusy(device: string): boolean
  readonly onDrift: () => void
  readonly signal: AbortSignal
}

/** Ends with the signal. @throws what the monitor fails with */
export async function followPods(options: FollowOptions): Promise<void> {
  const { netns, netlink, onDrift, signal } = options
  const drift = new DriftOfPods(options)
  const { promise: ended, resolve: end, reject: fail } = Promise.withResolvers<void>()
  using _monitor = RouteMonitor.open({
    netns,
    groups: ['links', 'routes', 'neighbours', 'traffic'],
    onEvent: (event) => {
      if (drift.isDrift(event)) onDrift()
    },
    onOverrun: onDrift,
    onError: fail,
  })
  signal.addEventListener('abort', () => end(), { once: true })
  for (const link of await netlink.links.list()) drift.know(link)
  // Whatever happened before we listened.
  onDrift()
  if (signal.aborted) end()
  await ended
}

interface Known {
  readonly name: string
  readonly isUp: boolean
  /** It has been up: coming up for the first time is its birth. */
  readonly wasUp: boolean
}

/**
 * Of the many events that every ADD and DEL causes, picks those that undo something: a device that is gone, one that came up again (it
 * lost its routes when it went down), a route, neighbour or filter that was taken away; and the overlay's new MTU.
 */
export class DriftOfPods {
  readonly #options: Pick<FollowOptions, 'isOurs' | 'isBusy'>
  readonly #devices = new Map<number, Known>()
  /** The overlay's device has its MTU from the same underlay as pods, and gets a new one when that changes. */
  #overlayMtu: number | undefined

  constructor(options: Pick<FollowOptions, 'isOurs' | 'isBusy'>) {
    this.#options = options
  }

  /** A device that was there before we listened. */
  know({ index, name, isUp, alias }: Pick<Link, 'index' | 'name' | 'isUp' | 'alias'>): void {
    if (parseAlias(alias) !== undefined) this.#devices.set(index, { name, isUp, wasUp: true })
  }

  isDrift(event: RouteEvent): boolean {
    switch (event.kind) {
      case 'link': {
        const { index, name, isUp, alias } = event.link
        const before = this.#devices.get(index)
        if (event.change === 'del') {
          this.#devices.delete(index)
          return this.#isTouched(before?.name ?? name)
        }
        if (alias === OVERLAY_ALIAS) return this.#isNewMtu(event.link.mtu)
        if (parseAlias(alias) === undefined) return false
        const wasUp = before?.wasUp === true
        this.#devices.set(index, { name, isUp, wasUp: wasUp || isUp })
        return wasUp && isUp && before?.isUp === false && this.#isTouched(name)
      }
      case 'route': {
        const { protocol, index } = event.route
        return event.change === 'del' && protocol === ROUTE_PROTOCOL && this.#isTouchedAt(index)
      }
      case 'neighbour':
        return event.change === 'del' && this.#isTouchedAt(event.neighbour.index)
      case 'filter':
      case 'qdisc': {
        const index = event.kind === 'filter' ? event.filter.index : event.qdisc.index
        return event.change === 'del' && this.#isTouchedAt(index)
      }
      default:
        return false
    }
  }

  #isNewMtu(mtu: number): boolean {
    const before = this.#overlayMtu
    this.#overlayMtu = mtu
    return before !== undefined && before !== mtu
  }

  #isTouchedAt(index: number | undefined): boolean {
    if (index === undefined) return false
    const device = this.#devices.get(index)
    return device !== undefined && this.#isTouched(device.name)
  }

  #isTouched(device: string): boolean {
    return this.#options.isOurs(device) && !this.#options.isBusy(device)
  }
}
