// One call to the agent over its Unix socket: connects (again while it may), sends, waits for the answer, all before a deadline.
import { isObject, isTooDeep, type Json } from './config.ts'
import { CniError } from './errors.ts'
import { checked, isSystemError, type NativeHost } from './host.ts'
import { formatRequest, type HttpResponse, ProtocolError, ResponseParser } from './http.ts'
import { type AgentVerb, agentPaths, type CniRequest, codes, limits } from './wire.ts'

/**
 * Why there is no answer. `absent`: nobody listens. `broken`: the connection ended before the answer was whole.
 * `silent`: the deadline passed. `garbled`: this is not our protocol. `failed`: anything else, say no permission.
 */
export type Unavailability = 'absent' | 'broken' | 'silent' | 'garbled' | 'failed'

export class AgentUnavailable extends Error {
  readonly reason: Unavailability

  constructor(reason: Unavailability, message: string) {
    super(message)
    this.reason = reason
  }
}

export interface Deadlines {
  /** Until then a missing agent is asked again. */
  readonly retryUntilMs: number
  readonly untilMs: number
}

const retryPauseMs = 50
/** Verbs are idempotent per key, so a call that an agent's restart cut off is made again; once, lest our call be what ends it. */
const maxBrokenConnections = 2

/**
 * The body of the agent's 200 answer.
 * @throws CniError that the agent sent; AgentUnavailable when there was no answer.
 */
export function callAgent(
  host: NativeHost,
  socket: string,
  verb: AgentVerb,
  request: CniRequest,
  deadlines: Deadlines,
): Json {
  const body = JSON.stringify(request)
  const bodyBytes = host.utf8Length(body)
  if (bodyBytes > limits.requestBytes)
    throw new CniError(
      codes.invalidConfig,
      `the request has ${bodyBytes} bytes, at most ${limits.requestBytes} are sent`,
    )
  const text = formatRequest(agentPaths[verb], body, bodyBytes)
  for (let broken = 0; ; ) {
    try {
      return decodeAnswer(host, exchange(host, socket, text, deadlines.untilMs))
    } catch (error) {
      if (!(error instanceof AgentUnavailable)) throw error
      if (error.reason === 'broken') broken++
      const isTransient =
        error.reason === 'absent' || (error.reason === 'broken' && broken < maxBrokenConnections)
      if (!isTransient || host.nowMs() + retryPauseMs >= deadlines.retryUntilMs) throw error
      host.sleepMs(retryPauseMs)
    }
  }
}

function exchange(host: NativeHost, socket: string, text: string, untilMs: number): HttpResponse {
  const fd = attempt(() => checked(host.connect(socket, untilMs), 'connect', socket), 'connect')
  try {
    attempt(() => checked(host.send(fd, text, untilMs), 'send', socket), 'talk')
    return receive(host, fd, socket, untilMs)
  } finally {
    host.close(fd)
  }
}

function receive(host: NativeHost, fd: number, socket: string, untilMs: number): HttpResponse {
  const parser = new ResponseParser()
  for (;;) {
    const piece = attempt(
      () => checked(host.receive(fd, 64 << 10, untilMs), 'receive', socket),
      'talk',
    )
    if (piece.length === 0)
      throw new AgentUnavailable(
        'broken',
        `${socket}: the agent closed the connection before its answer was whole`,
      )
    const response = attempt(() => parser.push(piece), 'talk')
    if (response) return response
  }
}

/** What the errors of a step mean for the call. A defect of ours stays one. */
function attempt<T>(step: () => T, phase: 'connect' | 'talk'): T {
  try {
    return step()
  } catch (error) {
    if (!(error instanceof ProtocolError) && !isSystemError(error)) throw error
    throw new AgentUnavailable(reasonOf(error, phase), error.message)
  }
}

function reasonOf(error: unknown, phase: 'connect' | 'talk'): Unavailability {
  if (error instanceof ProtocolError) return 'garbled'
  if (isSystemError(error, 'ETIMEDOUT')) return 'silent'
  // EAGAIN: the queue of connections stayed full until the deadline (unix(7)).
  if (phase === 'connect' && isSystemError(error, 'EAGAIN')) return 'silent'
  if (phase === 'connect' && isSystemError(error, 'ENOENT', 'ENOTDIR', 'ECONNREFUSED'))
    return 'absent'
  if (isSystemError(error, 'ECONNRESET', 'EPIPE')) return 'broken'
  return 'failed'
}

function decodeAnswer(host: NativeHost, response: HttpResponse): Json {
  const body = parseBody(host.decodeUtf8(response.body))
  if (response.status === 200) return body
  const { code, msg, details } = body
  if (typeof code !== 'number' || !Number.isInteger(code) || code < 1 || typeof msg !== 'string')
    throw new AgentUnavailable(
      'garbled',
      `the agent answered ${response.status} without a CNI error`,
    )
  throw new CniError(code, msg, typeof details === 'string' ? details : undefined)
}

function parseBody(text: string | undefined): Json {
  const value = parseJson(text ?? '')
  if (isObject(value) && !isTooDeep(value)) return value
  throw new AgentUnavailable(
    'garbled',
    'the agent answered with something that is not a JSON object',
  )
}

/** `undefined` for what is not JSON: what it is instead does not matter. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** For verbs that have no other way than to say that there was no answer. */
export function unavailableError(error: AgentUnavailable): CniError {
  if (error.reason === 'garbled')
    return new CniError(codes.badAgentAnswer, 'the agent gave a bad answer', error.message)
  if (error.reason === 'failed')
    return new CniError(codes.ioFailure, 'cannot talk to the agent', error.message)
  return new CniError(
    codes.tryAgainLater,
    `the agent is not answering (${error.reason})`,
    error.message,
  )
}
