// Listens to the kernel for changes of the underlay, and for what is taken from the overlay device behind our back.
import {
  type NetworkNamespace,
  type RouteEvent,
  RouteMonitor,
  type RouteNetlink,
} from '@sinabro/node-netlink'
import { OVERLAY_ALIAS, OVERLAY_DEVICE } from '../marks.ts'
import { parseAlias } from '../pods/compute.ts'

export interface FollowOverlayOptions {
  readonly netns: NetworkNamespace
  /** In that namespace. */
  readonly netlink: RouteNetlink
  /** A device, address or route that is not ours changed: the way to other nodes may have. */
  readonly onUnderlay: () => void
  /** Something of ours changed. */
  readonly onDrift: () => void
  readonly onError: (error: unknown) => void
}

/** Returns what ends it. */
export async function followOverlay(options: FollowOverlayOptions): Promise<() => void> {
  const { netns, netlink, onUnderlay, onDrift, onError } = options
  const sorter = new OverlayEvents()
  const monitor = RouteMonitor.open({
    netns,
    groups: ['links', 'addresses', 'routes', 'neighbours', 'traffic'],
    onEvent: (event) => {
      const touched = sorter.sort(event)
      if (touched === 'overlay') onDrift()
      else if (touched === 'underlay') onUnderlay()
    },
    onOverrun: onDrift,
    onError,
  })
  try {
    for (const link of await netlink.links.list()) sorter.know(link)
  } catch (error) {
    monitor.close()
    throw error
  }
  return () => monitor.close()
}

/** Tells events of the overlay device from those of pods, which are not this room's, and from all others. */
export class OverlayEvents {
  readonly #overlay = new Set<number>()
  readonly #pods = new Set<number>()

  know({ index, name, alias }: KnownLink): 'overlay' | 'pods' | 'other' {
    if (alias === OVERLAY_ALIAS || name === OVERLAY_DEVICE) {
      this.#overlay.add(index)
      return 'overlay'
    }
    if (parseAlias(alias) !== undefined || /^sb[a-z2-7]{13}$/.test(name)) {
      this.#pods.add(index)
      return 'pods'
    }
    return 'other'
  }

  sort(event: RouteEvent): 'overlay' | 'underlay' | undefined {
    switch (event.kind) {
      case 'link': {
        const whose = this.know(event.link)
        if (event.change === 'del') {
          this.#overlay.delete(event.link.index)
          this.#pods.delete(event.link.index)
        }
        if (whose === 'pods') return undefined
        return whose === 'overlay' ? 'overlay' : 'underlay'
      }
      case 'address':
        return this.#at(event.address.index)
      case 'route':
        return event.route.index === undefined ? 'underlay' : this.#at(event.route.index)
      case 'neighbour':
        return this.#overlay.has(event.neighbour.index) ? 'overlay' : undefined
      case 'filter':
        return this.#overlay.has(event.filter.index) ? 'overlay' : undefined
      case 'qdisc':
        return this.#overlay.has(event.qdisc.index) ? 'overlay' : undefined
      default:
        return undefined
    }
  }

  /** Undefined for what happens to pods. */
  #at(index: number): 'overlay' | 'underlay' | undefined {
    if (this.#overlay.has(index)) return 'overlay'
    return this.#pods.has(index) ? undefined : 'underlay'
  }
}

interface KnownLink {
  readonly index: number
  readonly name: string
  readonly alias?: string
}
