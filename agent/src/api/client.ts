// One call to the agent over its Unix socket, for the command line: answers, or says what to do when there is no answer.
import { request } from 'node:http'
import { codeOf } from '../runtime/log.ts'

export type ClientErrorCode = 'unreachable' | 'forbidden' | 'refused' | 'bad-answer'

export class ClientError extends Error {
  override readonly name = 'ClientError'
  readonly code: ClientErrorCode

  constructor(code: ClientErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

export interface ClientOptions {
  readonly socket: string
  readonly timeoutMs?: number
}

const DEFAULT_TIMEOUT_MS = 5_000

/** The body of a 2xx answer, parsed. @throws ClientError */
export function get(path: string, options: ClientOptions): Promise<unknown> {
  return ask('GET', path, options)
}

/** The same, for what changes something. @throws ClientError */
export function post(path: string, options: ClientOptions): Promise<unknown> {
  return ask('POST', path, options)
}

async function ask(method: string, path: string, options: ClientOptions): Promise<unknown> {
  const { status, text } = await call(method, path, options)
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch (error) {
    throw new ClientError('bad-answer', `${path}: the answer is not JSON`, { cause: error })
  }
  if (status >= 200 && status < 300) return body
  throw new ClientError('refused', `${path}: the agent answered ${status}: ${messageOf(body)}`)
}

function call(
  method: string,
  path: string,
  { socket, timeoutMs = DEFAULT_TIMEOUT_MS }: ClientOptions,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => reject(explain(error, socket))
    const outgoing = request(
      { method, socketPath: socket, path, timeout: timeoutMs },
      (incoming) => {
        const chunks: Buffer[] = []
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
        incoming.on('error', fail)
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
        )
      },
    )
    outgoing.on('timeout', () =>
      outgoing.destroy(
        new ClientError(
          'unreachable',
          `${socket}: the agent took the call and did not answer within ${timeoutMs} ms; its log says what it is busy with`,
        ),
      ),
    )
    outgoing.on('error', fail)
    outgoing.end()
  })
}

function explain(error: unknown, socket: string): unknown {
  if (error instanceof ClientError) return error
  const cause = { cause: error }
  switch (codeOf(error)) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new ClientError(
        'unreachable',
        `no agent answers at ${socket}. Start it with 'sinabro agent --source manifests:DIR --node-name NAME', or name its directory with --run-dir if it runs with another`,
        cause,
      )
    case 'EACCES':
    case 'EPERM':
      return new ClientError(
        'forbidden',
        `${socket}: only root may talk to the agent; try sudo`,
        cause,
      )
    default:
      return new ClientError('unreachable', `${socket}: the call broke off`, cause)
  }
}

function messageOf(body: unknown): string {
  if (typeof body !== 'object' || body === null || !('error' in body)) return JSON.stringify(body)
  const { error } = body
  if (typeof error !== 'object' || error === null || !('message' in error)) return String(error)
  return String(error.message)
}
