// What a request is, and the four ways to make one; verbs are written against this, whoever carries the requests out.
import type { Reader } from './codec/reader.ts'
import type { Writer } from './codec/writer.ts'
import { NetlinkError } from './error.ts'
import type { MessageHeader, Outcome } from './message.ts'

export interface Request {
  readonly type: number
  /** The kernel's name for `type`, for errors: 'RTM_NEWROUTE'. */
  readonly op: string
  /** Besides NLM_F_REQUEST and what the method adds. */
  readonly flags?: number
  /** What it is about, for errors only: 'link eth0'. */
  readonly subject?: string | undefined
  /** Rejects with the signal's reason. A change that waits in line is never made; one on its way may have been. */
  readonly signal?: AbortSignal | undefined
  /** Writes what follows the message header. */
  encode(writer: Writer): void
}

/** What is left to know of a request once it is on its way. */
export type SentRequest = Pick<Request, 'op' | 'subject' | 'signal'>

export type DecodeMessage<T> = (header: MessageHeader, payload: Reader) => T | undefined

export interface Requests {
  /** Sends a change and resolves when the kernel has made it. */
  change(request: Request): Promise<void>
  /**
   * Sends a change whose acknowledgement comes long after it is made, in a way that holds up nobody; resolves at the message
   * before it that says so.
   */
  changeAside(request: Request, isMade: (header: MessageHeader) => boolean): Promise<void>
  /** Sends a question with one answer. */
  reply<T>(request: Request, decode: DecodeMessage<T>): Promise<T>
  /** Lists, whole or not at all. */
  dump<T>(request: Request, decode: DecodeMessage<T>): Promise<T[]>
  /** Lists one by one, as the kernel tells them. */
  stream<T>(request: Request, decode: DecodeMessage<T>): AsyncGenerator<T, void, undefined>
}

/** The same requests, each with this signal. */
export function withSignal(requests: Requests, signal: AbortSignal): Requests {
  return {
    change: (request) => requests.change({ ...request, signal }),
    changeAside: (request, isMade) => requests.changeAside({ ...request, signal }, isMade),
    reply: (request, decode) => requests.reply({ ...request, signal }, decode),
    dump: (request, decode) => requests.dump({ ...request, signal }, decode),
    stream: (request, decode) => requests.stream({ ...request, signal }, decode),
  }
}

export function failure(request: SentRequest, { errno, extAck }: Outcome): NetlinkError {
  return new NetlinkError({ op: request.op, subject: request.subject, errno, extAck })
}
