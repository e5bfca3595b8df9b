// How much one Service may ask for: what is counted, and what is not.
import { expect, test } from 'vitest'
import { excessOf } from './model-bounds.ts'
import { service } from './testing/objects.ts'

const ports = Array.from({ length: 100 }, (_, at) => ({ name: `p${at}`, port: 1 + at }))
const ranges = (count: number): string[] =>
  Array.from({ length: count }, (_, at) => `10.${at >> 8}.${at & 255}.0/24`)
const asking = (count: number, ingress: readonly object[]) =>
  service('web', '10.96.0.1', {
    spec: { type: 'LoadBalancer', ports, loadBalancerSourceRanges: ranges(count) },
    ingress,
  })
const balanced = [{ ip: '198.51.100.1' }]

test('source ranges count once for each port, where there is a load balancer’s address', () => {
  expect(excessOf(asking(81, balanced), [])).toBeUndefined()
  expect(excessOf(asking(82, balanced), [])).toBe('8192 source ranges (ranges times ports)')
  expect(excessOf(asking(82, []), [])).toBeUndefined()
})
