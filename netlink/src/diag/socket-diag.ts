// Sockets of one network namespace, whoever has them: listed, and ended (NETLINK_SOCK_DIAG, CONFIG_INET_DIAG_DESTROY).
import { NetlinkClient } from '../client.ts'
import { isCode } from '../error.ts'
import type { NetworkNamespace } from '../namespace.ts'
import type { Request } from '../requests.ts'
import { NetlinkSocket, type Transport } from '../socket.ts'
import {
  decodeSocket,
  type InetDiagRequest,
  type InetSocket,
  inetDiagRequest,
  listToWire,
  SOCK_DESTROY,
  SOCK_DIAG_BY_FAMILY,
  type SocketFilter,
  socketToWire,
} from './socket-message.ts'

const NETLINK_SOCK_DIAG = 4

export interface SocketDiagOptions {
  /** Absent: that of this process. May be closed afterwards. */
  readonly netns?: Pick<NetworkNamespace, 'fd'> | undefined
}

/** Whoever opens it closes it. */
export class SocketDiag {
  readonly #client: NetlinkClient

  private constructor(client: NetlinkClient) {
    this.#client = client
  }

  /** @throws NetlinkError */
  static open({ netns }: SocketDiagOptions = {}): SocketDiag {
    return SocketDiag.over(new NetlinkSocket({ protocol: NETLINK_SOCK_DIAG, netns }))
  }

  /** Over a transport of one's own, which `close()` then closes. */
  static over(transport: Transport): SocketDiag {
    return new SocketDiag(new NetlinkClient(transport))
  }

  async list(filter: SocketFilter): Promise<InetSocket[]> {
    const asked = request(SOCK_DIAG_BY_FAMILY, 'SOCK_DIAG_BY_FAMILY', listToWire(filter))
    return await this.#client.dump(asked, ({ type }, payload) =>
      type === SOCK_DIAG_BY_FAMILY ? decodeSocket(payload, filter.protocol) : undefined,
    )
  }

  /**
   * Its process hears ECONNABORTED, and the socket is connected no longer. False when it is not there any more.
   * @throws NetlinkError EOPNOTSUPP where the kernel has no SOCK_DESTROY
   */
  async destroy(socket: InetSocket): Promise<boolean> {
    const { address, port } = socket.remote
    const subject = `${socket.protocol} socket connected to ${address} port ${port}`
    try {
      await this.#client.change(
        request(SOCK_DESTROY, 'SOCK_DESTROY', socketToWire(socket), subject),
      )
      return true
    } catch (error) {
      if (isCode(error, 'ENOENT')) return false
      throw error
    }
  }

  close(): void {
    this.#client.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function request(type: number, op: string, message: InetDiagRequest, subject?: string): Request {
  return { type, op, subject, encode: (writer) => inetDiagRequest.encode(writer, message) }
}
