// Links, addresses, routes, rules, neighbours, qdiscs and filters of one network namespace.
import { type ClientOptions, NetlinkClient } from '../client.ts'
import type { NetworkNamespace } from '../namespace.ts'
import { NetlinkSocket, type Transport } from '../socket.ts'
import { NETLINK_ROUTE } from '../socket-constants.ts'
import { Addresses } from './addresses.ts'
import { Filters } from './filters.ts'
import { Links } from './links.ts'
import { Neighbours } from './neighbours.ts'
import { Qdiscs } from './qdiscs.ts'
import { Routes } from './routes.ts'
import { Rules } from './rules.ts'

export interface RouteNetlinkOptions extends ClientOptions {
  /** Absent: that of this process. May be closed afterwards: the socket stays where it was opened. */
  readonly netns?: NetworkNamespace | undefined
}

/** One socket; whoever opens it closes it. Requests may be made at the same time and are answered in order. */
export class RouteNetlink {
  readonly links: Links
  readonly addresses: Addresses
  readonly routes: Routes
  readonly rules: Rules
  readonly neighbours: Neighbours
  readonly qdiscs: Qdiscs
  readonly filters: Filters
  readonly #client: NetlinkClient

  private constructor(client: NetlinkClient) {
    this.#client = client
    this.links = new Links(client)
    this.addresses = new Addresses(client)
    this.routes = new Routes(client)
    this.rules = new Rules(client)
    this.neighbours = new Neighbours(client)
    this.qdiscs = new Qdiscs(client)
    this.filters = new Filters(client)
  }

  /** @throws NetlinkError */
  static open({ netns, ...client }: RouteNetlinkOptions = {}): RouteNetlink {
    return RouteNetlink.over(new NetlinkSocket({ protocol: NETLINK_ROUTE, netns }), client)
  }

  /** Over a transport of one's own, which `close()` then closes. */
  static over(transport: Transport, options: ClientOptions = {}): RouteNetlink {
    return new RouteNetlink(new NetlinkClient(transport, options))
  }

  close(): void {
    this.#client.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
