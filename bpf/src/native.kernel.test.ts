// The addon by itself: wrong arguments are refused with -EINVAL or another errno, never a crash.
import { constants } from 'node:os'
import { expect, test } from 'vitest'
import { native } from './native.ts'

type Call = (...args: readonly unknown[]) => unknown
const functions = Object.entries(native() as unknown as Record<string, Call>).filter(
  ([name]) => name !== 'possibleCpus',
)
const notFds = [
  undefined,
  null,
  -1,
  2 ** 31,
  1.5,
  Number.NaN,
  'x',
  '\0',
  {},
  [],
  new Uint8Array(),
  7n,
]

test('there are functions to call', () => {
  expect(functions.length).toBeGreaterThan(20)
})

test.each(functions)('%s() without arguments is refused', async (_, call) => {
  expect(await call()).toBe(-constants.errno.EINVAL)
})

test.each(functions)('%s() refuses every wrong first argument', async (_, call) => {
  for (const value of notFds) {
    const result = await call(value, value, value, value, value, value, value, value)
    expect(result).toBeLessThan(0)
  }
})

test('bytes of another element type are refused', () => {
  const words = new Uint32Array(2) as unknown as Uint8Array
  expect(native().mapLookup(0, words, words, 0)).toBe(-constants.errno.EINVAL)
})

test('a path too long for the kernel is refused', () => {
  expect(native().getPinned('x'.repeat(5000))).toBe(-constants.errno.EINVAL)
})
