// What Maglev tables may cost: how it is counted, who has theirs when there is no room for all, and what is said of the others.
import { maglevRows } from '@sinabro/libbpf-ts/maglev'
import { expect, test } from 'vitest'
import { createCluster } from '../cluster/cluster.ts'
import type { ClusterEvent } from '../cluster/sink.ts'
import { Table } from '../state/table.ts'
import { buildTable, tableBytes } from './maglev/table.ts'
import { ServiceModel } from './model.ts'
import { TableBudget, tableBytesOf } from './model-tables.ts'
import type { ServiceRows } from './rows.ts'
import { service, slice } from './testing/objects.ts'

const KIB = 1024
const MIB = KIB * KIB
const endpoints = (count: number): string[] =>
  Array.from({ length: count }, (_, at) => `10.244.${at >> 8}.${at & 255}`)
const ports = (count: number, more: object = {}) =>
  Array.from({ length: count }, (_, at) => ({ name: `p${at}`, port: 1 + at, ...more }))

interface Asked {
  readonly createdAt?: string
  readonly ports?: number
}

function hashed(key: string, { createdAt = '2026-01-01T00:00:00Z', ports: count = 1 }: Asked = {}) {
  const externalIPs = ['198.51.100.1']
  const clusterIP = `10.96.0.${key.replace(/\D/g, '') || 1}`
  const plain = service(key, clusterIP, { createdAt, spec: { ports: ports(count), externalIPs } })
  return { ...plain, backendChoice: 'maglev' } as const
}

function world(mostTableBytes: number) {
  const cluster = createCluster()
  const rows = new Table<ServiceRows>('Service rows', ({ key }) => key)
  const events: ClusterEvent[] = []
  const model = new ServiceModel({
    ...{ ...cluster, rows, nodeName: 'n1' },
    settings: {
      ...{ externalIPCIDRs: ['198.51.100.0/24'], clusterCIDRs: [], serviceCIDRs: [] },
      mostTableBytes,
    },
    sink: { event: (event) => events.push(event) },
  })
  const areHashed = (): Record<string, boolean> =>
    Object.fromEntries(
      rows.values().map((row) => [row.key, row.ports.every(({ isHashed }) => isHashed === true)]),
    )
  const markReady = (): void => {
    for (const table of Object.values(cluster)) table.markReady()
  }
  return { ...cluster, rows, events, model, areHashed, markReady }
}

test.each([1, 3, 4, 20, 21, 300, 301])(
  'a table of %i is at least as large as its rows',
  (count) => {
    const names = endpoints(count).map((name) => ({ name }))
    const rows = maglevRows(buildTable(names))
    const bytes = rows.reduce((sum, [, value]) => sum + value.length, 0)
    expect(tableBytes(count)).toBeGreaterThanOrEqual(bytes)
    expect(tableBytes(count)).toBeLessThan(2 * bytes)
  },
)

test('tables are counted by port and family, of what is asked from outside', () => {
  const one = hashed('web', { ports: 3 })
  const three = slice('web', endpoints(21), { ports: ports(3) })
  expect([0, 3, 20, 300, 301].map(tableBytes)).toEqual(
    [0, 16, 68, 260, 516].map((kib) => kib * KIB),
  )
  expect(tableBytesOf(one, [three])).toBe(3 * 260 * KIB)
  expect(tableBytesOf(one, [slice('web', endpoints(3), { ports: ports(1) })])).toBe(16 * KIB)
  expect(tableBytesOf({ ...one, externalIPs: [] }, [three])).toBe(0)
  const both = { ...one, clusterIPs: ['10.96.0.1', 'fd00::1'], externalIPs: ['2001:db8::1'] }
  expect(tableBytesOf(both, [three])).toBe(0)
  const sctp = service('web', '10.96.0.1', {
    spec: { ports: ports(1, { protocol: 'SCTP', nodePort: 30_000 }) },
  })
  const [slices] = [slice('web', endpoints(3), { ports: ports(1, { protocol: 'SCTP' }) })]
  expect(tableBytesOf(sctp, [slices])).toBe(0)
})

