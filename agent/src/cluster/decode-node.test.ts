// Of a Node: its addresses, and that it leaves: what says so, and what does not.
import { expect, test } from 'vitest'
import { decodeNode } from './decode-node.ts'

const node = (metadata: object, spec: object = {}) =>
  decodeNode({ metadata: { name: 'n1', ...metadata }, spec })

test('addresses are told apart by their type; an ExternalIP that is none is left out', () => {
  const addresses = [
    { type: 'Hostname', address: 'n1' },
    { type: 'ExternalIP', address: '2001:DB8::1' },
    { type: 'InternalIP', address: '192.0.2.1' },
    { type: 'ExternalIP', address: 'n1.example.net' },
  ]
  const decode = (addresses: object[]) =>
    decodeNode({ metadata: { name: 'n1' }, status: { addresses } })
  expect(decode(addresses)).toMatchObject({
    internalIPs: ['192.0.2.1'],
    externalIPs: ['2001:db8::1'],
  })
  expect(decode([])).not.toHaveProperty('externalIPs')
  expect(() => decode([{ type: 'InternalIP', address: 'n1' }])).toThrow(
    'status.addresses[0].address: expected an IP address',
  )
})

test('a Node leaves when it is being deleted or the autoscaler has tainted it', () => {
  expect(node({ deletionTimestamp: '2026-01-01T00:00:00Z' }).isLeaving).toBe(true)
  const taint = { key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }
  expect(node({}, { taints: [{ key: 'x' }, taint] }).isLeaving).toBe(true)
  expect(node({}, { unschedulable: true, taints: [{ key: 'x' }] })).not.toHaveProperty('isLeaving')
  expect(() => node({}, { taints: 'x' })).toThrow('spec.taints: expected a list')
})
