// The cost benchmarks measure the real thing: every case gives its verdict and its bytes. Their figures are not judged here.
import { describe, expect, test } from 'vitest'
import { measureCosts } from './cost.ts'
import { costCases } from './cost-cases.ts'
import { serviceCostCases } from './service-cost-cases.ts'
import { measureConnects } from './socket-cost.ts'
import { measureXdp } from './xdp-cost.ts'

describe.each([4, 6])('IPv%i', (family) => {
  test.each([
    ['without services', costCases],
    ['to services', serviceCostCases],
  ])('each packet %s becomes what it must', async (_, all) => {
    const cases = all.filter((one) => one.family === family)
    const costs = await measureCosts(cases, 100)
    expect(costs).toHaveLength(cases.length)
    for (const { path, ns } of costs) expect(ns, path).toSatisfy(Number.isFinite)
  })
})

test('each connect() is one run of our program and one of the empty one', async () => {
  const costs = await measureConnects(100)
  expect(costs.map(({ path, family }) => `${path}, IPv${family}`)).toEqual([
    'connect() to a service, IPv4',
    'connect() to somebody else, IPv4',
    'connect() to a service, IPv6',
    'connect() to somebody else, IPv6',
  ])
})

test('each frame that XDP goes on with becomes what it must', async () => {
  const costs = await measureXdp(100)
  expect(costs).toHaveLength(8)
  for (const { path, ns } of costs) expect(ns, path).toSatisfy(Number.isFinite)
})
