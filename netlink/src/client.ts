// Requests and their answers over one socket: acknowledged changes, single replies, and lists that are repeated until they are whole.
import { Batch } from './batch.ts'
import { EBADF, EINTR, EMSGSIZE } from './error.ts'
import { Exchange } from './exchange.ts'
import { Line } from './line.ts'
import type { MessageHeader } from './message.ts'
import { type DecodeMessage, failure, type Request, type Requests } from './requests.ts'
import type { Transport } from './socket.ts'
import { NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE } from './socket-constants.ts'

export interface ClientOptions {
  /** Size of the receive buffer for lists. The kernel makes datagrams of up to this size, and none over 32 KiB if it can. */
  readonly listBytes?: number
}

/** A list is read again this often when the kernel says that it changed under the reader. */
const MAX_DUMP_TRIES = 20
const DEFAULT_LIST_BYTES = 32 * 1024

/** For a batch in line, which has no request of its own. */
const batchRequest: Request = { type: 0, op: 'batch', encode: () => undefined }

/**
 * One request is on its way at a time; others wait in line. The kernel answers within `send()`, so a request is finished
 * without a turn of the event loop unless a subsystem answers later.
 */
export class NetlinkClient implements Requests {
  readonly #transport: Transport
  readonly #exchange: Exchange
  readonly #listBytes: number
  readonly #line = new Line()

  constructor(transport: Transport, { listBytes = DEFAULT_LIST_BYTES }: ClientOptions = {}) {
    this.#transport = transport
    this.#exchange = new Exchange(transport)
    this.#listBytes = listBytes
  }

  /** Sends a change and resolves when the kernel has made it: at the acknowledgement, or at a message before it that says so. */
  async change(
    request: Request,
    isMade: (header: MessageHeader) => boolean = () => false,
  ): Promise<void> {
    await this.#exclusively(request, async (exchange) => {
      exchange.send(request, NLM_F_ACK)
      const ended = await exchange.receive(request, {
        message: (header) => (isMade(header) ? 'done' : 'more'),
      })
      if (ended === 'cut') throw failure(request, { errno: EMSGSIZE })
    })
  }

  async changeAside(request: Request, isMade: (header: MessageHeader) => boolean): Promise<void> {
    request.signal?.throwIfAborted()
    const client = new NetlinkClient(this.#transport.another({ isAside: true }))
    try {
      // What it hears may be a whole object and not only an acknowledgement.
      client.#exchange.expect(this.#listBytes)
      await client.change(request, isMade)
    } finally {
      client.close()
    }
  }

  async reply<T>(request: Request, decode: DecodeMessage<T>): Promise<T> {
    return this.#exclusively(request, async (exchange) => {
      let answer: T | undefined
      let ended: 'done' | 'cut'
      do {
        exchange.send(request, 0)
        ended = await exchange.receive(request, {
          message(header, payload) {
            answer = decode(header, payload)
            return answer === undefined ? 'more' : 'done'
          },
        })
      } while (ended === 'cut')
      if (answer === undefined) throw failure(request, { errno: EMSGSIZE })
      return answer
    })
  }

  /**
   * Lists. A list that changed while it was read (NLM_F_DUMP_INTR) or was cut is read again from its beginning.
   * @throws NetlinkError EINTR when it never came out whole
   */
  async dump<T>(request: Request, decode: DecodeMessage<T>): Promise<T[]> {
    return this.#exclusively(request, async (exchange) => {
      exchange.expect(this.#listBytes)
      for (let tries = 0; tries < MAX_DUMP_TRIES; tries++) {
        const list: T[] = []
        let isInterrupted = false
        exchange.send(request, NLM_F_DUMP)
        const ended = await exchange.receive(request, {
          message(header, payload) {
            if (header.flags & NLM_F_DUMP_INTR) isInterrupted = true
            if (header.type === NLMSG_DONE) return 'done'
            // An interrupted list is thrown away, and may hold half an object: read it to its end, but not into it.
            if (!isInterrupted) {
              const one = decode(header, payload)
              if (one !== undefined) list.push(one)
            }
            return 'more'
          },
        })
        if (ended === 'done' && !isInterrupted) return list
      }
      throw failure(request, {
        errno: EINTR,
        extAck: { message: `the list changed during each of ${MAX_DUMP_TRIES} reads`, offset: 0 },
      })
    })
  }

  /**
   * Lists one by one, holding no more than a datagram of them, over a socket of its own: other requests may be made meanwhile.
   * Leaving the loop ends it.
   * @throws NetlinkError EINTR as soon as the list changes while it is read; what came before may be repeated or missing then
   */
  async *stream<T>(request: Request, decode: DecodeMessage<T>): AsyncGenerator<T, void, undefined> {
    request.signal?.throwIfAborted()
    const transport = this.#transport.another()
    try {
      const exchange = new Exchange(transport)
      exchange.expect(this.#listBytes)
      yield* streamOver(exchange, request, decode)
    } finally {
      transport.close()
    }
  }

  /**
   * Makes changes that travel together: those that `fill` asks of its argument before it returns. Resolves when each has its
   * outcome, in the order of the promises `fill` returns.
   */
  async batch<T>(
    fill: (requests: Requests) => readonly Promise<T>[],
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<PromiseSettledResult<T>[]> {
    const batch = new Batch(this)
    const outcomes = Promise.allSettled(fill(batch))
    batch.finish()
    const request = signal ? { ...batchRequest, signal } : batchRequest
    try {
      await this.#exclusively(request, (exchange) => batch.send(exchange, signal))
    } catch (error) {
      batch.fail(error)
    }
    return outcomes
  }

  /** Requests under way and in line are rejected with EBADF. */
  close(): void {
    this.#transport.close()
  }

  async #exclusively<T>(request: Request, run: (exchange: Exchange) => Promise<T>): Promise<T> {
    const myTurn = this.#line.enter(request.signal)
    if (myTurn) await myTurn
    try {
      if (this.#exchange.isClosed) {
        throw failure(request, {
          errno: EBADF,
          extAck: { message: 'the socket is closed', offset: 0 },
        })
      }
      const loopTurn = this.#exchange.takeTurns()
      if (loopTurn) await loopTurn
      return await run(this.#exchange)
    } finally {
      this.#line.leave()
    }
  }
}

async function* streamOver<T>(
  exchange: Exchange,
  request: Request,
  decode: DecodeMessage<T>,
): AsyncGenerator<T, void, undefined> {
  let count = 0
  exchange.send(request, NLM_F_DUMP)
  for (;;) {
    const list: T[] = []
    const step = await exchange.receiveOne(request, {
      message(header, payload) {
        if (header.flags & NLM_F_DUMP_INTR) {
          const extAck = { message: 'the list changed while it was read', offset: 0 }
          throw failure(request, { errno: EINTR, extAck })
        }
        if (header.type === NLMSG_DONE) return 'done'
        const one = decode(header, payload)
        if (one !== undefined) list.push(one)
        return 'more'
      },
    })
    if (step === 'cut') {
      if (count > 0) throw failure(request, { errno: EMSGSIZE })
      exchange.send(request, NLM_F_DUMP)
      continue
    }
    count += list.length
    for (const one of list) {
      yield one
      request.signal?.throwIfAborted()
    }
    if (step === 'done') return
    await exchange.takeTurns()
  }
}
