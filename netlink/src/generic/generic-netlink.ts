// Requests to families of generic netlink by name: ethtool, netdev, WireGuard, and whatever else the kernel registers.
import { type ClientOptions, NetlinkClient } from '../client.ts'
import type { Codec } from '../codec/codec.ts'
import type { NetworkNamespace } from '../namespace.ts'
import type { DecodeMessage, Request } from '../requests.ts'
import { NetlinkSocket, type Transport } from '../socket.ts'
import { NETLINK_GENERIC } from '../socket-constants.ts'
import type { GenericFamily } from './family.ts'
import {
  CTRL_CMD_GETFAMILY,
  CTRL_CMD_NEWFAMILY,
  decodeFamily,
  familyAttrs,
  GENL_ID_CTRL,
  genlmsghdr,
} from './family-message.ts'

export interface GenericNetlinkOptions extends ClientOptions {
  /** Absent: that of this process. May be closed afterwards: the socket stays where it was opened. */
  readonly netns?: NetworkNamespace | undefined
}

export interface GenericRequest<A> {
  /** 'ethtool', 'netdev', 'wireguard', …. */
  readonly family: string
  readonly command: number
  /** The kernel's name for `command`, for errors: 'ETHTOOL_MSG_LINKSTATE_GET'. */
  readonly op: string
  /** What it is about, for errors only. */
  readonly subject?: string
  /** Of what follows the generic header: `attrs()`, or `body()` where the family has a structure of its own. */
  readonly codec: Codec<A>
  readonly value: A
  /** Absent: 1, which nearly every family is. */
  readonly version?: number
  /** NLM_F_*, besides what the method adds. */
  readonly flags?: number
  readonly signal?: AbortSignal
}

/** One socket; whoever opens it closes it. Families are looked up at first use and remembered as long as it is open. */
export class GenericNetlink {
  readonly #client: NetlinkClient
  readonly #families = new Map<string, GenericFamily>()

  private constructor(client: NetlinkClient) {
    this.#client = client
  }

  /** @throws NetlinkError */
  static open({ netns, ...client }: GenericNetlinkOptions = {}): GenericNetlink {
    return GenericNetlink.over(new NetlinkSocket({ protocol: NETLINK_GENERIC, netns }), client)
  }

  /** Over a transport of one's own, which `close()` then closes. */
  static over(transport: Transport, options: ClientOptions = {}): GenericNetlink {
    return new GenericNetlink(new NetlinkClient(transport, options))
  }

  /** Every family that is registered now. */
  async families(): Promise<GenericFamily[]> {
    return this.#client.dump(familyRequest(), decodeNewFamily)
  }

  /** ENOENT when the kernel has no such family, nor a module that would bring it. */
  async family(name: string): Promise<GenericFamily> {
    const known = this.#families.get(name)
    if (known) return known
    const family = await this.#client.reply(familyRequest(name), decodeNewFamily)
    this.#families.set(name, family)
    return family
  }

  /** Sends a change and resolves when the kernel has made it. */
  async change<A>(request: GenericRequest<A>): Promise<void> {
    await this.#client.change(await this.#resolved(request))
  }

  /** Sends a question with one answer. */
  async reply<A, T>(request: GenericRequest<A>, answer: Codec<T>): Promise<T> {
    return this.#client.reply(await this.#resolved(request), decodeAnswer(answer))
  }

  /** Lists, whole or not at all. */
  async dump<A, T>(request: GenericRequest<A>, answer: Codec<T>): Promise<T[]> {
    return this.#client.dump(await this.#resolved(request), decodeAnswer(answer))
  }

  /** Lists one by one, as the kernel tells them, over a socket of its own. */
  async *stream<A, T>(
    request: GenericRequest<A>,
    answer: Codec<T>,
  ): AsyncGenerator<T, void, undefined> {
    yield* this.#client.stream(await this.#resolved(request), decodeAnswer(answer))
  }

  close(): void {
    this.#client.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  async #resolved<A>(request: GenericRequest<A>): Promise<Request> {
    const { command, version = 1, codec, value, family, ...same } = request
    const { id } = await this.family(family)
    return {
      ...same,
      type: id,
      encode(writer) {
        genlmsghdr.encode(writer, { command, version })
        codec.encode(writer, value)
      },
    }
  }
}

function familyRequest(name?: string): Request {
  return {
    type: GENL_ID_CTRL,
    op: 'CTRL_CMD_GETFAMILY',
    ...(name === undefined ? {} : { subject: `family ${name}` }),
    encode(writer) {
      genlmsghdr.encode(writer, { command: CTRL_CMD_GETFAMILY, version: 1 })
      familyAttrs.encode(writer, { name })
    },
  }
}

const decodeNewFamily: DecodeMessage<GenericFamily> = (_, payload) => {
  const { command } = genlmsghdr.decode(payload)
  return command === CTRL_CMD_NEWFAMILY ? decodeFamily(payload) : undefined
}

function decodeAnswer<T>(answer: Codec<T>): DecodeMessage<T> {
  return (_, payload) => {
    genlmsghdr.decode(payload)
    return answer.decode(payload)
  }
}
