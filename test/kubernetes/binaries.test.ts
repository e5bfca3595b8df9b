// Which Go is new enough.
import { expect, test } from 'vitest'
import { isAtLeast } from './binaries.ts'

test('isAtLeast() compares numbers, not text', () => {
  expect(isAtLeast('1.26.8', '1.26')).toBe(true)
  expect(isAtLeast('1.100', '1.26')).toBe(true)
  expect(isAtLeast('2.0', '1.26')).toBe(true)
  expect(isAtLeast('1.9.2', '1.26')).toBe(false)
  expect(isAtLeast('1.26rc1', '1.26')).toBe(true)
})
