// Verbs on filters: list, replaceBpf, replaceRedirect, del. On the way in and out (clsact), or among the classes of a qdisc.
import { isCode } from '../error.ts'
import type { Request, Requests } from '../requests.ts'
import { NLM_F_CREATE } from '../socket-constants.ts'
import { RTM_DELTFILTER, RTM_GETTFILTER, RTM_NEWTFILTER } from './constants.ts'
import { formatHandle } from './handle.ts'
import type { BpfFilterSpec, Filter, FilterKey, FilterList, RedirectSpec } from './traffic.ts'
import {
  bpfFilterToWire,
  decodeFilter,
  filterKeyToWire,
  filterListToWire,
  redirectToWire,
  type TrafficBody,
  trafficMessage,
} from './traffic-message.ts'

export class Filters {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  /** In the order they run. Empty, too, when there is no clsact or no such device. */
  async list({ index, parent }: FilterList): Promise<Filter[]> {
    const message = filterListToWire(index, parent)
    return this.#requests.dump(
      request(RTM_GETTFILTER, 'RTM_GETTFILTER', message),
      (header, payload) => {
        if (header.type !== RTM_NEWTFILTER) return undefined
        const filter = decodeFilter(payload)
        // Handle 0 is the head of a priority, which holds the filters and is none.
        return filter.handle === 0 ? undefined : filter
      },
    )
  }

  /**
   * Puts a program there, or in place of the filter with this priority and handle: in one step, so that every packet meets the
   * old program or the new. EINVAL when the device has no clsact.
   */
  async replaceBpf(spec: BpfFilterSpec): Promise<void> {
    const message = bpfFilterToWire(spec)
    await this.#requests.change(
      request(RTM_NEWTFILTER, 'RTM_NEWTFILTER', message, spec, NLM_F_CREATE),
    )
  }

  /** Moves every packet over to another device, as if it left there. Takes the place of the filter with this priority and handle. */
  async replaceRedirect(spec: RedirectSpec): Promise<void> {
    const message = redirectToWire(spec)
    await this.#requests.change(
      request(RTM_NEWTFILTER, 'RTM_NEWTFILTER', message, spec, NLM_F_CREATE),
    )
  }

  /** False when it, its qdisc or its device was not there. */
  async del(key: FilterKey): Promise<boolean> {
    const message = filterKeyToWire(key)
    try {
      await this.#requests.change(request(RTM_DELTFILTER, 'RTM_DELTFILTER', message, key))
      return true
    } catch (error) {
      if (isCode(error, 'ENOENT', 'ENODEV')) return false
      // Without a qdisc it is EINVAL, as for many other things; then there is nothing to list either.
      if (isCode(error, 'EINVAL') && !(await this.#has(key))) return false
      throw error
    }
  }

  async #has({ index, parent, priority, handle }: FilterKey): Promise<boolean> {
    const filters = await this.list({ index, parent })
    return filters.some((filter) => filter.priority === priority && filter.handle === handle)
  }
}

function request(
  type: number,
  op: string,
  message: TrafficBody,
  key?: FilterKey,
  flags = 0,
): Request {
  return {
    type,
    op,
    flags,
    ...(key === undefined ? {} : { subject: filterText(key) }),
    encode: (writer) => trafficMessage.encode(writer, message),
  }
}

function filterText({ index, parent, priority, handle }: FilterKey): string {
  const where = typeof parent === 'number' ? formatHandle(parent) : parent
  return `${where} filter ${priority}/0x${handle.toString(16)} on link #${index}`
}
