// Much change, and missed change: from tables of the cluster to real maps, which in the end say what they would if they were written afresh.
// SINABRO_CHURN_SEC: how long a thousand changes a second go on (default 2).
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createCluster } from '../cluster/cluster.ts'
import { decodeNode } from '../cluster/decode-node.ts'
import type { EndpointSliceRow, ServiceRow } from '../cluster/rows.ts'
import { systemClock } from '../runtime/clock.ts'
import { Health } from '../runtime/health.ts'
import { silentLog } from '../runtime/log.ts'
import { Reconciler } from '../state/reconcile.ts'
import { Table } from '../state/table.ts'
import { ServiceModel } from './model.ts'
import type { ServiceRows } from './rows.ts'
import { ServiceTarget } from './target.ts'
import { service, slice } from './testing/objects.ts'
import { createMaps, readAll, type TestMaps } from './testing/world.ts'

const CHURN_SEC = Number(process.env.SINABRO_CHURN_SEC ?? 2)
const CHANGES_PER_SEC = 1000
const SERVICES = 300

let maps: TestMaps
let others: TestMaps[]
let stop: AbortController
let running: Promise<void>

beforeEach(() => {
  maps = createMaps(32_768)
  others = []
  stop = new AbortController()
  running = Promise.resolve()
})

afterEach(async () => {
  stop.abort()
  await running
  for (const one of [maps, ...others]) one.close()
})

/** The cluster, the model and the writer as the agent puts them together. */
function start() {
  const cluster = createCluster()
  const rows = new Table<ServiceRows>('Service rows', ({ key }) => key)
  const settings = { externalIPCIDRs: [], clusterCIDRs: [], serviceCIDRs: ['10.96.0.0/12'] }
  const model = new ServiceModel({
    ...{ ...cluster, rows, nodeName: 'n1', settings, sink: { event: () => undefined } },
  })
  cluster.nodes.upsert(decodeNode({ metadata: { name: 'n1' } }))
  const target = new ServiceTarget({ maps })
  const reconciler = new Reconciler({
    ...{ target, desired: rows, sources: [] },
    ...{ log: silentLog, clock: systemClock, health: new Health(systemClock) },
  })
  running = reconciler.run(stop.signal)
  const markReady = (): void => {
    for (const table of Object.values(cluster)) table.markReady()
  }
  return { cluster, rows, model, target, reconciler, markReady }
}

async function afresh(rows: Table<ServiceRows>) {
  const empty = createMaps(32_768)
  others.push(empty)
  const target = new ServiceTarget({ maps: empty })
  await target.list(new AbortController().signal)
  for (const row of rows.values()) await target.update(row)
  return readAll(empty)
}

function serviceOf(n: number): ServiceRow {
  return service(`s${n}`, `10.96.${n >> 8}.${n & 255}`, {
    spec: n % 3 === 0 ? { sessionAffinity: 'ClientIP' } : {},
  })
}

/** Endpoints `from` and those after it. */
function sliceOf(n: number, from: number, count = 5): EndpointSliceRow {
  const addresses = Array.from({ length: count }, (_, i) => {
    const host = (n * 7 + from + i) & 0xffff
    return `10.244.${host >> 8}.${host & 255}@n1`
  })
  return slice(`s${n}`, addresses)
}

const sliceKey = ({ namespace, name }: EndpointSliceRow): string => `${namespace}/${name}`

