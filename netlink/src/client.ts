// Requests and their answers over one socket: acknowledged changes, single replies, and lists that are repeated until they are whole.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Reader } from './codec/reader.ts'
import { Writer } from './codec/writer.ts'
import { EAGAIN, EBADF, EINTR, EMSGSIZE, ENOBUFS, NetlinkError } from './error.ts'
import {
  beginMessage,
  decodeDone,
  decodeError,
  finishMessage,
  forEachMessage,
  type MessageHeader,
  type Outcome,
} from './message.ts'
import type { Transport } from './socket.ts'
import {
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_NOOP,
  NLMSG_OVERRUN,
} from './socket-constants.ts'

export interface Request {
  readonly type: number
  /** The kernel's name for `type`, for errors: 'RTM_NEWROUTE'. */
  readonly op: string
  /** Besides NLM_F_REQUEST and what the method adds. */
  readonly flags?: number
  /** What it is about, for errors only: 'link eth0'. */
  readonly subject?: string
  /** Writes what follows the message header. */
  encode(writer: Writer): void
}

export type DecodeMessage<T> = (header: MessageHeader, payload: Reader) => T | undefined

export interface ClientOptions {
  /** Size of the receive buffer for lists. The kernel makes datagrams of up to this size, and none over 32 KiB if it can. */
  readonly listBytes?: number
}

/** A list is read again this often when the kernel says that it changed under the reader. */
const MAX_DUMP_TRIES = 20
/** Answers come without a turn of the event loop, so after this many datagrams timers and other sockets get theirs. */
const DATAGRAMS_PER_TURN = 64
const DEFAULT_LIST_BYTES = 32 * 1024
/** Holds an acknowledgement with the kernel's words and nearly every single answer; many sockets never need more. */
const FIRST_BYTES = 4096

type Step = 'more' | 'done'

/**
 * One request is on its way at a time; others wait in line. The kernel answers within `send()`, so a request is finished
 * without a turn of the event loop unless a subsystem answers later.
 */
export class NetlinkClient {
  readonly #transport: Transport
  readonly #writer = new Writer()
  readonly #listBytes: number
  #buffer = new Uint8Array(FIRST_BYTES)
  #sequence = 0
  #isBusy = false
  #datagrams = 0
  readonly #line: (() => void)[] = []

  constructor(transport: Transport, { listBytes = DEFAULT_LIST_BYTES }: ClientOptions = {}) {
    this.#transport = transport
    this.#listBytes = listBytes
  }

