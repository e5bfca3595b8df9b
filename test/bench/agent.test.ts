// How memory is read from what the kernel says of a process.
import { expect, test } from 'vitest'
import { memoryOf } from './agent.ts'

test('memoryOf() gives MiB of anonymous and of all resident pages', () => {
  const rollup = 'Rss:               77824 kB\nPss:  1 kB\nAnonymous:         16384 kB\n'
  expect(memoryOf(rollup)).toEqual({ anonymous: 16, rss: 76 })
  expect(() => memoryOf('Rss: 1 kB\n')).toThrow('no Anonymous')
})
