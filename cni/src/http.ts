// HTTP/1.1 as far as one request per connection with Content-Length needs it: text of a request, parser of an answer. No socket.
import { limits } from './wire.ts'

export interface HttpResponse {
  readonly status: number
  readonly body: Uint8Array
}

export class ProtocolError extends Error {}

/** `bodyBytes` is the length of `body` in UTF-8. */
export function formatRequest(path: string, body: string, bodyBytes: number): string {
  const head = [
    `POST ${path} HTTP/1.1`,
    'Host: sinabro',
    'Content-Type: application/json',
    `Content-Length: ${bodyBytes}`,
    'Connection: close',
  ]
  return `${head.join('\r\n')}\r\n\r\n${body}`
}

/** Takes the answer in pieces of any size. */
export class ResponseParser {
  #received = new Uint8Array(0)
  #head: { status: number; bodyAt: number; bodyBytes: number } | undefined

  /** The answer once it is whole. @throws ProtocolError when it can never be. */
  push(piece: Uint8Array): HttpResponse | undefined {
    const received = new Uint8Array(this.#received.length + piece.length)
    received.set(this.#received)
    received.set(piece, this.#received.length)
    this.#received = received
    this.#head ??= parseHead(received)
    if (!this.#head) return undefined
    const { status, bodyAt, bodyBytes } = this.#head
    const extraBytes = received.length - bodyAt - bodyBytes
    if (extraBytes > 0)
      throw new ProtocolError(`${extraBytes} bytes follow the announced ${bodyBytes}`)
    return extraBytes < 0 ? undefined : { status, body: received.subarray(bodyAt) }
  }
}

function parseHead(received: Uint8Array) {
  const end = findHeadEnd(received)
  if (end < 0) {
    if (received.length < limits.responseHeadBytes) return undefined
    throw new ProtocolError(`no end of the header in ${limits.responseHeadBytes} bytes`)
  }
  const lines = String.fromCharCode(...received.subarray(0, end)).split('\r\n')
  const status = /^HTTP\/1\.[01] ([2-5]\d\d)( |$)/.exec(lines[0] ?? '')?.[1]
  if (!status) throw new ProtocolError('the first line is not an HTTP/1.1 status')
  return { status: Number(status), bodyAt: end + 4, bodyBytes: contentLength(lines.slice(1)) }
}

function contentLength(lines: readonly string[]): number {
  const lengths = new Set<string>()
  for (const line of lines) {
    const [, name, value] = /^([!-9;-~]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? []
    if (!name) throw new ProtocolError('a header line without a name')
    if (name.toLowerCase() === 'transfer-encoding')
      throw new ProtocolError('transfer-encoding is not spoken')
    if (name.toLowerCase() === 'content-length') lengths.add(value ?? '')
  }
  const [length, ...others] = lengths
  if (length === undefined || others.length > 0 || !/^\d{1,9}$/.test(length))
    throw new ProtocolError('content-length must be there once, a number')
  if (Number(length) > limits.responseBytes)
    throw new ProtocolError(`a body of ${length} bytes, at most ${limits.responseBytes} are read`)
  return Number(length)
}

const [cr, lf] = [13, 10]

/** Where CR LF CR LF begins, or -1. Looks no further than a header may be long. */
function findHeadEnd(bytes: Uint8Array): number {
  const end = Math.min(bytes.length, limits.responseHeadBytes) - 3
  for (let at = 0; at < end; at++) {
    if (bytes[at] === cr && bytes[at + 1] === lf && bytes[at + 2] === cr && bytes[at + 3] === lf)
      return at
  }
  return -1
}
