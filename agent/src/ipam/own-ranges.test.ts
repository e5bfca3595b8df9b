// The node's own Node object decides the ranges, and whether the node is ready.
import { expect, test } from 'vitest'
import { createCluster } from '../cluster/cluster.ts'
import { followProblems } from '../cluster/problems.ts'
import type { NodeRow, ProblemRow } from '../cluster/rows.ts'
import { Health } from '../runtime/health.ts'
import { silentLog } from '../runtime/log.ts'
import { FakeClock } from '../runtime/testing/fake-clock.ts'
import { followOwnRanges } from './own-ranges.ts'
import { parseRange } from './range.ts'

function begin() {
  const health = new Health(new FakeClock())
  const { nodes, problems } = createCluster()
  const ipam = {
    ranges: [] as readonly string[],
    setRanges(ranges: readonly string[]) {
      this.ranges = ranges.map((range) => parseRange(range).text)
    },
  }
  followOwnRanges({ nodeName: 'n1', nodes, ipam, health, log: silentLog })
  const state = () => health.snapshot().components.map(({ state: s, message }) => [s, message])
  return { health, nodes, problems, ipam, state }
}

function node(podCIDRs: string[]): NodeRow {
  return { name: 'n1', podCIDRs, internalIPs: [], labels: {}, annotations: {} }
}

test('followOwnRanges() waits for the first list, then follows every change of its own node', () => {
  const { nodes, ipam, state } = begin()
  expect(state()).toEqual([['starting', 'Node/n1 has not been read']])
  nodes.upsert({ ...node(['10.9.0.0/24']), name: 'n2' })
  expect(ipam.ranges).toEqual([])
  nodes.upsert(node(['10.1.0.0/24']))
  expect(ipam.ranges).toEqual(['10.1.0.0/24'])
  nodes.upsert(node(['10.1.0.0/24', 'fd00::/64']))
  expect(ipam.ranges).toEqual(['10.1.0.0/24', 'fd00::/64'])
  expect(state()).toEqual([['ok', undefined]])
})

test('followOwnRanges() says what is missing, keeps a range that works when the new one does not', () => {
  const { nodes, ipam, state } = begin()
  nodes.markReady()
  expect(state()).toEqual([['starting', 'there is no Node object named n1']])
  nodes.upsert(node([]))
  expect(state()).toEqual([['starting', 'Node/n1 has no usable spec.podCIDRs']])
  nodes.upsert(node(['10.1.0.0/24']))
  nodes.upsert(node(['10.0.0.0/8']))
  expect(ipam.ranges).toEqual(['10.1.0.0/24'])
  expect(state()).toEqual([
    ['degraded', 'range 10.0.0.0/8: expected a prefix length from 16 to 30, found 8'],
  ])
  nodes.remove('n1')
  expect(ipam.ranges).toEqual([])
  expect(state()).toEqual([['degraded', 'there is no Node object named n1']])
})

test('followProblems() degrades for what was refused, not for what is of no concern', () => {
  const { health, problems } = begin()
  followProblems(problems, health)
  const row = (key: string, code: ProblemRow['code']) => ({ key, code, where: key, message: 'bad' })
  const source = () => health.snapshot().components.find(({ component }) => component === 'source')
  problems.upsert(row('a:1', 'unknown-kind'))
  expect(source()).toMatchObject({ state: 'ok' })
  problems.upsert(row('b:1', 'yaml'))
  problems.upsert(row('c:1', 'overlap'))
  expect(source()).toMatchObject({ state: 'degraded', message: 'b:1: bad (and 1 more)' })
  problems.replaceAll([])
  expect(source()).toMatchObject({ state: 'ok' })
})
