// Verbs on routes: list, get, add, replace, del.
import { isCode } from '../error.ts'
import { parseIp } from '../ip.ts'
import type { DecodeMessage, Request, Requests } from '../requests.ts'
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from '../socket-constants.ts'
import { addressFamily, RTM_DELROUTE, RTM_GETROUTE, RTM_NEWROUTE } from './constants.ts'
import type { Route, RouteFilter, RouteKey, RouteLookup, RouteSpec } from './route.ts'
import {
  decodeRoute,
  type RouteBody,
  RTM_F_CLONED,
  routeHeader,
  routeKeyToWire,
  routeMessage,
  routeSpecToWire,
} from './route-message.ts'

export class Routes {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  /** Of all tables and both families unless the filter says less; without what the kernel only cached. */
  async list(filter: RouteFilter = {}): Promise<Route[]> {
    if (filter.family !== undefined) return this.#list(filter.family, filter)
    const ip4 = await this.#list(4, filter)
    return ip4.concat(await this.#list(6, filter))
  }

  /**
   * The same one by one, without ever holding them all. Other requests may be made from inside the loop. What changes meanwhile may
   * be missing or come twice; where the kernel notices it is EINTR (of routes it does not).
   */
  async *stream(filter: RouteFilter = {}): AsyncGenerator<Route, void, undefined> {
    for (const family of filter.family === undefined ? ([4, 6] as const) : [filter.family]) {
      try {
        yield* this.#requests.stream(...listRequest(family, filter))
      } catch (error) {
        if (!isNothing(error)) throw error
      }
    }
  }

  /** The route a packet to this address takes. ENETUNREACH, EHOSTUNREACH, … when there is none. */
  async get(to: string, lookup: RouteLookup = {}): Promise<Route> {
    const { family, bytes } = parseIp(to)
    const message: RouteBody = {
      header: routeHeader({
        family: addressFamily(family),
        dstLen: bytes.length * 8,
        srcLen: lookup.from === undefined ? 0 : bytes.length * 8,
      }),
      attrs: {
        dst: to,
        src: lookup.from,
        index: lookup.index,
        inputIndex: lookup.inputIndex,
        mark: lookup.mark,
      },
    }
    return this.#requests.reply(
      request(RTM_GETROUTE, 'RTM_GETROUTE', message, to),
      (header, payload) => (header.type === RTM_NEWROUTE ? decodeRoute(payload) : undefined),
    )
  }

  /** EEXIST when a route to the same destination with the same table, metric and tos is there, whoever put it there. */
  async add(spec: RouteSpec): Promise<void> {
    await this.#new(spec, NLM_F_CREATE | NLM_F_EXCL)
  }

  /** Takes the place of a route to the same destination with the same table, metric and tos, whoever put it there. */
  async replace(spec: RouteSpec): Promise<void> {
    await this.#new(spec, NLM_F_CREATE | NLM_F_REPLACE)
  }

  /** False when there was none that matched. Name your `protocol`, and nobody else's route goes. */
  async del(key: RouteKey): Promise<boolean> {
    const message = routeKeyToWire(key)
    try {
      await this.#requests.change(request(RTM_DELROUTE, 'RTM_DELROUTE', message, key.dst))
      return true
    } catch (error) {
      // ENODEV: its device is gone, and the route with it.
      if (isCode(error, 'ESRCH', 'ENODEV')) return false
      throw error
    }
  }

  /** Only from async verbs: a wrong value is thrown. */
  #new(spec: RouteSpec, flags: number): Promise<void> {
    const message = routeSpecToWire(spec)
    return this.#requests.change(request(RTM_NEWROUTE, 'RTM_NEWROUTE', message, spec.dst, flags))
  }

  async #list(family: 4 | 6, filter: RouteFilter): Promise<Route[]> {
    try {
      return await this.#requests.dump(...listRequest(family, filter))
    } catch (error) {
      if (isNothing(error)) return []
      throw error
    }
  }
}

function listRequest(
  family: 4 | 6,
  { table, protocol, index, type }: RouteFilter,
): [Request, DecodeMessage<Route>] {
  const message: RouteBody = {
    header: routeHeader({
      family: addressFamily(family),
      protocol: protocol ?? 0,
      type: type ?? 0,
    }),
    attrs: { table, index },
  }
  const isWanted = (route: Route) =>
    (route.flags & RTM_F_CLONED) === 0 &&
    (table === undefined || route.table === table) &&
    (protocol === undefined || route.protocol === protocol) &&
    (index === undefined || usesDevice(route, index)) &&
    (type === undefined || route.type === type)
  return [
    request(RTM_GETROUTE, 'RTM_GETROUTE', message),
    (header, payload) => {
      const route = header.type === RTM_NEWROUTE ? decodeRoute(payload) : undefined
      return route !== undefined && isWanted(route) ? route : undefined
    },
  ]
}

/** A table nobody has put anything in, or a device that is gone. */
function isNothing(error: unknown): boolean {
  return isCode(error, 'ENOENT', 'ENODEV')
}

function usesDevice(route: Route, index: number): boolean {
  return route.index === index || route.nextHops?.some((hop) => hop.index === index) === true
}

function request(type: number, op: string, message: RouteBody, to?: string, flags = 0): Request {
  return {
    type,
    op,
    flags,
    subject: to === undefined ? undefined : `route ${to}`,
    encode: (writer) => routeMessage.encode(writer, message),
  }
}
