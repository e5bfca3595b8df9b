// What a watcher of flows is told.
import { expect, test } from 'vitest'
import type { FlowView } from './views.ts'
import { byEnds, changesOf, formatChange } from './watch-flows.ts'

const flow: FlowView = {
  protocol: 'tcp',
  source: { address: '10.1.0.2', port: 4000 },
  destination: { address: '198.51.100.7', port: 443 },
  state: 'opening',
  way: 'stack',
  ageSec: 1,
  idleSec: 1,
}
const at = (...flows: FlowView[]) => byEnds({ flows })

test('what begins, what changes and what is gone, and nothing else', () => {
  const other: FlowView = { ...flow, source: { address: '10.1.0.3', port: 1 } }
  expect(changesOf(at(), at(flow))).toEqual([{ flow, isGone: false }])
  expect(changesOf(at(flow), at({ ...flow, ageSec: 5, idleSec: 0 }))).toEqual([])
  const answered: FlowView = { ...flow, state: 'established' }
  expect(changesOf(at(flow, other), at(answered))).toEqual([
    { flow: answered, isGone: false },
    { flow: other, isGone: true },
  ])
})

test('another connection between the same ends is told of', () => {
  const old: FlowView = { ...flow, ageSec: 100 }
  expect(changesOf(at(old), at(flow))).toEqual([{ flow, isGone: false }])
})

test('as lines of a table whose columns only grow, or of JSON', () => {
  const widths: number[] = []
  expect(formatChange({ flow, isGone: false }, 'table', widths)).toBe(
    'tcp  10.1.0.2:4000  -  198.51.100.7:443  -  opening  stack',
  )
  const udp: FlowView = { ...flow, protocol: 'udp', source: { address: '10.1.0.2', port: 1 } }
  expect(formatChange({ flow: udp, isGone: true }, 'table', widths)).toBe(
    'udp  10.1.0.2:1     -  198.51.100.7:443  -  gone     stack',
  )
  expect(JSON.parse(formatChange({ flow, isGone: true }, 'json'))).toEqual({
    ...flow,
    isGone: true,
  })
})