test('the older have theirs, in whatever order they come; room that one leaves is the next one’s', () => {
  const orders = [
    ['a', 'b', 'c', 'd', 'e'],
    ['e', 'c', 'a', 'd', 'b'],
  ]
  for (const order of orders) {
    const budget = new TableBudget(8 * MIB)
    for (const key of order) budget.set(key, `2026-01-0${key.charCodeAt(0) - 96}`, 2 * MIB)
    expect(budget.settle()).toEqual(new Set(['e']))
    expect(budget.shortage('e')).toMatch(
      /^its Maglev tables would take 2.0 MiB, and older Services/,
    )
    expect(budget.settle()).toEqual(new Set())
    budget.set('b', '2026-01-02', 0)
    expect(budget.settle()).toEqual(new Set(['e']))
    budget.set('a', '2026-01-01', 3 * MIB)
    expect(budget.settle()).toEqual(new Set(['a']))
    expect(budget.shortage('a')).toMatch(/would take 3.0 MiB, of at most 2.0 MiB for one Service/)
  }
})

test('beyond the budget backends are chosen by chance, with an event, until there is room', () => {
  const { services, endpointSlices, events, model, areHashed, markReady } = world(MIB)
  for (let at = 1; at <= 5; at++) {
    services.upsert({
      ...hashed(`s${at}`, { createdAt: `2026-01-0${at}` }),
      externalIPs: [`198.51.100.${at}`],
    })
    endpointSlices.upsert(slice(`s${at}`, endpoints(20), { ports: ports(1) }))
  }
  markReady()
  const all = ['s1', 's2', 's3', 's4', 's5'].map((name) => `default/${name}`)
  const expected = (byChance: readonly string[]) =>
    Object.fromEntries(all.map((key) => [key, !byChance.includes(key)]))
  expect(areHashed()).toEqual(expected([]))
  // Each has grown to a size that is more than a Service may have.
  endpointSlices.upsert(slice('s2', endpoints(300), { ports: ports(1) }))
  expect(areHashed()).toEqual(expected(['default/s2']))
  const [problem] = model.problems.values()
  expect(problem).toMatchObject({ code: 'tables', where: 'Service/default/s2' })
  expect(problem?.message).toBe(
    'its backends are chosen by chance: Maglev tables for all of its ports would take 0.3 MiB, of at most 0.3 MiB for one Service; make several Services of it, or raise --services-max on all nodes',
  )
  expect(events).toMatchObject([
    { type: 'Warning', reason: 'NoRoomForTables', about: { name: 's2' } },
  ])
  endpointSlices.upsert(slice('s2', endpoints(20), { ports: ports(1) }))
  expect([areHashed(), model.problems.size]).toEqual([expected([]), 0])
})

test('a Service that takes what a younger one had is computed with it', () => {
  const { services, endpointSlices, areHashed, markReady } = world(100 * KIB)
  const names = ['s1', 's2', 's3', 's4', 's5', 's6', 's7']
  for (const [at, name] of names.entries()) {
    const externalIPs = [`198.51.100.${at}`]
    services.upsert({ ...hashed(name, { createdAt: `2026-01-0${at + 1}` }), externalIPs })
    endpointSlices.upsert(slice(name, endpoints(at === 0 ? 0 : 3), { ports: ports(1) }))
  }
  markReady()
  expect(areHashed()).toMatchObject({ 'default/s1': true, 'default/s7': true })
  endpointSlices.upsert(slice('s1', endpoints(3), { ports: ports(1) }))
  expect(areHashed()).toMatchObject({ 'default/s1': true, 'default/s6': true, 'default/s7': false })
  services.remove('default/s2')
  expect(areHashed()).toMatchObject({ 'default/s1': true, 'default/s7': true })
})
