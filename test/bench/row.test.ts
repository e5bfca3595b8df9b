// The arithmetic behind every figure we print.
import { expect, test } from 'vitest'
import { compare, percentile } from './row.ts'

test('percentile() interpolates between ranks', () => {
  expect(percentile([3, 1, 2], 50)).toBe(2)
  expect(percentile([1, 2, 3, 4], 50)).toBe(2.5)
  expect(percentile([5], 99)).toBe(5)
  expect(() => percentile([], 50)).toThrow(RangeError)
})

test('compare() takes turns, leaves the warm-up out and gives the median of the pairs', async () => {
  const calls: string[] = []
  const side = (name: string, values: number[]) => ({
    name,
    measure: async () => {
      calls.push(name)
      return { time: values.shift() ?? 0 }
    },
  })
  const rows = await compare(
    'x',
    { time: { unit: 'ms', better: 'lower' } },
    { ours: side('ours', [99, 1, 2, 6]), peer: side('peer', [99, 2, 2, 3]) },
    3,
  )
  expect(calls).toEqual(['peer', 'ours', 'ours', 'peer', 'peer', 'ours', 'ours', 'peer'])
  expect(rows).toEqual([
    {
      bench: 'x',
      metric: 'time',
      unit: 'ms',
      ours: 2,
      peer: 2,
      peerName: 'peer',
      ratio: 1,
      better: 'lower',
      runs: 3,
    },
  ])
})
