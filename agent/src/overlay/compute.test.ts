// The overlay as derived from Node objects: rows, what leaves a node out, and the arithmetic of addresses and MTUs.
import { expect, test } from 'vitest'
import type { NodeRow } from '../cluster/rows.ts'
import {
  computeNeighbours,
  computeOverlay,
  computeRoutes,
  overlayMac,
  ownAddress,
  tunnelMtu,
} from './compute.ts'
import { Memo } from './memo.ts'
import type { OverlayPlan, PeerRow } from './rows.ts'

const node = (name: string, internalIPs: string[], podCIDRs: string[]): NodeRow => ({
  name,
  internalIPs,
  podCIDRs,
  labels: {},
  annotations: {},
})
const one = node('one', ['192.168.0.1', 'fd0a::1'], ['10.244.1.0/24', 'fd00:10:244:1::/64'])
const two = node('two', ['192.168.0.2', 'fd0a::2'], ['10.244.2.0/24', 'fd00:10:244:2::/64'])
const auto = { nodeName: 'one', tunnelFamily: 'auto' } as const

test('computeOverlay() says who we are and who the others are', () => {
  expect(computeOverlay([two, one], auto)).toEqual({
    self: {
      name: 'one',
      tunnelAddress: '192.168.0.1',
      tunnelFamily: 4,
      overlayMac: '0e:5b:c0:a8:00:01',
      nodeAddresses: ['192.168.0.1', 'fd0a::1'],
      ranges: ['10.244.1.0/24', 'fd00:10:244:1::/64'],
      ownAddresses: ['10.244.1.1', 'fd00:10:244:1::1'],
    },
    peers: [
      {
        name: 'two',
        tunnelAddress: '192.168.0.2',
        overlayMac: '0e:5b:c0:a8:00:02',
        nodeAddresses: ['192.168.0.2', 'fd0a::2'],
        ranges: [
          { family: 4, prefix: '10.244.2.0/24', gateway: '10.244.2.1' },
          { family: 6, prefix: 'fd00:10:244:2::/64', gateway: 'fd00:10:244:2::1' },
        ],
      },
    ],
    problems: [],
  })
})

test('computeOverlay() tunnels in the family that is asked for', () => {
  const plan = computeOverlay([one, two], { nodeName: 'one', tunnelFamily: 6 })
  expect(plan.self).toMatchObject({ tunnelAddress: 'fd0a::1', tunnelFamily: 6 })
  expect(plan.peers[0]).toMatchObject({
    tunnelAddress: 'fd0a::2',
    overlayMac: overlayMac('fd0a::2'),
  })
})

test('computeOverlay() waits for its own Node and its address', () => {
  expect(computeOverlay([two], auto)).toMatchObject({
    peers: [],
    problems: [{ node: 'one', code: 'no-tunnel-address' }],
  })
  expect(computeOverlay([two, { ...one, internalIPs: [] }], auto).self).toBeUndefined()
})

test('computeOverlay() leaves out a peer without an address of the tunnel family, and says so', () => {
  const plan = computeOverlay([one, { ...two, internalIPs: ['fd0a::2'] }], auto)
  expect(plan.peers).toEqual([])
  expect(plan.problems).toMatchObject([{ node: 'two', code: 'no-tunnel-address' }])
})

test('computeOverlay() leaves out a peer that claims an address of another node, ours first', () => {
  const thief = node('a-thief', ['192.168.0.1'], ['10.244.9.0/24'])
  const plan = computeOverlay([thief, one, two, { ...two, name: 'two-again' }], auto)
  expect(plan.peers.map(({ name }) => name)).toEqual(['two'])
  expect(plan.problems.map(({ node, code }) => [node, code])).toEqual([
    ['a-thief', 'duplicate-address'],
    ['two-again', 'duplicate-address'],
  ])
})

test('computeOverlay() keeps a peer without ranges, whose packets we still know by their source', () => {
  const plan = computeOverlay([one, { ...two, podCIDRs: [] }], auto)
  expect(plan.peers).toMatchObject([{ name: 'two', ranges: [] }])
  expect(plan.problems).toMatchObject([{ node: 'two', code: 'no-range' }])
})

const peersOf = (plan: OverlayPlan) => {
  const { self, peers } = plan
  if (self === undefined) throw new Error('no self')
  return {
    routes: peers.flatMap((peer) => computeRoutes(self, peer, { index: 9 })),
    neighbours: peers.flatMap((peer) => computeNeighbours(peer, 9)),
  }
}

test('computeRoutes() and computeNeighbours() reach each range by its own address', () => {
  const { routes, neighbours } = peersOf(computeOverlay([one, two], auto))
  expect(routes).toEqual([
    { dst: '10.244.2.0/24', via: '10.244.2.1', prefsrc: '10.244.1.1', index: 9 },
    { dst: 'fd00:10:244:2::/64', via: 'fd00:10:244:2::1', prefsrc: 'fd00:10:244:1::1', index: 9 },
  ])
  expect(neighbours).toEqual([
    { address: '10.244.2.1', mac: '0e:5b:c0:a8:00:02', index: 9 },
    { address: 'fd00:10:244:2::1', mac: '0e:5b:c0:a8:00:02', index: 9 },
  ])
})

test('computeRoutes() has none for a family that this node has no range of', () => {
  const { routes } = peersOf(computeOverlay([{ ...one, podCIDRs: ['10.244.1.0/24'] }, two], auto))
  expect(routes.map(({ dst }) => dst)).toEqual(['10.244.2.0/24'])
})

test('computeOverlay() gives the same peer for the same Node, another for a changed one', () => {
  const memo = new Memo<NodeRow, PeerRow>()
  const before = computeOverlay([one, two], auto, memo).peers[0]
  expect(computeOverlay([one, two], auto, memo).peers[0]).toBe(before)
  expect(computeOverlay([one, { ...two }], auto, memo).peers[0]).not.toBe(before)
  const other = computeOverlay([one, two], { ...auto, tunnelFamily: 6 }, memo).peers[0]
  expect(other?.tunnelAddress).toBe('fd0a::2')
})

test.each([
  ['10.244.1.0/24', '10.244.1.1'],
  ['10.244.255.252/30', '10.244.255.253'],
  ['fd00::/64', 'fd00::1'],
  ['fd00::100/120', 'fd00::101'],
])('ownAddress() of %s is %s', (range, address) => expect(ownAddress(range)).toBe(address))

test('overlayMac() is unicast, locally administered and another one per address', () => {
  const macs = ['10.0.0.1', '10.0.0.2', 'fd00::1', 'fd00::2'].map(overlayMac)
  expect(new Set(macs).size).toBe(4)
  for (const mac of macs) expect(mac).toMatch(/^0e(:[0-9a-f]{2}){5}$/)
})

test('tunnelMtu() takes off what the outer family costs', () => {
  expect(tunnelMtu(1500, 4)).toBe(1450)
  expect(tunnelMtu(1500, 6)).toBe(1430)
})
