// Requests to the API server over HTTPS: one of several servers, credentials of the moment, every answer bounded and counted.
import type { IncomingMessage } from 'node:http'
import { Agent, type RequestOptions, request as requestHttps } from 'node:https'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { codeOf, type Log } from '../../runtime/log.ts'
import type { ReadCredentials } from './credentials.ts'
import { errorOfStatus, KubernetesApiError } from './error.ts'
import { Traffic } from './traffic.ts'

export interface KubernetesApiOptions {
  /** In the order in which they are tried: https://host:port. */
  readonly servers: readonly string[]
  readonly credentials: ReadCredentials
  readonly userAgent: string
  readonly log: Log
  /** How long the start of an answer may take. */
  readonly answerWithinMs?: number
}

export interface ApiRequest {
  readonly method?: 'GET' | 'POST' | 'PATCH'
  /** As Kubernetes' rules name it: list, watch, create, patch. */
  readonly verb: string
  readonly resource: string
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly accept?: string
  readonly body?: { readonly type: string; readonly value: unknown }
}

export interface StreamOptions {
  readonly signal: AbortSignal
  /** The server has accepted it. */
  onOpen(): void
  onChunk(chunk: Uint8Array): void
  /** It counts as broken when nothing has come for so long. */
  readonly silentMs: number
}

const ANSWER_WITHIN_MS = 30_000
/** A page of a hundred large objects is a few megabytes. */
const MOST_BYTES = 64 << 20
/** Of an answer that says what went wrong. */
const MOST_ERROR_BYTES = 64 << 10
/** A peer that is gone without a word is noticed after this and ten seconds of asking. */
const KEEP_ALIVE_MS = 15_000

export class KubernetesApi {
  readonly traffic = new Traffic()
  readonly #options: KubernetesApiOptions
  readonly #agent = new Agent({ keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, maxFreeSockets: 2 })
  #current = 0

  constructor(options: KubernetesApiOptions) {
    this.#options = options
  }

  /** The server that answered last, or is asked next. */
  get server(): string {
    return this.#options.servers[this.#current] ?? ''
  }

