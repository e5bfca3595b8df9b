// Reads a request's body within a limit and parses it as JSON.
import type { IncomingMessage } from 'node:http'
import { ApiError } from './routes.ts'

const MOST_DISCARDED_BYTES = 64 << 20

/** Undefined when there is no body. @throws ApiError body-too-large, bad-request */
export async function readJson(incoming: IncomingMessage, maxBytes: number): Promise<unknown> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    length += chunk.length
    // Read on without keeping it: a socket closed with unread bytes in it is reset, and the caller would never see the answer.
    if (length <= maxBytes) chunks.push(chunk)
    else if (length > maxBytes + MOST_DISCARDED_BYTES) break
  }
  if (length > maxBytes) throw tooLarge(length, maxBytes)
  if (length === 0) return undefined
  const text = new TextDecoder('utf-8', { fatal: true })
  try {
    return JSON.parse(text.decode(Buffer.concat(chunks)))
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    throw new ApiError('bad-request', 400, `body: expected JSON in UTF-8: ${detail}`)
  }
}

function tooLarge(foundBytes: number, maxBytes: number): ApiError {
  const message = `body: expected at most ${maxBytes} bytes, found ${foundBytes} or more`
  return new ApiError('body-too-large', 413, message)
}
