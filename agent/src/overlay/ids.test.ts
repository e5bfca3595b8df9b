// How nodes get, keep and give up their numbers.
import { expect, test } from 'vitest'
import { computeIds, type IdState } from './ids.ts'

const fresh: IdState = { held: new Map(), used: new Set() }
const none = new Map<string, number>()
const peer = (name: string, ...nodeAddresses: string[]) => ({ name, nodeAddresses })

test('computeIds() numbers from 1 and keeps what is held', () => {
  const first = computeIds([peer('b'), peer('c')], fresh, none, 16)
  expect([...first.held]).toEqual([
    ['b', 1],
    ['c', 2],
  ])
  const second = computeIds([peer('a'), peer('b'), peer('c')], first, none, 16)
  expect(second.held).toEqual(
    new Map([
      ['a', 3],
      ['b', 1],
      ['c', 2],
    ]),
  )
  expect(second.hasReused).toBe(false)
})

test('computeIds() takes over what the pinned map has under any address of the node', () => {
  const pinned = new Map([
    ['10.0.0.2', 7],
    ['fd00::3', 5],
  ])
  const plan = computeIds(
    [peer('b', '10.0.0.2'), peer('c', '10.0.0.3', 'fd00::3')],
    fresh,
    pinned,
    16,
  )
  expect(plan.held).toEqual(
    new Map([
      ['b', 7],
      ['c', 5],
    ]),
  )
})

test('computeIds() gives one of two nodes with the same pinned number another one', () => {
  const pinned = new Map([
    ['10.0.0.2', 7],
    ['10.0.0.3', 7],
  ])
  const plan = computeIds([peer('b', '10.0.0.2'), peer('c', '10.0.0.3')], fresh, pinned, 16)
  expect(plan.held).toEqual(
    new Map([
      ['b', 7],
      ['c', 1],
    ]),
  )
})

test('computeIds() prefers numbers that were never used, and tells when it had to use one again', () => {
  const before = computeIds([peer('a'), peer('b')], fresh, none, 4)
  const gone = computeIds([peer('b')], before, none, 4)
  const next = computeIds([peer('b'), peer('c')], gone, none, 4)
  expect(next.held.get('c')).toBe(3)
  expect(next.hasReused).toBe(false)
  const full = computeIds([peer('b'), peer('c'), peer('d')], next, none, 4)
  expect(full.held.get('d')).toBe(1)
  expect(full.hasReused).toBe(true)
})

test('computeIds() names the nodes that found no number', () => {
  const plan = computeIds([peer('a'), peer('b'), peer('c')], fresh, none, 3)
  expect(plan.left).toEqual(['c'])
})
