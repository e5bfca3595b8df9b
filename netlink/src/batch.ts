// Changes that travel together: many messages in one datagram, one acknowledgement for all of them, an error for each that failed.
import { Writer } from './codec/writer.ts'
import { EMSGSIZE } from './error.ts'
import { type Exchange, writeRequest } from './exchange.ts'
import { type MessageHeader, patchFlags } from './message.ts'
import { type DecodeMessage, failure, type Request, type Requests } from './requests.ts'
import { NLM_F_ACK, NLM_F_REQUEST } from './socket-constants.ts'

/**
 * If all of a datagram's requests fail, as many errors wait in the receive buffer, of nearly a kilobyte each as the kernel
 * counts, and the default buffer is 208 KiB.
 */
const REQUESTS_PER_DATAGRAM = 128
const BYTES_PER_DATAGRAM = 32 * 1024
/** A hundred routes. */
const FIRST_BYTES = 8192

/** Not the request itself: with thousands of them its parts would live on until the last is answered. */
interface Entry {
  readonly op: string
  readonly subject: string | undefined
  readonly flags: number
  /** Where its message begins in the datagram. */
  readonly start: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

interface Datagram {
  readonly writer: Writer
  readonly entries: Entry[]
}

/** Takes changes in until it is sent; what comes later, and what is no change, is made one by one. */
export class Batch implements Requests {
  readonly #single: Requests
  readonly #datagrams: Datagram[] = []
  #isOpen = true

  constructor(single: Requests) {
    this.#single = single
  }

  /** Encodes at once. */
  change(request: Request): Promise<void> {
    if (!this.#isOpen) return this.#single.change(request)
    return new Promise((resolve, reject) => {
      request.signal?.throwIfAborted()
      const { writer, entries } = this.#room()
      const start = writer.length
      try {
        writeRequest(writer, request, 0, 0)
      } catch (error) {
        writer.truncate(start)
        throw error
      }
      const { op, subject, flags = 0 } = request
      entries.push({ op, subject, flags, start, resolve, reject })
    })
  }

  /** Over a socket of its own, as ever. */
  changeAside(request: Request, isMade: (header: MessageHeader) => boolean): Promise<void> {
    return this.#single.changeAside(request, isMade)
  }

  reply<T>(request: Request, decode: DecodeMessage<T>): Promise<T> {
    return this.#single.reply(request, decode)
  }

  dump<T>(request: Request, decode: DecodeMessage<T>): Promise<T[]> {
    return this.#single.dump(request, decode)
  }

  stream<T>(request: Request, decode: DecodeMessage<T>): AsyncGenerator<T, void, undefined> {
    return this.#single.stream(request, decode)
  }

  /** Takes no more changes in: those that come while it is sent have to wait in line. */
  finish(): void {
    this.#isOpen = false
  }

  /** Never fails: each change has its own outcome. */
  async send(exchange: Exchange, signal: AbortSignal | undefined): Promise<void> {
    for (const { writer, entries } of this.#datagrams) {
      try {
        signal?.throwIfAborted()
        await sendDatagram(exchange, writer, entries, signal)
        await exchange.takeTurns()
      } catch (error) {
        // Those that the kernel has judged by now keep that judgement.
        for (const { reject } of entries) reject(error)
      }
    }
  }

  /** Nothing was sent. */
  fail(error: unknown): void {
    for (const { entries } of this.#datagrams) {
      for (const { reject } of entries) reject(error)
    }
  }

  #room(): Datagram {
    const last = this.#datagrams.at(-1)
    if (
      last &&
      last.entries.length < REQUESTS_PER_DATAGRAM &&
      last.writer.length < BYTES_PER_DATAGRAM
    ) {
      return last
    }
    const datagram = { writer: new Writer(FIRST_BYTES), entries: [] }
    this.#datagrams.push(datagram)
    return datagram
  }
}

/**
 * Only the last request asks for an acknowledgement. The kernel takes them in order and reports errors unasked, so those it has
 * said nothing of by then are made.
 */
async function sendDatagram(
  exchange: Exchange,
  writer: Writer,
  entries: readonly Entry[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const last = entries.at(-1)
  if (last === undefined) return
  patchFlags(writer, last.start, NLM_F_REQUEST | NLM_F_ACK | last.flags)
  exchange.sendMany(
    writer,
    entries.map(({ start }) => start),
  )
  const ended = await exchange.receive(
    { op: last.op, subject: last.subject, signal },
    {
      message: () => 'more',
      outcome({ sequence }, outcome) {
        const entry = entries[exchange.position(sequence)]
        if (entry === undefined) return 'more'
        if (outcome.errno === 0) entry.resolve()
        else entry.reject(failure(entry, outcome))
        return entry === last ? 'done' : 'more'
      },
    },
  )
  for (const entry of entries) {
    if (ended === 'done') entry.resolve()
    else entry.reject(failure(entry, { errno: EMSGSIZE }))
  }
}
