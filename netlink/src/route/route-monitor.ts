// What changes in a namespace, as it happens; and word of it when the kernel had to drop some of that.
import { Reader } from '../codec/reader.ts'
import { EAGAIN, ENOBUFS, NetlinkError } from '../error.ts'
import { forEachMessage } from '../message.ts'
import type { NetworkNamespace } from '../namespace.ts'
import { NetlinkSocket } from '../socket.ts'
import { NETLINK_ROUTE } from '../socket-constants.ts'
import {
  RTNLGRP_IPV4_IFADDR,
  RTNLGRP_IPV4_ROUTE,
  RTNLGRP_IPV4_RULE,
  RTNLGRP_IPV6_IFADDR,
  RTNLGRP_IPV6_ROUTE,
  RTNLGRP_IPV6_RULE,
  RTNLGRP_LINK,
  RTNLGRP_NEIGH,
  RTNLGRP_TC,
} from './constants.ts'
import { decodeRouteEvent, type RouteEvent } from './route-event.ts'

export type RouteGroup = 'links' | 'addresses' | 'routes' | 'rules' | 'neighbours' | 'traffic'

export interface RouteMonitorOptions {
  /** Absent: that of this process. */
  readonly netns?: NetworkNamespace | undefined
  readonly groups: readonly RouteGroup[]
  readonly onEvent: (event: RouteEvent) => void
  /** Events were lost, and those still waiting have been dropped with them: list again. Later events follow. */
  readonly onOverrun: () => void
  /** A message that cannot be decoded, or a socket that fails. Absent: an uncaught exception. */
  readonly onError?: ((error: unknown) => void) | undefined
  /** How much may wait. Each event takes about 1 to 4 KiB. */
  readonly receiveBufferBytes?: number | undefined
}

const groupNumbers: Readonly<Record<RouteGroup, readonly number[]>> = {
  links: [RTNLGRP_LINK],
  addresses: [RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR],
  routes: [RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE],
  rules: [RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE],
  neighbours: [RTNLGRP_NEIGH],
  traffic: [RTNLGRP_TC],
}

const DEFAULT_RECEIVE_BUFFER_BYTES = 1024 * 1024
/** Then the loop gets its turn. */
const DATAGRAMS_PER_TURN = 64
const FIRST_DATAGRAM_BYTES = 32 * 1024

/** Listens from `open()` to `close()`, and keeps the process alive so long. List after opening, and nothing is missed. */
export class RouteMonitor {
  readonly #socket: NetlinkSocket
  readonly #options: RouteMonitorOptions
  #buffer = new Uint8Array(FIRST_DATAGRAM_BYTES)

  private constructor(socket: NetlinkSocket, options: RouteMonitorOptions) {
    this.#socket = socket
    this.#options = options
  }

  /** @throws NetlinkError */
  static open(options: RouteMonitorOptions): RouteMonitor {
    const { netns, groups, receiveBufferBytes = DEFAULT_RECEIVE_BUFFER_BYTES } = options
    const socket = new NetlinkSocket({ protocol: NETLINK_ROUTE, netns })
    try {
      socket.setReceiveBuffer(receiveBufferBytes)
      // Takes a port number: notifications leave out the port that caused them, and without one that is 0, the kernel's.
      socket.bind(0)
      for (const group of groups) {
        for (const number of groupNumbers[group]) socket.join(number)
      }
      const monitor = new RouteMonitor(socket, options)
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
    const events: RouteEvent[] = []
    try {
      forEachMessage(reader, (header, payload) => {
        const event = decodeRouteEvent(header.type, payload)
        if (event) events.push(event)
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