test(`a thousand changes a second for ${CHURN_SEC} s: the maps are as if written afresh, and no work piles up`, async () => {
  const { cluster, rows, target, reconciler, markReady } = start()
  for (let n = 0; n < SERVICES; n++) {
    cluster.services.upsert(serviceOf(n))
    cluster.endpointSlices.upsert(sliceOf(n, 0))
  }
  markReady()
  await reconciler.settled()
  const startedAt = performance.now()
  const total = CHURN_SEC * CHANGES_PER_SEC
  let changes = 0
  while (changes < total) {
    const due = Math.min(total, ((performance.now() - startedAt) / 1000) * CHANGES_PER_SEC)
    for (; changes < due; changes++) {
      const n = (changes * 7919) % SERVICES
      if (changes % 50 === 0) cluster.services.remove(`default/s${n}`)
      else if (changes % 50 === 1) cluster.endpointSlices.remove(sliceKey(sliceOf(n, 0)))
      else cluster.endpointSlices.upsert(sliceOf(n, changes, 1 + (changes % 9)))
      if (changes % 10 === 0) cluster.services.upsert(serviceOf((changes * 31) % SERVICES))
    }
    await setImmediate()
  }
  await reconciler.settled()
  expect(readAll(maps)).toEqual(await afresh(rows))
  expect(reconciler.statuses().filter(({ state }) => state !== 'done')).toEqual([])
  expect(target.sizes.headers).toBe(readAll(maps).rows.headers)
  // Changes of one Service that come together are one: never more rows wait than there are Services.
  expect(reconciler.statuses().length).toBeLessThanOrEqual(SERVICES + 1)
}, 120_000)

test('a list after a gap in the watch: what was missed is written and taken away, the rest keeps its rows', async () => {
  const { cluster, rows, target, reconciler, markReady } = start()
  for (let n = 0; n < 50; n++) {
    cluster.services.upsert(serviceOf(n))
    cluster.endpointSlices.upsert(sliceOf(n, 0))
  }
  markReady()
  await reconciler.settled()
  const rowsOf = () =>
    new Map([...maps.services.entries()].map(([{ addr, port }, row]) => [`${addr} ${port}`, row]))
  const before = rowsOf()
  const writes = target.writer.writes
  // Missed: 10 Services went, one has other endpoints, one lost its slice, one came.
  cluster.services.replaceAll(Array.from({ length: 41 }, (_, n) => serviceOf(n + 10)))
  cluster.endpointSlices.replaceAll([
    ...Array.from({ length: 38 }, (_, n) => sliceOf(n + 10, 0)),
    ...[sliceOf(48, 100), sliceOf(50, 0)],
  ])
  await reconciler.settled()
  expect(readAll(maps)).toEqual(await afresh(rows))
  const after = rowsOf()
  for (let n = 10; n < 50; n++) {
    const name = `10.96.0.${n} 80`
    expect(after.get(name), name).toEqual(before.get(name))
  }
  expect(after.has('10.96.0.3 80')).toBe(false)
  expect(target.writer.writes - writes).toBeLessThan(100)
})

test('the same lists again after a gap write nothing', async () => {
  const { cluster, target, reconciler, markReady } = start()
  const all = () => Array.from({ length: 20 }, (_, n) => serviceOf(n))
  cluster.services.replaceAll(all())
  cluster.endpointSlices.replaceAll(Array.from({ length: 20 }, (_, n) => sliceOf(n, 0)))
  markReady()
  await reconciler.settled()
  const { writes } = target.writer
  cluster.services.replaceAll(all())
  cluster.endpointSlices.replaceAll(Array.from({ length: 20 }, (_, n) => sliceOf(n, 0)))
  await reconciler.settled()
  expect(target.writer.writes).toBe(writes)
})

test('a hundred slices and slices of a thousand endpoints are in the maps, each endpoint once; a slice of a Service that is gone is nobody’s', async () => {
  const { cluster, rows, reconciler, markReady } = start()
  markReady()
  const named = (name: string, from: number, count: number): EndpointSliceRow => ({
    ...sliceOf(0, from, count),
    name,
  })
  cluster.services.upsert(serviceOf(0))
  // Each shares half of its endpoints with the next.
  cluster.endpointSlices.upsertAll(
    Array.from({ length: 100 }, (_, at) => named(`s0-${at}`, at * 10, 20)),
  )
  await reconciler.settled()
  expect(readAll(maps).rows.backends).toBe(1010)
  cluster.endpointSlices.replaceAll([named('a', 0, 1000), named('b', 500, 1000)])
  await reconciler.settled()
  expect(readAll(maps).rows.backends).toBe(1500)
  expect(readAll(maps)).toEqual(await afresh(rows))
  cluster.services.remove('default/s0')
  await reconciler.settled()
  expect(readAll(maps).rows).toEqual({ headers: 0, slots: 0, backends: 0, ranges: 0 })
}, 60_000)