  /** Sends a change and resolves when the kernel has made it: at the acknowledgement, or at a message before it that says so. */
  async change(
    request: Request,
    isMade: (header: MessageHeader) => boolean = () => false,
  ): Promise<void> {
    await this.#exclusively(request, async () => {
      this.#send(request, NLM_F_ACK)
      const isCut = await this.#receive(request, (header) => (isMade(header) ? 'done' : 'more'))
      if (isCut) throw failure(request, { errno: EMSGSIZE })
    })
  }

  /** Another client of the same kernel whose caller is not held up by sending; undefined where the transport cannot. */
  aside(): NetlinkClient | undefined {
    const transport = this.#transport.aside?.()
    if (transport === undefined) return undefined
    const client = new NetlinkClient(transport)
    // What it hears may be a whole object and not only an acknowledgement.
    client.#buffer = new Uint8Array(client.#listBytes)
    return client
  }

  /** Sends a question with one answer. */
  async reply<T>(request: Request, decode: DecodeMessage<T>): Promise<T> {
    return this.#exclusively(request, async () => {
      let answer: T | undefined
      let isCut: boolean
      do {
        this.#send(request, 0)
        isCut = await this.#receive(request, (header, payload) => {
          answer = decode(header, payload)
          return answer === undefined ? 'more' : 'done'
        })
      } while (isCut)
      if (answer === undefined) throw failure(request, { errno: EMSGSIZE })
      return answer
    })
  }

  /**
   * Lists. A list that changed while it was read (NLM_F_DUMP_INTR) or was cut is read again from its beginning.
   * @throws NetlinkError EINTR when it never came out whole
   */
  async dump<T>(request: Request, decode: DecodeMessage<T>): Promise<T[]> {
    return this.#exclusively(request, async () => {
      if (this.#buffer.length < this.#listBytes) this.#buffer = new Uint8Array(this.#listBytes)
      for (let tries = 0; tries < MAX_DUMP_TRIES; tries++) {
        const list: T[] = []
        let isInterrupted = false
        this.#send(request, NLM_F_DUMP)
        const isCut = await this.#receive(request, (header, payload) => {
          if (header.flags & NLM_F_DUMP_INTR) isInterrupted = true
          if (header.type === NLMSG_DONE) return 'done'
          // An interrupted list is thrown away, and may hold half an object: read it to its end, but not into it.
          if (!isInterrupted) {
            const one = decode(header, payload)
            if (one !== undefined) list.push(one)
          }
          return 'more'
        })
        if (!isCut && !isInterrupted) return list
      }
      throw failure(request, {
        errno: EINTR,
        extAck: { message: `the list changed during each of ${MAX_DUMP_TRIES} reads`, offset: 0 },
      })
    })
  }

  /** Requests under way and in line are rejected with EBADF. */
  close(): void {
    this.#transport.close()
  }

  async #exclusively<T>(request: Request, run: () => Promise<T>): Promise<T> {
    if (this.#isBusy) await new Promise<void>((resolve) => this.#line.push(resolve))
    this.#isBusy = true
    try {
      if (this.#transport.isClosed) {
        throw failure(request, {
          errno: EBADF,
          extAck: { message: 'the socket is closed', offset: 0 },
        })
      }
      return await run()
    } finally {
      const next = this.#line.shift()
      // The flag stays up while the next in line wakes, so that nobody slips in between.
      if (next) next()
      else this.#isBusy = false
    }
  }

  #send(request: Request, flags: number): void {
    const writer = this.#writer
    writer.reset()
    this.#sequence = (this.#sequence + 1) >>> 0
    const start = beginMessage(writer, {
      type: request.type,
      flags: NLM_F_REQUEST | flags | (request.flags ?? 0),
      sequence: this.#sequence,
      port: 0,
    })
    request.encode(writer)
    finishMessage(writer, start)
    this.#transport.send(writer.buffer, writer.length)
  }

  /** Reads until the answer is complete. True when a datagram was cut: the answer is lost, the buffer has grown. */
  async #receive(
    request: Request,
    onMessage: (header: MessageHeader, payload: Reader) => Step,
  ): Promise<boolean> {
    for (;;) {
      if (++this.#datagrams % DATAGRAMS_PER_TURN === 0) await nextTurn()
      const length = this.#transport.receive(this.#buffer)
      if (length === -EAGAIN) {
        await this.#transport.readable()
        continue
      }
      if (length === -ENOBUFS) {
        throw failure(request, {
          errno: ENOBUFS,
          extAck: { message: 'the answer was lost, the outcome is unknown', offset: 0 },
        })
      }
      if (length < 0) throw failure(request, { errno: -length })
      if (length > this.#buffer.length) {
        this.#drain()
        this.#buffer = new Uint8Array(length)
        return true
      }
      try {
        const reader = new Reader(this.#buffer, request.op, length)
        if (this.#consume(request, reader, onMessage)) return false
      } catch (error) {
        // The kernel refuses a second list (EBUSY) while the rest of this one waits to be read. After its own errors there is no rest.
        if (!(error instanceof NetlinkError)) this.#drain()
        throw error
      }
    }
  }

  /** The kernel goes on with a list only inside receive, so an empty queue means that nothing more will come. */
  #drain(): void {
    let length: number
    do {
      length = this.#transport.receive(this.#buffer)
    } while (length >= 0)
  }

  /** True when the answer is complete with this datagram. */
  #consume(
    request: Request,
    reader: Reader,
    onMessage: (header: MessageHeader, payload: Reader) => Step,
  ): boolean {
    let isDone = false
    forEachMessage(reader, (header, payload) => {
      // A leftover of a request that nobody waits for any more.
      if (header.sequence !== this.#sequence) return true
      switch (header.type) {
        case NLMSG_NOOP:
          return true
        case NLMSG_OVERRUN:
          throw failure(request, { errno: ENOBUFS })
        case NLMSG_ERROR:
          return finish(decodeError(header, payload))
        case NLMSG_DONE:
          onMessage(header, payload)
          return finish(decodeDone(header, payload))
        default:
          isDone = onMessage(header, payload) === 'done'
          return !isDone
      }
    })
    return isDone

    function finish(outcome: Outcome): false {
      if (outcome.errno !== 0) throw failure(request, outcome)
      isDone = true
      return false
    }
  }
}

function failure(request: Request, { errno, extAck }: Outcome): NetlinkError {
  return new NetlinkError({ op: request.op, subject: request.subject, errno, extAck })
}
