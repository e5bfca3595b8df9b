// The address plan and the names it accepts.
import { expect, test } from 'vitest'
import { LabError } from './errors.ts'
import { checkName, nodePlan } from './plan.ts'

test('nodePlan() gives node 10 its addresses and ranges in both families', () => {
  expect(nodePlan(10, 'dual')).toEqual({
    name: 'node10',
    internalIps: ['172.18.0.10', 'fd18::a'],
    addresses: [
      { address: '172.18.0.10', prefixLen: 24 },
      { address: 'fd18::a', prefixLen: 64 },
    ],
    podCidrs: ['10.244.10.0/24', 'fd00:10:244:a::/64'],
  })
})

test('nodePlan() of one family leaves the other out', () => {
  expect(nodePlan(1, 'ipv6').internalIps).toEqual(['fd18::1'])
  expect(nodePlan(1, 'ipv4').podCidrs).toEqual(['10.244.1.0/24'])
})

test.each([0, 201, 1.5])('nodePlan() refuses node number %s', (number) => {
  expect(() => nodePlan(number, 'dual')).toThrow(LabError)
})

test.each(['', 'A', '-a', 'a-', 'a/b', '..', 'a'.repeat(41)])('checkName() refuses %j', (name) => {
  expect(() => checkName('lab', name)).toThrow(LabError)
})

test('checkName() takes one letter and forty', () => {
  expect(checkName('lab', 'a')).toBe('a')
  expect(checkName('lab', 'a'.repeat(40))).toHaveLength(40)
})
