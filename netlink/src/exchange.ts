// One request, or several in one datagram, and what comes back: sends, receives, sorts out leftovers. One at a time.
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Reader } from './codec/reader.ts'
import { Writer } from './codec/writer.ts'
import { EAGAIN, ENOBUFS, NetlinkError } from './error.ts'
import {
  beginMessage,
  decodeDone,
  decodeError,
  finishMessage,
  forEachMessage,
  type MessageHeader,
  type Outcome,
  patchSequence,
} from './message.ts'
import { failure, type Request, type SentRequest } from './requests.ts'
import type { Transport } from './socket.ts'
import {
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_NOOP,
  NLMSG_OVERRUN,
} from './socket-constants.ts'

export type Step = 'more' | 'done'

/** What is made of the messages that come back. */
export interface Listener {
  /** NLMSG_DONE is shown too, for its flags. */
  message(header: MessageHeader, payload: Reader): Step
  /** What the kernel says of one request. Absent: an error is thrown, and success ends the exchange. */
  outcome?(header: MessageHeader, outcome: Outcome): Step
}

/** Answers come without a turn of the event loop, so after this many datagrams timers and other sockets get theirs. */
const DATAGRAMS_PER_TURN = 64
/** Holds an acknowledgement with the kernel's words and nearly every single answer; many sockets never need more. */
const FIRST_BYTES = 4096

export class Exchange {
  readonly #transport: Transport
  readonly #writer = new Writer()
  #buffer = new Uint8Array(FIRST_BYTES)
  /** Sequence numbers of what was sent last: `count` of them up to `#last`. */
  #last = 0
  #count = 0
  #datagrams = 0

  constructor(transport: Transport) {
    this.#transport = transport
  }

  get isClosed(): boolean {
    return this.#transport.isClosed
  }

  /** Makes room for datagrams of this size. */
  expect(bytes: number): void {
    if (this.#buffer.length < bytes) this.#buffer = new Uint8Array(bytes)
  }

  send(request: Request, flags: number): void {
    const writer = this.#writer
    writer.reset()
    this.#count = 1
    this.#last = (this.#last + 1) >>> 0
    writeRequest(writer, request, flags, this.#last)
    this.#transport.send(writer.buffer, writer.length)
  }

  /** Sends a datagram of whole messages that begin at `starts`; they get their sequence numbers here. */
  sendMany(datagram: Writer, starts: readonly number[]): void {
    this.#count = starts.length
    for (const start of starts) {
      this.#last = (this.#last + 1) >>> 0
      patchSequence(datagram, start, this.#last)
    }
    this.#transport.send(datagram.buffer, datagram.length)
  }

  /** Where in the datagram the request with this sequence number was. */
  position(sequence: number): number {
    return (sequence - this.#last + this.#count - 1) >>> 0
  }

  /** Reads until the answer is complete. 'cut': a datagram did not fit, the answer is lost, and there is room for it now. */
  async receive(request: SentRequest, listener: Listener): Promise<'done' | 'cut'> {
    for (;;) {
      // Mostly the answer is there and whole, and then there is nothing to await.
      const now = this.#receiveNow(request, listener)
      const step = typeof now === 'string' ? now : await now
      if (step !== 'more') return step
      const turn = this.takeTurns()
      if (turn) await turn
      if (request.signal?.aborted) {
        await this.drain()
        throw request.signal.reason
      }
    }
  }

  /** Reads one datagram, waiting for it where the kernel answers later. */
  async receiveOne(request: SentRequest, listener: Listener): Promise<Step | 'cut'> {
    return this.#receiveNow(request, listener)
  }

  /** Promises where it has to wait. */
  #receiveNow(request: SentRequest, listener: Listener): Step | Promise<Step | 'cut'> {
    const length = this.#transport.receive(this.#buffer)
    if (length === -EAGAIN) return this.#receiveLater(request, listener)
    if (length < 0 || length > this.#buffer.length) return this.#lose(request, length)
    try {
      return this.#consume(request, new Reader(this.#buffer, request.op, length), listener)
    } catch (error) {
      // The kernel refuses a second list (EBUSY) while the rest of this one waits to be read. After its own errors there is no rest.
      if (error instanceof NetlinkError) throw error
      return this.drain().then(() => Promise.reject(error))
    }
  }

  async #receiveLater(request: SentRequest, listener: Listener): Promise<Step | 'cut'> {
    await this.#transport.readable(request.signal)
    return this.#receiveNow(request, listener)
  }

  /** What came cannot be used, and neither can what belongs to it. */
  async #lose(request: SentRequest, length: number): Promise<'cut'> {
    if (length < 0 && length !== -ENOBUFS) throw failure(request, { errno: -length })
    await this.drain()
    if (length > 0) {
      this.#buffer = new Uint8Array(length)
      return 'cut'
    }
    throw failure(request, {
      errno: ENOBUFS,
      extAck: { message: 'the answer was lost, the outcome is unknown', offset: 0 },
    })
  }

  /** Lets the loop turn once in a while. */
  takeTurns(): Promise<unknown> | undefined {
    return ++this.#datagrams % DATAGRAMS_PER_TURN === 0 ? nextTurn() : undefined
  }

  /** The kernel goes on with a list only inside receive, so an empty queue means that nothing more will come. */
  async drain(): Promise<void> {
    while (!this.#transport.isClosed && this.#transport.receive(this.#buffer) >= 0) {
      await this.takeTurns()
    }
  }

  #consume(request: SentRequest, reader: Reader, listener: Listener): Step {
    let step: Step = 'more'
    forEachMessage(reader, (header, payload) => {
      // A leftover of a request that nobody waits for any more.
      if (this.position(header.sequence) >= this.#count) return true
      switch (header.type) {
        case NLMSG_NOOP:
          return true
        case NLMSG_OVERRUN:
          throw failure(request, { errno: ENOBUFS })
        case NLMSG_ERROR:
          step = settle(header, decodeError(header, payload))
          break
        case NLMSG_DONE:
          listener.message(header, payload)
          step = settle(header, decodeDone(header, payload))
          break
        default:
          step = listener.message(header, payload)
      }
      return step === 'more'
    })
    return step

    function settle(header: MessageHeader, outcome: Outcome): Step {
      if (listener.outcome) return listener.outcome(header, outcome)
      if (outcome.errno !== 0) throw failure(request, outcome)
      return 'done'
    }
  }
}

export function writeRequest(
  writer: Writer,
  request: Request,
  flags: number,
  sequence: number,
): void {
  const start = beginMessage(writer, {
    type: request.type,
    flags: NLM_F_REQUEST | flags | (request.flags ?? 0),
    sequence,
    port: 0,
  })
  request.encode(writer)
  finishMessage(writer, start)
}
