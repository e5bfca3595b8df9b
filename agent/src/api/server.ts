// The agent's HTTP server on its Unix socket: routes, limits, time-outs, one shape of error; knows no capability.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { codeOf, type Log } from '../runtime/log.ts'
import { readJson } from './body.ts'
import { type Api, ApiError, type ApiHandler, type ApiReply, type RouteOptions } from './routes.ts'
import { type BoundSocket, bindSocket } from './socket.ts'

interface Route {
  readonly handler: ApiHandler
  readonly options: RouteOptions
}

export interface Answered {
  readonly method: string
  /** Of the route; undefined when there was none. */
  readonly path: string | undefined
  readonly status: number
  readonly body: unknown
  readonly tookMs: number
}

export interface ApiServerOptions {
  readonly log: Log
  /** Called after each answer, whether or not the caller was still there to hear it. */
  readonly onAnswered?: (answered: Answered) => void
}

const DEFAULT_MAX_BODY_BYTES = 64 << 10
const DEFAULT_TIMEOUT_MS = 30_000
/** A caller that is slower than this in sending its request is cut off. Node-local callers take milliseconds. */
const REQUEST_ARRIVAL_MS = 10_000

export class ApiServer implements Api {
  readonly #log: Log
  readonly #onAnswered: ApiServerOptions['onAnswered']
  readonly #server: Server
  readonly #routes = new Map<string, Map<string, Route>>()
  readonly #stopping = new AbortController()
  /** Answers under way, and handlers that go on after their time was over. */
  readonly #inFlight = new Set<Promise<unknown>>()
  #socket: BoundSocket | undefined
  #isListening = false

  constructor({ log, onAnswered }: ApiServerOptions) {
    this.#log = log
    this.#onAnswered = onAnswered
    this.#server = createServer(
      {
        requestTimeout: REQUEST_ARRIVAL_MS,
        headersTimeout: REQUEST_ARRIVAL_MS,
        keepAliveTimeout: 1,
      },
      (incoming, response) => {
        const work = this.#serve(incoming, response).catch((error: unknown) => {
          this.#log.error({ url: incoming.url, error }, 'api: no answer could be sent')
          response.destroy()
        })
        this.#track(work)
      },
    )
  }

  route(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    handler: ApiHandler,
    options: RouteOptions = {},
  ): void {
    const methods = this.#routes.get(path) ?? new Map<string, Route>()
    if (methods.has(method)) throw new Error(`api: ${method} ${path} is registered twice`)
    methods.set(method, { handler, options })
    this.#routes.set(path, methods)
  }

  /** Makes the socket with mode 0600, in the place of one that nobody serves any more. @throws ApiError */
  async listen(path: string): Promise<void> {
    this.#socket = await bindSocket(this.#server, path)
    this.#isListening = true
  }

  /** On TCP, for probes that cannot reach a Unix socket: the caller sees to it that the host is loopback. @throws ApiError */
  async listenOn({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) => {
        const message = `${host}, port ${port}: ${describeListenError(codeOf(error))}`
        reject(new ApiError('address-unavailable', 500, message, error))
      })
      this.#server.listen({ host, port }, resolve)
    })
    this.#isListening = true
  }

  /** What it listens on: a path, or a host and a port; for tests that let the kernel choose. */
  address(): ReturnType<Server['address']> {
    return this.#server.address()
  }

  /** Takes no new calls, aborts the signals of running ones and waits for their answers. */
  async close(): Promise<void> {
    this.#stopping.abort(new ApiError('stopping', 503, 'the agent is stopping'))
    await this.#socket?.remove()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    while (this.#inFlight.size > 0) await Promise.all(this.#inFlight)
    this.#server.closeAllConnections()
    if (this.#isListening) await closed
    this.#isListening = false
    this.#socket = undefined
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedAt = performance.now()
    const gone = new AbortController()
    response.on('close', () => gone.abort(new ApiError('bad-request', 400, 'the caller went away')))
    let path: string | undefined
    let route: Route | undefined
    let body: unknown
    let reply: ApiReply
    try {
      const url = new URL(incoming.url ?? '/', 'http://agent')
      if (this.#routes.has(url.pathname)) path = url.pathname
      route = this.#find(incoming.method ?? '', url.pathname)
      const { maxBodyBytes = DEFAULT_MAX_BODY_BYTES, timeoutMs = DEFAULT_TIMEOUT_MS } =
        route.options
      body = await readJson(incoming, maxBodyBytes)
      const signal = AbortSignal.any([gone.signal, this.#stopping.signal])
      const { handler } = route
      reply = await within(timeoutMs, signal, (inTime) => {
        const answer = Promise.resolve(handler({ body, query: url.searchParams, signal: inTime }))
        this.#track(answer.catch(() => undefined))
        return answer
      })
    } catch (error) {
      const known = asApiError(error)
      if (known.code === 'internal' && !gone.signal.aborted) {
        this.#log.error({ url: incoming.url, error }, 'api: a handler failed')
      }
      reply = {
        status: known.status,
        body: route?.options.errorBody?.(known, { body }) ?? formatError(known),
      }
    }
    if (!gone.signal.aborted) send(response, reply)
    this.#onAnswered?.({
      method: incoming.method ?? '',
      path,
      status: reply.status,
      body: reply.body,
      tookMs: performance.now() - startedAt,
    })
  }

  #track(work: Promise<unknown>): void {
    const ended: Promise<void> = work.then(() => {
      this.#inFlight.delete(ended)
    })
    this.#inFlight.add(ended)
  }

  #find(method: string, path: string): Route {
    const methods = this.#routes.get(path)
    if (methods === undefined) throw new ApiError('not-found', 404, `no such path: ${path}`)
    const route = methods.get(method)
    if (route === undefined) {
      const known = [...methods.keys()].join(', ')
      throw new ApiError('method-not-allowed', 405, `${path} takes ${known}, not ${method}`)
    }
    return route
  }
}

/** The handler is told and the caller answered; a handler that does not listen to its signal goes on unheard. */
async function within(
  timeoutMs: number,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<ApiReply>,
): Promise<ApiReply> {
  signal.throwIfAborted()
  const late = new AbortController()
  const inTime = AbortSignal.any([signal, late.signal])
  const timer = setTimeout(() => {
    late.abort(new ApiError('timeout', 504, `not done after ${timeoutMs} ms`))
  }, timeoutMs)
  const outOfTime = new Promise<never>((_resolve, reject) => {
    late.signal.addEventListener('abort', () => reject(late.signal.reason), { once: true })
  })
  try {
    return await Promise.race([run(inTime), outOfTime])
  } finally {
    clearTimeout(timer)
  }
}

function describeListenError(code: string | undefined): string {
  if (code === 'EADDRINUSE') return 'another process listens there; choose another port'
  if (code === 'EADDRNOTAVAIL') return 'this machine has no such address'
  return `cannot listen there (${code ?? 'unknown reason'})`
}

function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new ApiError(codeOf(error) ?? 'internal', 500, message, error)
}

function formatError(error: ApiError): unknown {
  return { error: { code: error.code, message: error.message } }
}

function send(response: ServerResponse, { status, body, contentType }: ApiReply): void {
  const isText = typeof body === 'string' && contentType !== undefined
  const text = isText ? body : body === undefined ? '' : JSON.stringify(body)
  const bytes = Buffer.from(text)
  response.writeHead(status, {
    'content-type': contentType ?? 'application/json',
    'content-length': bytes.length,
    connection: 'close',
  })
  response.end(bytes)
}
