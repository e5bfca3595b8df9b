// The size of the flow table by memory.
import { expect, test } from 'vitest'
import { defaultFlowsMax } from './flows-max.ts'

const GIB = 2 ** 30

test.each([
  [1 * GIB, undefined, 65_536],
  [8 * GIB, undefined, 131_072],
  [24 * GIB, 2 ** 64, 262_144],
  [512 * GIB, 0, 524_288],
  [16 * GIB, 0.125 * GIB, 131_072],
  [16 * GIB, 1, 1024],
])('on a machine of %i bytes with the limit %s: %i rows', (totalBytes, limitBytes, rows) => {
  expect(defaultFlowsMax({ totalBytes, limitBytes })).toBe(rows)
})
