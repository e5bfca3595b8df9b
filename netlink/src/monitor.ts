// Listens to multicast groups of one namespace, and has word of it when the kernel had to drop some of what it said.
import { Reader } from './codec/reader.ts'
import { EAGAIN, ENOBUFS, NetlinkError } from './error.ts'
import { forEachMessage, type MessageHeader } from './message.ts'
import type { NetworkNamespace } from './namespace.ts'
import { NetlinkSocket } from './socket.ts'

/** What every monitor takes, whatever it listens to. */
export interface MonitorOptions<Event> {
  /** Absent: that of this process. */
  readonly netns?: NetworkNamespace | undefined
  /**
   * Hears what happens in other namespaces too, in every one that this one has a number for (`ip netns list-id`), such as that of a
   * veth's other end. An event does not say which: the same index may be another device there.
   */
  readonly isAcrossNamespaces?: boolean | undefined
  readonly onEvent: (event: Event) => void
  /** Events were lost, and those still waiting have been dropped with them: list again. Later events follow. */
  readonly onOverrun: () => void
  /** A message that cannot be decoded, or a socket that fails. Absent: an uncaught exception. */
  readonly onError?: ((error: unknown) => void) | undefined
  /** How much may wait. Each event takes about 1 to 4 KiB. */
  readonly receiveBufferBytes?: number | undefined
}

export interface MonitorSource<Event> {
  /** NETLINK_ROUTE, NETLINK_GENERIC, …. */
  readonly protocol: number
  /** Numbers of multicast groups. */
  readonly groups: readonly number[]
  /** Undefined for what is not worth an event. */
  decode(header: MessageHeader, payload: Reader): Event | undefined
}

const DEFAULT_RECEIVE_BUFFER_BYTES = 1024 * 1024
/** Then the loop gets its turn. */
const DATAGRAMS_PER_TURN = 64
const FIRST_DATAGRAM_BYTES = 32 * 1024

/** Listens from `open()` to `close()`, and keeps the process alive so long. List after opening, and nothing is missed. */
export class NetlinkMonitor<Event> {
  readonly #socket: NetlinkSocket
  readonly #source: MonitorSource<Event>
  readonly #options: MonitorOptions<Event>
  #buffer = new Uint8Array(FIRST_DATAGRAM_BYTES)

  private constructor(
    socket: NetlinkSocket,
    source: MonitorSource<Event>,
    options: MonitorOptions<Event>,
  ) {
    this.#socket = socket
    this.#source = source
    this.#options = options
  }

  /** @throws NetlinkError */
  static open<Event>(
    source: MonitorSource<Event>,
    options: MonitorOptions<Event>,
  ): NetlinkMonitor<Event> {
    const { netns, isAcrossNamespaces, receiveBufferBytes = DEFAULT_RECEIVE_BUFFER_BYTES } = options
    const socket = new NetlinkSocket({ protocol: source.protocol, netns })
    try {
      socket.setReceiveBuffer(receiveBufferBytes)
      if (isAcrossNamespaces === true) socket.hearAllNamespaces()
      // Takes a port number: notifications leave out the port that caused them, and without one that is 0, the kernel's.
      socket.bind(0)
      for (const group of source.groups) socket.join(group)
      const monitor = new NetlinkMonitor(socket, source, options)
      socket.onReadable(() => monitor.#read())
      return monitor
    } catch (error) {
      socket.close()
      throw error
    }
  }

  close(): void {
    this.#socket.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #read(): void {
    for (let count = 0; count < DATAGRAMS_PER_TURN && !this.#socket.isClosed; count++) {
      const length = this.#socket.receive(this.#buffer)
      if (length === -EAGAIN) return
      if (length === -ENOBUFS) {
        this.#overrun()
        return
      }
      if (length < 0) {
        this.#fail(new NetlinkError({ op: 'receive', errno: -length }))
        return
      }
      if (length > this.#buffer.length) {
        this.#buffer = new Uint8Array(length)
        this.#overrun()
        return
      }
      this.#deliver(new Reader(this.#buffer, 'event', length))
    }
  }

  /**
   * After an overrun the kernel drops everything, without saying so again, until the queue has been empty once. So it is emptied
   * before anyone lists; what was in it is older than that list.
   */
  #overrun(): void {
    let length: number
    do {
      length = this.#socket.receive(this.#buffer)
    } while (length >= 0 || length === -ENOBUFS)
    this.#options.onOverrun()
  }

  #deliver(reader: Reader): void {
    const events: Event[] = []
    try {
      forEachMessage(reader, (header, payload) => {
        const event = this.#source.decode(header, payload)
        if (event !== undefined) events.push(event)
        return true
      })
    } catch (error) {
      this.#fail(error)
    }
    for (const event of events) {
      if (this.#socket.isClosed) return
      this.#options.onEvent(event)
    }
  }

  #fail(error: unknown): void {
    if (!this.#options.onError) throw error
    this.#options.onError(error)
  }
}
