// The cost benchmark measures the real thing: every case gives its verdict and its bytes. Its figures are not judged here.
import { expect, test } from 'vitest'
import { measureCosts } from './cost.ts'

test('each case of the cost benchmark does what its packet must do', async () => {
  const costs = await measureCosts({ repeat: 100, rounds: 1 })
  expect(costs.length).toBe(40)
  for (const { path, ns } of costs) expect(ns, path).toSatisfy(Number.isFinite)
})
