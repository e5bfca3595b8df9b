// The figures of a pool, from what each of its ports took.
import { expect, test } from 'vitest'
import { poolFigures } from './masquerade-pool.ts'

test('poolFigures() compares the ports at the end with those at the beginning', () => {
  const each = Array.from({ length: 1000 }, (_, i) => (i >= 980 ? 25_000 : 10_000))
  const figures = poolFigures(each, 1000)
  expect(figures['first failure']).toBe(100)
  expect(figures['a port at 99 % full']).toBeCloseTo(15)
})

test('poolFigures() of a pool that ends early takes its last ports', () => {
  const each = Array.from({ length: 900 }, (_, i) => (i >= 885 ? 12_000 : 10_000))
  const figures = poolFigures(each, 1000)
  expect(figures['first failure']).toBe(90)
  expect(figures['a port at 99 % full']).toBeCloseTo(2)
})
