// Everything rtnetlink has of one network namespace, over one socket; several changes in one go, and requests that can be given up.
import { type ClientOptions, NetlinkClient } from '../client.ts'
import type { NetworkNamespace } from '../namespace.ts'
import { withSignal } from '../requests.ts'
import { NetlinkSocket, type Transport } from '../socket.ts'
import { NETLINK_ROUTE } from '../socket-constants.ts'
import { RouteVerbs } from './route-verbs.ts'

export interface RouteNetlinkOptions extends ClientOptions {
  /** Absent: that of this process. May be closed afterwards: the socket stays where it was opened. */
  readonly netns?: NetworkNamespace | undefined
}

/** One socket; whoever opens it closes it. Requests may be made at the same time and are answered in order. */
export class RouteNetlink extends RouteVerbs {
  readonly #client: NetlinkClient

  private constructor(client: NetlinkClient) {
    super(client)
    this.#client = client
  }

  /** @throws NetlinkError */
  static open({ netns, ...client }: RouteNetlinkOptions = {}): RouteNetlink {
    return RouteNetlink.over(new NetlinkSocket({ protocol: NETLINK_ROUTE, netns }), client)
  }

  /** Over a transport of one's own, which `close()` then closes. */
  static over(transport: Transport, options: ClientOptions = {}): RouteNetlink {
    return new RouteNetlink(new NetlinkClient(transport, options))
  }

  /**
   * The same verbs, but what they ask for is given up when the signal aborts, and rejects with its reason. A change that is
   * waiting in line is then never made; one that was sent may have been.
   */
  withSignal(signal: AbortSignal): RouteVerbs {
    return new RouteVerbs(withSignal(this.#client, signal))
  }

  /**
   * Makes many changes with few system calls: those that `fill` asks of its argument before it returns. Each has its own
   * outcome, in the order of the promises that `fill` returns; one that fails does not stop those behind it.
   */
  batch<T>(
    fill: (verbs: RouteVerbs) => readonly Promise<T>[],
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<PromiseSettledResult<T>[]> {
    return this.#client.batch((requests) => fill(new RouteVerbs(requests)), options)
  }

  close(): void {
    this.#client.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
