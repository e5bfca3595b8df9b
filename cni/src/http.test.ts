// The HTTP parser on its own: every split of an answer, every strict prefix, and heads that must be refused.
import { expect, test } from 'vitest'
import { formatRequest, ProtocolError, ResponseParser } from './http.ts'
import { limits } from './wire.ts'

const text = 'HTTP/1.1 409 Conflict\r\nX-Empty:\r\nCONTENT-LENGTH: 7\r\n\r\n{"a":1}'
const bytes = Buffer.from(text)

test('ResponseParser gives the same answer however it is cut, and nothing for a strict prefix', () => {
  for (let cut = 0; cut <= bytes.length; cut++) {
    const parser = new ResponseParser()
    const first = parser.push(bytes.subarray(0, cut))
    expect(first === undefined).toBe(cut < bytes.length)
    const response = first ?? parser.push(bytes.subarray(cut))
    expect(response?.status).toBe(409)
    expect(Buffer.from(response?.body ?? []).toString()).toBe('{"a":1}')
  }
})

test.each([
  ['HTTP/2 200\r\n\r\n'],
  ['HTTP/1.1 20\r\n\r\n'],
  ['HTTP/1.1 100 Continue\r\n\r\n'],
  ['HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n'],
  ['HTTP/1.1 200 OK\r\nContent-Length: 0x10\r\n\r\n'],
  ['HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}'],
  ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n folded\r\n\r\n{}'],
  [`HTTP/1.1 200 OK\r\nContent-Length: ${limits.responseBytes + 1}\r\n\r\n`],
  ['x'.repeat(limits.responseHeadBytes)],
])('ResponseParser refuses %j', (answer) => {
  expect(() => new ResponseParser().push(Buffer.from(answer))).toThrow(ProtocolError)
})

test('formatRequest() announces bytes, not characters', () => {
  const body = '{"a":"ü"}'
  expect(formatRequest('/v1/x', body, Buffer.byteLength(body))).toBe(
    'POST /v1/x HTTP/1.1\r\nHost: sinabro\r\nContent-Type: application/json\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{"a":"ü"}',
  )
})
