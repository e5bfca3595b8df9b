// The pure parts of watching: what an event is, which version is older. The rest runs against a real API server (test/kubernetes).
import { expect, test } from 'vitest'
import { errorOfStatus } from './error.ts'
import { isBefore, parseEvent } from './watcher.ts'

test('parseEvent() takes what an API server sends and refuses the rest', () => {
  expect(parseEvent('{"type":"BOOKMARK","object":{"kind":"Node"}}', 'nodes')).toEqual({
    type: 'BOOKMARK',
    object: { kind: 'Node' },
  })
  for (const line of ['{', 'null', '[]', '{"type":7}', '"ADDED"']) {
    expect(() => parseEvent(line, 'nodes')).toThrow(
      expect.objectContaining({ code: 'bad-answer', message: expect.stringContaining('nodes') }),
    )
  }
})

test.each([
  ['5', '10', true],
  ['10', '5', false],
  ['10', '10', false],
  ['18446744073709551614', '18446744073709551615', true],
  ['', '10', false],
  [undefined, '10', false],
  ['abc', '10', false],
])('isBefore(%s, %s) is %s', (version, other, expected) => {
  expect(isBefore(version, other)).toBe(expected)
})

test.each([
  [401, 'unauthorized'],
  [403, 'forbidden'],
  [404, 'not-found'],
  [410, 'gone'],
  [422, 'refused'],
  [429, 'busy'],
  [500, 'unavailable'],
  [504, 'unavailable'],
])('errorOfStatus() of HTTP %i is %s', (status, code) => {
  expect(errorOfStatus(status, undefined, 'list nodes').code).toBe(code)
})

test('errorOfStatus() says what the server said, and for how long to be quiet', () => {
  const status = { kind: 'Status', message: 'nodes is forbidden: User "x" cannot list' }
  const error = errorOfStatus(403, status, 'list nodes', '7')
  expect(error.message).toBe(
    'list nodes: nodes is forbidden: User "x" cannot list; ' +
      'the ClusterRole sinabro lacks this rule: apply deploy/sinabro.yaml again',
  )
  expect(error.retryAfterMs).toBe(7000)
  expect(errorOfStatus(503, 'odd', 'list nodes', 'Sat, 21 Nov 2026').retryAfterMs).toBeUndefined()
})
