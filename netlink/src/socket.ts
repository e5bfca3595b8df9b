// One netlink socket in one namespace: sends, receives without waiting, waits for the loop to say there is something.
import { EBADF, NetlinkError } from './error.ts'
import type { NetworkNamespace } from './namespace.ts'
import { native } from './native.ts'
import { OwnedFd } from './owned-fd.ts'
import {
  NETLINK_ADD_MEMBERSHIP,
  NETLINK_CAP_ACK,
  NETLINK_EXT_ACK,
  NETLINK_GET_STRICT_CHK,
  NETLINK_LISTEN_ALL_NSID,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOL_NETLINK,
  SOL_SOCKET,
} from './socket-constants.ts'

/** What requests need of a socket; tests put a scripted one here. */
export interface Transport {
  /** @throws NetlinkError */
  send(message: Uint8Array, length: number): void
  /** Length of a datagram (more than `into` when it was cut), or `-errno`: -EAGAIN when there is none now. */
  receive(into: Uint8Array): number
  /** Resolves when `receive()` is worth another try. Rejects when the socket is closed meanwhile, or the signal aborted. */
  readable(signal?: AbortSignal): Promise<void>
  readonly isClosed: boolean
  close(): void
  /** A second one, in the same namespace and for the same protocol; whoever opens it closes it. */
  another(options?: AnotherOptions): Transport
}

export interface AnotherOptions {
  /** Sends on a thread of its own: for requests that keep their sender waiting although they are done. */
  readonly isAside?: boolean
}

export interface SocketOptions extends AnotherOptions {
  /** NETLINK_ROUTE, NETLINK_GENERIC, …. */
  readonly protocol: number
  /** Only looked at while the socket is opened; absent: the namespace of this process. */
  readonly netns?: Pick<NetworkNamespace, 'fd'> | undefined
}

export class NetlinkSocket implements Transport {
  readonly #owned: OwnedFd
  #waiting:
    | { readonly stop: () => void; readonly reject: (error: NetlinkError) => void }
    | undefined
  #poller: object | undefined
  readonly #protocol: number
  readonly #isElsewhere: boolean
  readonly #isAside: boolean
  /** What became of a `send()` aside that failed. */
  #failure: NetlinkError | undefined

  /** @throws NetlinkError EPERM, EMFILE, … */
  constructor({ protocol, netns, isAside = false }: SocketOptions) {
    const fd = native().open(protocol, netns === undefined ? -1 : netns.fd)
    if (fd < 0) throw new NetlinkError({ op: 'socket', errno: -fd })
    this.#owned = new OwnedFd(fd, `netlink socket ${fd}`)
    this.#protocol = protocol
    this.#isElsewhere = netns !== undefined
    this.#isAside = isAside
    // Words for errors, without the request repeated in them; both are asked for, not needed.
    native().setOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1)
    native().setOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1)
    // Filters in dump requests are honoured, unknown ones refused (Linux 4.20).
    native().setOption(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
  }

  get isClosed(): boolean {
    return this.#owned.isClosed
  }

  /** Binds to groups 1 to 32 by mask. */
  bind(groups: number): void {
    this.#checked('bind', native().bind(this.#owned.fd, groups))
  }

  /** Joins any group by number. */
  join(group: number): void {
    const { fd } = this.#owned
    this.#checked(
      'NETLINK_ADD_MEMBERSHIP',
      native().setOption(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group),
    )
  }

  /** Hears the groups of every namespace that this one has a number for, such as that of a veth's other end. Takes CAP_NET_BROADCAST. */
  hearAllNamespaces(): void {
    const { fd } = this.#owned
    this.#checked(
      'NETLINK_LISTEN_ALL_NSID',
      native().setOption(fd, SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 1),
    )
  }

  /** Over net.core.rmem_max where CAP_NET_ADMIN allows it. The kernel doubles the number for its own book-keeping. */
  setReceiveBuffer(bytes: number): void {
    const { fd } = this.#owned
    if (native().setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes) === 0) return
    this.#checked('SO_RCVBUF', native().setOption(fd, SOL_SOCKET, SO_RCVBUF, bytes))
  }

  send(message: Uint8Array, length: number): void {
    const { fd } = this.#owned
    if (!this.#isAside) {
      this.#checked('send', native().send(fd, message, length))
      return
    }
    const onSent = (result: number) => {
      if (result >= 0) return
      this.#failure = new NetlinkError({ op: 'send', errno: -result })
      const waiting = this.#waiting
      waiting?.stop()
      waiting?.reject(this.#failure)
    }
    this.#checked('send', native().sendAside(fd, message, length, onSent))
  }

  another(options: AnotherOptions = {}): NetlinkSocket {
    const protocol = this.#protocol
    if (!this.#isElsewhere) return new NetlinkSocket({ protocol, ...options })
    const fd = native().namespaceOf(this.#owned.fd)
    this.#checked('SIOCGSKNS', fd)
    try {
      return new NetlinkSocket({ protocol, netns: { fd }, ...options })
    } finally {
      native().close(fd)
    }
  }

  receive(into: Uint8Array): number {
    if (this.#owned.isClosed) throw this.#closedError()
    return native().receive(this.#owned.fd, into)
  }

  readable(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      if (this.#failure !== undefined) {
        reject(this.#failure)
        return
      }
      const poller = native().pollStart(this.#owned.fd, () => {
        stop()
        resolve()
      })
      const abort = () => {
        stop()
        reject(signal?.reason)
      }
      const stop = () => {
        native().pollStop(poller)
        signal?.removeEventListener('abort', abort)
        this.#waiting = undefined
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#waiting = { stop, reject }
    })
  }

  /** Calls back whenever there is something to receive, until `close()`; this keeps the process alive. */
  onReadable(callback: () => void): void {
    this.#poller = native().pollStart(this.#owned.fd, callback)
  }

  close(): void {
    if (this.#owned.isClosed) return
    if (this.#poller) native().pollStop(this.#poller)
    const waiting = this.#waiting
    waiting?.stop()
    this.#owned.close()
    waiting?.reject(this.#closedError())
  }

  #closedError(): NetlinkError {
    return new NetlinkError({ op: 'receive', subject: 'on a closed socket', errno: EBADF })
  }

  #checked(op: string, result: number): void {
    if (result < 0) throw new NetlinkError({ op, errno: -result })
  }
}
