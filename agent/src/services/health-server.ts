// A port on the network that answers one question, to callers that nobody vouches for: few, short, one request each.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { codeOf } from '../runtime/log.ts'
import { ConnectionBudget } from './connection-budget.ts'
import type { HealthAnswer } from './health-answers.ts'

export class PortError extends Error {
  override readonly name = 'PortError'
  readonly code: 'port-in-use' | 'address-unavailable'

  constructor(code: PortError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Undefined: there is nothing at that path. */
export type Answerer = (path: string) => HealthAnswer | undefined

const MOST_HEADER_BYTES = 8 << 10
/** A probe is one packet; who takes longer is cut off. */
const WITHIN_MS = 3_000

export interface HealthServer {
  /** What the kernel chose, where port 0 was asked for. */
  readonly port: number
  close(): Promise<void>
}

/** `host` of all zero: every address of the node, of both families where it has them. @throws PortError */
export async function serveHealth(
  { host, port }: { readonly host: string; readonly port: number },
  answer: Answerer,
  budget = new ConnectionBudget(),
): Promise<HealthServer> {
  const isAny = host === '0.0.0.0' || host === '::'
  const server = createHealthServer(answer)
  server.on('connection', (socket) => budget.add(server, socket))
  try {
    await listen(server, isAny ? '::' : host, port)
  } catch (error) {
    if (!isAny || !hasNoIpv6(error)) throw explain(error, host, port)
    await listen(server, '0.0.0.0', port).catch((second: unknown) => {
      throw explain(second, host, port)
    })
  }
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function createHealthServer(answer: Answerer): Server {
  const server = createServer(
    {
      maxHeaderSize: MOST_HEADER_BYTES,
      headersTimeout: WITHIN_MS,
      requestTimeout: WITHIN_MS,
      connectionsCheckingInterval: 1_000,
    },
    (incoming, response) => {
      // Bodies are of no interest; what has come of one is thrown away.
      incoming.resume()
      const path = (incoming.url ?? '/').replace(/[?#].*$/s, '')
      const { status, headers, body } = answer(path) ?? NOT_FOUND
      const length = Buffer.byteLength(body)
      response.writeHead(status, { ...headers, 'content-length': length, connection: 'close' })
      response.end(body)
    },
  )
  server.timeout = WITHIN_MS
  return server
}

const NOT_FOUND = {
  status: 404,
  headers: { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' },
  body: '404 page not found\n',
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function hasNoIpv6(error: unknown): boolean {
  return codeOf(error) === 'EAFNOSUPPORT' || codeOf(error) === 'EADDRNOTAVAIL'
}

function explain(error: unknown, host: string, port: number): PortError {
  const code = codeOf(error)
  const where = `${host.includes(':') ? `[${host}]` : host}:${port}`
  if (code === 'EADDRINUSE') {
    const message = `${where}: another process listens there: ss -ltnp 'sport = :${port}' names it`
    return new PortError('port-in-use', message, { cause: error })
  }
  const reason =
    code === 'EADDRNOTAVAIL' ? 'the node has no such address' : `cannot listen: ${code}`
  return new PortError('address-unavailable', `${where}: ${reason}`, { cause: error })
}
