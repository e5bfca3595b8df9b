// Which figure stands beside which.
import { expect, test } from 'vitest'
import { ours, peers } from './masquerade-cost.ts'

test('a masqueraded packet stands beside one between pods of two nodes, of the same family', () => {
  const sums = {
    'pod to outside, masqueraded, IPv4': 150,
    'pod to outside, masqueraded, IPv6': 160,
    'pod to another node, IPv4': 120,
    'pod to another node, IPv6': 130,
  }
  expect(ours(sums)).toEqual({
    'pod to outside, masqueraded, IPv4': 150,
    'pod to outside, masqueraded, IPv6': 160,
  })
  expect(peers(sums)).toEqual({
    'pod to outside, masqueraded, IPv4': 120,
    'pod to outside, masqueraded, IPv6': 130,
  })
})
