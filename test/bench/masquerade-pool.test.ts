// The figures of a pool, from what each of its ports took.
import { expect, test } from 'vitest'
import { poolFigures } from './masquerade-pool.ts'

test('poolFigures() compares ports that were looked for with those that were not', () => {
  const kept = Array.from({ length: 990 }, (_, i) => (i < 800 ? 90_000 : 10_000))
  const found = Array.from({ length: 9 }, () => 25_000)
  const figures = poolFigures(kept, found, 1000)
  expect(figures['first failure']).toBeCloseTo(99.9)
  expect(figures['a port at 99 % full']).toBeCloseTo(15)
})