  /** The answer as a whole. @throws KubernetesApiError */
  async json(request: ApiRequest, signal: AbortSignal): Promise<unknown> {
    const { answerWithinMs = ANSWER_WITHIN_MS } = this.#options
    // Twice the time of a first byte for all of it: a server that dribbles is no better than one that is silent.
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(2 * answerWithinMs)])
    const answer = await this.#send(request, inTime)
    const text = await this.#read(request, answer, MOST_BYTES)
    try {
      return JSON.parse(text) as unknown
    } catch (error) {
      throw new KubernetesApiError('bad-answer', `${this.server}: no JSON came`, { cause: error })
    }
  }

  /** Hands on what comes until the server ends it. @throws KubernetesApiError */
  async stream(request: ApiRequest, options: StreamOptions): Promise<void> {
    const answer = await this.#send(request, options.signal)
    const { server } = this
    answer.setTimeout(options.silentMs, () => {
      const message = `${server}: nothing came for ${options.silentMs / 1000} s`
      answer.destroy(new KubernetesApiError('silent', message))
    })
    options.onOpen()
    try {
      for await (const chunk of this.#body(request, answer)) options.onChunk(chunk)
    } catch (error) {
      options.signal.throwIfAborted()
      throw asApiError(server, error)
    }
  }

  close(): void {
    this.#agent.destroy()
  }

  /** Asks the server that answered last, then the others; resolves with the answer whose status is 2xx. */
  async #send(request: ApiRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const { servers, log } = this.#options
    let failure: unknown
    for (let tried = 0; tried < servers.length; tried++) {
      const { server } = this
      try {
        const answer = await this.#ask(server, request, signal)
        const status = answer.statusCode ?? 0
        this.traffic.answered(request, status)
        if (status >= 200 && status < 300) return answer
        throw await this.#failure(request, answer, status)
      } catch (error) {
        signal.throwIfAborted()
        const known = asApiError(server, error)
        // Another server may be well while this one starts, stops or has lost its store.
        if (!['unreachable', 'unavailable'].includes(known.code)) throw known
        if (known.code === 'unreachable') this.traffic.answered(request, 0)
        failure = known
        this.#current = (this.#current + 1) % servers.length
        log.debug({ server, error: known, next: this.server }, 'API server does not answer')
      }
    }
    throw failure
  }

  async #ask(server: string, request: ApiRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const { credentials, userAgent, answerWithinMs = ANSWER_WITHIN_MS } = this.#options
    const { ca, cert, key, servername, authorization } = await credentials()
    const { hostname, port, pathname } = new URL(server)
    const { method = 'GET', path, query = {}, accept = 'application/json', body, verb } = request
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body.value))
    const search = new URLSearchParams(query).toString()
    const options: RequestOptions = {
      host: hostname.replace(/^\[(.*)\]$/, '$1'),
      port: port === '' ? 443 : Number(port),
      path: `${pathname.replace(/\/$/, '')}${path}${search === '' ? '' : `?${search}`}`,
      method,
      agent: this.#agent,
      signal,
      headers: {
        accept,
        'user-agent': userAgent,
        // Servers do not compress watches, and an unfinished block would hold events back.
        ...(verb === 'watch' ? {} : { 'accept-encoding': 'gzip' }),
        ...(authorization === undefined ? {} : { authorization }),
        ...(body === undefined ? {} : { 'content-type': body.type }),
        ...(payload === undefined ? {} : { 'content-length': payload.length }),
      },
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(servername === undefined ? {} : { servername }),
    }
    return await new Promise((resolve, reject) => {
      const sent = requestHttps(options, (answer) => {
        sent.setTimeout(0)
        resolve(answer)
      })
      sent.setTimeout(answerWithinMs, () => {
        sent.destroy(
          new KubernetesApiError('unreachable', `no answer within ${answerWithinMs / 1000} s`),
        )
      })
      sent.on('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS))
      sent.on('error', reject)
      sent.end(payload)
    })
  }

  async #failure(request: ApiRequest, answer: IncomingMessage, status: number): Promise<Error> {
    const text = await this.#read(request, answer, MOST_ERROR_BYTES).catch(() => '')
    let body: unknown
    try {
      body = JSON.parse(text)
    } catch {
      body = undefined
    }
    const { verb, resource } = request
    return errorOfStatus(status, body, `${verb} ${resource}`, answer.headers['retry-after'])
  }

  async #read(request: ApiRequest, answer: IncomingMessage, most: number): Promise<string> {
    const { server } = this
    const chunks: Uint8Array[] = []
    let size = 0
    try {
      for await (const chunk of this.#body(request, answer)) {
        size += chunk.length
        if (size > most) {
          throw new KubernetesApiError('too-large', `${server}: answer above ${most} bytes`)
        }
        chunks.push(chunk)
      }
    } catch (error) {
      throw asApiError(server, error)
    }
    return Buffer.concat(chunks, size).toString('utf8')
  }

  #body(request: ApiRequest, answer: IncomingMessage): AsyncIterable<Uint8Array> {
    const counted = this.#counted(request, answer)
    if (answer.headers['content-encoding'] !== 'gzip') return counted
    const unpacked = createGunzip()
    // An error on the way reaches whoever reads the unpacked end.
    pipeline(counted, unpacked, () => undefined)
    return unpacked
  }

  async *#counted(request: ApiRequest, answer: IncomingMessage): AsyncGenerator<Uint8Array> {
    for await (const chunk of answer as AsyncIterable<Uint8Array>) {
      this.traffic.received(request, chunk.length)
      yield chunk
    }
  }
}

function asApiError(server: string, error: unknown): KubernetesApiError {
  if (error instanceof KubernetesApiError) return error
  const reason = error instanceof Error ? (codeOf(error) ?? error.message) : String(error)
  const detail = error instanceof Error && error.message !== reason ? ` (${error.message})` : ''
  return new KubernetesApiError('unreachable', `${server}: ${reason}${detail}`, { cause: error })
}
