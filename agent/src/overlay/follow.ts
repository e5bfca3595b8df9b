// Listens to the kernel for changes of the underlay, and for what is done to the overlay device and what lies on it.
import {
  type NetworkNamespace,
  type RouteEvent,
  RouteMonitor,
  type RouteNetlink,
} from '@sinabro/node-netlink'
import { OVERLAY_ALIAS, OVERLAY_DEVICE, OWN_DEVICE, ROUTE_PROTOCOL } from '../marks.ts'
import { parseAlias } from '../pods/compute.ts'

/** linux/rtnetlink.h: what the kernel keeps of this host's own addresses. */
const RT_TABLE_LOCAL = 255

export interface FollowOverlayOptions {
  readonly netns: NetworkNamespace
  /** In that namespace. */
  readonly netlink: RouteNetlink
  readonly onEvent: (whose: Whose, event: RouteEvent) => void
  /** Something was missed: all has to be looked at. */
  readonly onOverrun: () => void
  readonly onError: (error: unknown) => void
}

/**
 * underlay: a device, address or route that is not ours, so the way to other nodes may have changed. lost: the overlay device went,
 * came or went down, and what lay on it with it, of which the kernel does not always tell. device: the overlay device itself,
 * its addresses or programs. row: a route of ours, or a neighbour or forwarding entry on it. hook: programs of a device that is not ours.
 */
export type Whose = 'underlay' | 'lost' | 'device' | 'row' | 'hook'

/** Returns what ends it. */
export async function followOverlay(options: FollowOverlayOptions): Promise<() => void> {
  const { netns, netlink, onEvent, onOverrun, onError } = options
  const sorter = new OverlayEvents()
  const monitor = RouteMonitor.open({
    netns,
    groups: ['links', 'addresses', 'routes', 'neighbours', 'traffic'],
    onEvent: (event) => {
      const whose = sorter.sort(event)
      if (whose !== undefined) onEvent(whose, event)
    },
    onOverrun,
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
  /** Whether they are up, by index. */
  readonly #overlay = new Map<number, boolean>()
  readonly #pods = new Set<number>()

  know(link: KnownLink): 'overlay' | 'pods' | 'other' {
    const { index, name, alias, isUp } = link
    if (alias === OVERLAY_ALIAS || name === OVERLAY_DEVICE || name === OWN_DEVICE) {
      this.#overlay.set(index, isUp)
      return 'overlay'
    }
    if (parseAlias(alias) !== undefined || /^sb[a-z2-7]{13}$/.test(name)) {
      this.#pods.add(index)
      return 'pods'
    }
    return 'other'
  }

  sort(event: RouteEvent): Whose | undefined {
    switch (event.kind) {
      case 'link':
        return this.#sortLink(event.change, event.link)
      case 'address':
        if (event.address.scope === 'link') return undefined
        // With an address go the routes that name it as their source.
        return this.#at(event.address.index, event.change === 'del' ? 'lost' : 'device')
      case 'route':
        // Local addresses have events of their own.
        if (event.route.table === RT_TABLE_LOCAL) return undefined
        if (event.route.index === undefined) {
          return event.route.protocol === ROUTE_PROTOCOL ? 'row' : 'underlay'
        }
        if (this.#pods.has(event.route.index)) return undefined
        return event.route.protocol === ROUTE_PROTOCOL ? 'row' : this.#at(event.route.index, 'row')
      case 'neighbour':
        return this.#overlay.has(event.neighbour.index) ? 'row' : undefined
      case 'fdb':
        return this.#overlay.has(event.entry.index) ? 'row' : undefined
      case 'filter':
        if (this.#overlay.has(event.filter.index)) return 'device'
        return this.#pods.has(event.filter.index) ? undefined : 'hook'
      case 'qdisc':
        return this.#overlay.has(event.qdisc.index) ? 'device' : undefined
      default:
        return undefined
    }
  }

  #sortLink(change: 'new' | 'del', link: KnownLink): Whose | undefined {
    const wasUp = this.#overlay.get(link.index)
    const whose = this.know(link)
    if (change === 'del') {
      this.#overlay.delete(link.index)
      this.#pods.delete(link.index)
    }
    if (whose === 'pods') return undefined
    if (whose === 'other') return 'underlay'
    return change === 'del' || wasUp !== link.isUp ? 'lost' : 'device'
  }

  /** Undefined for what happens to pods. */
  #at<Ours>(index: number, ours: Ours): Ours | 'underlay' | undefined {
    if (this.#overlay.has(index)) return ours
    return this.#pods.has(index) ? undefined : 'underlay'
  }
}

interface KnownLink {
  readonly index: number
  readonly name: string
  readonly alias?: string
  readonly isUp: boolean
}
