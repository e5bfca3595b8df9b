// A Node that leaves: what says so, and what does not.
import { expect, test } from 'vitest'
import { decodeNode } from './decode-node.ts'

const node = (metadata: object, spec: object = {}) =>
  decodeNode({ metadata: { name: 'n1', ...metadata }, spec })

test('a Node leaves when it is being deleted or the autoscaler has tainted it', () => {
  expect(node({ deletionTimestamp: '2026-01-01T00:00:00Z' }).isLeaving).toBe(true)
  const taint = { key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }
  expect(node({}, { taints: [{ key: 'x' }, taint] }).isLeaving).toBe(true)
  expect(node({}, { unschedulable: true, taints: [{ key: 'x' }] })).not.toHaveProperty('isLeaving')
  expect(() => node({}, { taints: 'x' })).toThrow('spec.taints: expected a list')
})
