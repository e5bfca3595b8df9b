// Ports as text, as bits of the map, and how many are left.
import { expect, test } from 'vitest'
import { countFree, formatRange, parsePorts, parseRange, reservedBits } from './ports.ts'

test('parsePorts() reads what the kernel writes', () => {
  expect(parsePorts('')).toEqual([])
  expect(parsePorts('8080,30000-32767\n')).toEqual([
    { first: 8080, last: 8080 },
    { first: 30_000, last: 32_767 },
  ])
})

test.each(['x', '-1', '70000', '5-4', '1-2-3', '1,x', '0x10'])(
  'parsePorts() knows no %s',
  (text) => {
    expect(parsePorts(text)).toBeUndefined()
  },
)

test('formatRange() is what parseRange() reads', () => {
  for (const text of ['8080', '30000-32767']) {
    const range = parseRange(text)
    expect(range && formatRange(range)).toBe(text)
  }
})

test('reservedBits() sets bit port % 64 of row port / 64', () => {
  const rows = reservedBits([
    { first: 63, last: 64 },
    { first: 65_535, last: 65_535 },
  ])
  expect(rows).toHaveLength(1024)
  expect(rows.flatMap((bits, row) => (bits === 0n ? [] : [[row, bits]]))).toEqual([
    [0, 1n << 63n],
    [1, 1n],
    [1023, 1n << 63n],
  ])
})

test('countFree() leaves reserved ports out, and those outside of the range in peace', () => {
  const range = { first: 40_000, last: 40_009 }
  const reserved = [
    { first: 1, last: 100 },
    { first: 40_008, last: 50_000 },
    { first: 40_008, last: 40_008 },
  ]
  expect(countFree(range, reserved)).toBe(8)
})
