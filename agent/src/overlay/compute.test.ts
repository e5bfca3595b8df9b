// The overlay as derived from Node objects: rows, what leaves a node out, and the arithmetic of addresses and MTUs.
import { describe, expect, test } from 'vitest'
import type { NodeRow } from '../cluster/rows.ts'
import {
  computeNeighbours,
  computeOverlay,
  computeRoutes,
  computeVacantRoutes,
  DSR_ANNOTATION,
  DSR_TAKEN,
  mtuOver,
  overlayMac,
  ownAddress,
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
const auto = { nodeName: 'one', tunnel: 'bpf', tunnelFamily: 'auto' } as const

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
        takesDsr: false,
      },
    ],
    problems: [],
  })
})

test('computeOverlay() reads of a Node whether it takes direct server return', () => {
  const taking = { ...two, annotations: { [DSR_ANNOTATION]: DSR_TAKEN } }
  expect(computeOverlay([one, taking], auto).peers[0]?.takesDsr).toBe(true)
  const other = { ...two, annotations: { [DSR_ANNOTATION]: 'no' } }
  expect(computeOverlay([one, other], auto).peers[0]?.takesDsr).toBe(false)
})

test('computeOverlay() tunnels in the family that is asked for', () => {
  const plan = computeOverlay([one, two], { ...auto, tunnelFamily: 6 })
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
  const type = 'unicast'
  const { routes, neighbours } = peersOf(computeOverlay([one, two], auto))
  expect(routes).toEqual([
    { type, dst: '10.244.2.0/24', via: '10.244.2.1', prefsrc: '10.244.1.1', index: 9 },
    {
      type,
      dst: 'fd00:10:244:2::/64',
      via: 'fd00:10:244:2::1',
      prefsrc: 'fd00:10:244:1::1',
      index: 9,
    },
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

test('computeVacantRoutes() covers what no pod has', () => {
  const { self } = computeOverlay([one], auto)
  expect(self && computeVacantRoutes(self)).toEqual([
    { type: 'unreachable', dst: '10.244.1.0/24' },
    { type: 'unreachable', dst: 'fd00:10:244:1::/64' },
  ])
})

test.each([
  ['bpf', 4, 1450],
  ['bpf', 6, 1430],
  ['kernel', 4, 1450],
  ['none', 6, 1500],
] as const)('mtuOver() takes off what mode %s costs over IPv%i', (tunnel, family, mtu) => {
  expect(mtuOver(1500, tunnel, family)).toBe(mtu)
})

describe('without a tunnel', () => {
  const none = { ...auto, tunnel: 'none' } as const

  test('each range is routed to the node’s address of its family', () => {
    const { routes } = peersOf(computeOverlay([one, two], none))
    expect(routes).toMatchObject([
      { dst: '10.244.2.0/24', via: '192.168.0.2', prefsrc: '10.244.1.1' },
      { dst: 'fd00:10:244:2::/64', via: 'fd0a::2', prefsrc: 'fd00:10:244:1::1' },
    ])
  })

  test.each([
    ['the other node', one, { ...two, internalIPs: ['fd0a::2'] }, 'two'],
    ['this node', { ...one, internalIPs: ['fd0a::1'] }, two, 'one'],
  ])('a range of a family that %s has no address of is refused, the other is routed', (...row) => {
    const [, own, other, lacking] = row
    const plan = computeOverlay([own, other], none)
    expect(plan.self).toBeDefined()
    expect(plan.peers[0]?.ranges).toEqual([
      { family: 6, prefix: 'fd00:10:244:2::/64', gateway: 'fd0a::2' },
    ])
    expect(plan.problems).toMatchObject([
      {
        node: 'two',
        code: 'no-common-family',
        message: expect.stringContaining(
          `10.244.2.0/24: ${lacking} has no InternalIP of family IPv4`,
        ),
      },
    ])
  })

  test('another address of this node may make another way', () => {
    const memo = new Memo<NodeRow, PeerRow>()
    expect(computeOverlay([one, two], none, memo).peers[0]?.ranges).toHaveLength(2)
    const bare = { ...one, internalIPs: ['192.168.0.1'] }
    expect(computeOverlay([bare, two], none, memo).peers[0]?.ranges).toHaveLength(1)
  })

  test('a node without any address has no part in it', () => {
    const plan = computeOverlay([one, { ...two, internalIPs: [] }], none)
    expect(plan.peers).toEqual([])
    expect(plan.problems).toMatchObject([{ code: 'no-tunnel-address' }])
  })
})
