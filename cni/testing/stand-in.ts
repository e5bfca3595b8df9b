// A stand-in for the agent at the other end of the socket: a real HTTP server that answers as a test wants, also wrongly.
import { createServer, type ServerResponse } from 'node:http'
import type { Place } from './executable.ts'

export interface Received {
  readonly method: string
  readonly path: string
  readonly body: Record<string, unknown>
}

export type Answer = (response: ServerResponse, received: Received) => void

export interface StandIn {
  readonly received: Received[]
}

/** Closed, with its connections, when the test ends. */
export async function standIn(place: Place, answer: Answer): Promise<StandIn> {
  const received: Received[] = []
  const server = createServer((request, response) => {
    let text = ''
    request.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
    })
    request.on('end', () => {
      const body = JSON.parse(text) as Record<string, unknown>
      const one = { method: request.method ?? '', path: request.url ?? '', body }
      received.push(one)
      answer(response, one)
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(place.socket, resolve)
  })
  place.atEnd(() => {
    server.closeAllConnections()
    server.close()
  })
  return { received }
}

/** A proper answer. */
export function json(status: number, body: unknown): Answer {
  return (response) => {
    const text = JSON.stringify(body)
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
    })
    response.end(text)
  }
}

/** These bytes and nothing else; then the connection ends, or hangs. */
export function raw(
  bytes: string | Uint8Array,
  options: { readonly isLeftOpen?: boolean } = {},
): Answer {
  return (response) => {
    if (options.isLeftOpen) response.socket?.write(bytes)
    else response.socket?.end(bytes)
  }
}

export const silence: Answer = () => undefined
