// Tables in a real map: made by the thread, swapped whole, freed, found again after a restart, and what is said when one cannot be made.
import { threadId } from 'node:worker_threads'
import { BpfError, BpfMap, u32 } from '@sinabro/libbpf-ts'
import { maglevBackend, maglevHash, maglevSpec } from '@sinabro/libbpf-ts/maglev'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../runtime/clock.ts'
import { Health } from '../../runtime/health.ts'
import { silentLog } from '../../runtime/log.ts'
import { Reconciler } from '../../state/reconcile.ts'
import { Table } from '../../state/table.ts'
import type { Backend } from '../rows.ts'
import { ServiceTarget } from '../target.ts'
import { backendAt, createMaps, serviceAt } from '../testing/world.ts'
import { buildTable } from './table.ts'
import { type TableRow, TableTarget } from './target.ts'
import { TableThread, workerModule } from './thread.ts'

const PATIENTLY = { timeout: 10_000 }
const TABLES = 4
let tables: BpfMap
let thread: TableThread
let counts: number[]

beforeEach(() => {
  using inner = BpfMap.create({ ...maglevSpec(1), name: 'template' })
  tables = BpfMap.create({
    ...{ type: 'hash_of_maps', keySize: u32.size, valueSize: u32.size, maxEntries: TABLES },
    ...{ name: 'sb_maglev', flags: 1, inner },
  })
  thread = new TableThread()
  counts = []
})
afterEach(async () => {
  await thread.end()
  tables.close()
})

const targetOf = (of = thread) =>
  new TableTarget({ tables, thread: of, onChange: (count) => counts.push(count) })

const rowOf = (service: number, ...numbers: readonly number[]): TableRow => ({
  service,
  port: `shop/s${service}:http/TCP/4`,
  backends: numbers.map((n) => ({ id: 100 + n, name: `10.244.0.${n} 8080` })),
})

const mapIdOf = (service: number): number | undefined => {
  const value = tables.lookup(u32.encode(service))
  return value === undefined ? undefined : u32.decode(value)
}

/** Ids by entry, as a program finds them. */
function entriesOf(service: number): number[] {
  using table = BpfMap.openId(mapIdOf(service) ?? 0)
  const lookup = (row: number): Uint8Array | undefined => table.lookup(u32.encode(row))
  const size = u32.decode((lookup(0) ?? new Uint8Array(4)).subarray(0, 4))
  return Array.from({ length: size }, (_, at) => maglevBackend(lookup, at))
}

function isFreed(id: number): boolean {
  try {
    BpfMap.openId(id).close()
    return false
  } catch (error) {
    if (error instanceof BpfError && error.code === 'ENOENT') return true
    throw error
  }
}

test('a table is what its backends make of it, in whatever order; the event loop has no part in it', async () => {
  const target = targetOf()
  const row = rowOf(7, 1, 2, 3)
  await target.update(row)
  const indexes = Array.from(buildTable(row.backends))
  expect(entriesOf(7)).toEqual(indexes.map((at) => row.backends[at]?.id))
  const other = await thread.carryOut({
    ...{ mapFd: tables.fd, service: 8 },
    backends: row.backends.toReversed(),
  })
  expect(entriesOf(8)).toEqual(entriesOf(7))
  expect(threadId).not.toBe(other.threadId)
  expect(other.entries).toBe(indexes.length)
  expect(target.builds.samples()).toMatchObject([{ count: 1 }])
})

test('another node with other ids sends a client to the same backend', async () => {
  const target = targetOf()
  const here = rowOf(1, 1, 2, 3, 4, 5)
  const there = here.backends.toReversed().map(({ name }, at) => ({ id: 900 + at, name }))
  await target.update(here)
  await target.update({ ...here, service: 2, backends: there })
  const nameIn = (service: number, of: TableRow['backends'], port: number) => {
    using table = BpfMap.openId(mapIdOf(service) ?? 0)
    const hash = maglevHash({ address: '198.51.100.7', port, servicePort: 80, proto: 6 })
    const id = maglevBackend((row) => table.lookup(u32.encode(row)), hash)
    return of.find((one) => one.id === id)?.name
  }
  for (let port = 40_000; port < 40_020; port++) {
    expect(nameIn(2, there, port)).toBe(nameIn(1, here.backends, port))
    expect(nameIn(1, here.backends, port)).toBeDefined()
  }
})

test('a table is swapped whole and freed; without the last one the thread ends', async () => {
  const target = targetOf()
  await target.update(rowOf(7, 1, 2))
  const first = mapIdOf(7) ?? 0
  await target.update(rowOf(7, 1, 2, 3, 4))
  const second = mapIdOf(7) ?? 0
  expect(second).not.toBe(first)
  expect(new Set(entriesOf(7))).toEqual(new Set([101, 102, 103, 104]))
  expect(entriesOf(7)).toHaveLength(16_381)
  await expect.poll(() => isFreed(first), PATIENTLY).toBe(true)
  await target.update(rowOf(8, 1))
  const [actual] = (await target.list()).filter(({ service }) => service === 7)
  if (actual === undefined) throw new Error('not listed')
  await target.remove(actual)
  expect(thread.isRunning).toBe(true)
  await target.remove({ service: 8, row: undefined })
  expect(mapIdOf(7)).toBeUndefined()
  expect(thread.isRunning).toBe(false)
  await expect.poll(() => isFreed(second), PATIENTLY).toBe(true)
  expect(counts).toEqual([1, 1, 2, 2, 1, 0])
})

test('after a restart tables serve until equal ones take their place, and those of nobody go', async () => {
  const before = targetOf()
  await before.update(rowOf(7, 1, 2, 3))
  await before.update(rowOf(8, 1))
  const entries = entriesOf(7)
  const old = mapIdOf(7)
  const again = new TableThread()
  const target = targetOf(again)
  const wanted = new Table<TableRow>('wanted tables', ({ service }) => String(service))
  const tools = { log: silentLog, clock: systemClock, health: new Health(systemClock) }
  const reconciler = new Reconciler({ target, desired: wanted, sources: [], ...tools })
  const stop = new AbortController()
  const running = reconciler.run(stop.signal)
  try {
    await reconciler.settled()
    // Who wants one is not known yet.
    expect([mapIdOf(7), mapIdOf(8)]).toEqual([old, expect.any(Number)])
    wanted.upsert(rowOf(7, 3, 2, 1))
    wanted.markReady()
    await expect.poll(() => mapIdOf(8), PATIENTLY).toBeUndefined()
    await reconciler.settled()
    expect(mapIdOf(7)).not.toBe(old)
    expect(entriesOf(7)).toEqual(entries)
    // What somebody else puts there does not stay.
    using other = BpfMap.create({ ...maglevSpec(3), name: 'other' })
    tables.update(u32.encode(7), u32.encode(other.fd))
    reconciler.kick()
    await reconciler.settled()
    expect(entriesOf(7)).toEqual(entries)
  } finally {
    stop.abort()
    await running
    await again.end()
  }
})

test('what cannot be made is named with its port, and made when it can be', async () => {
  const target = targetOf()
  for (let service = 1; service <= TABLES; service++) await target.update(rowOf(service, 1))
  await expect(target.update(rowOf(9, 1))).rejects.toThrow(
    /^shop\/s9:http\/TCP\/4: its backends are chosen by chance, or by its last table: no more than 4 have room/,
  )
  await target.remove({ service: 1, row: undefined })
  await target.update(rowOf(9, 1))
  expect(new Set(entriesOf(9))).toEqual(new Set([101]))
})

test('an order whose thread ends is an error of that order, and the next one starts another', async () => {
  const order = { mapFd: tables.fd, service: 7, backends: rowOf(7, 1).backends }
  const lost = thread.carryOut(order)
  const gone = expect(lost).rejects.toThrow('the thread that makes tables has ended')
  await thread.end()
  await gone
  expect((await thread.carryOut(order)).entries).toBe(2_039)
})

test('the file that ships makes the same table as its source', async () => {
  const { backends } = rowOf(7, 1, 2, 3)
  const order = { mapFd: tables.fd, backends }
  await thread.carryOut({ ...order, service: 7 })
  const before = process.env.SINABRO_LIB_DIR
  process.env.SINABRO_LIB_DIR = new URL('../../../build/lib', import.meta.url).pathname
  expect(workerModule()).toMatch(/maglev-worker\.mjs$/)
  const shipped = new TableThread()
  try {
    await shipped.carryOut({ ...order, service: 8 })
    expect(entriesOf(8)).toEqual(entriesOf(7))
  } finally {
    await shipped.end()
    if (before === undefined) delete process.env.SINABRO_LIB_DIR
    else process.env.SINABRO_LIB_DIR = before
  }
})

test('a port asks for a table of what those outside get, and for none any more when that changes', async () => {
  const maps = createMaps()
  const log: string[] = []
  const target = new ServiceTarget({
    maps,
    tables: {
      want: ({ service, port, backends }) => {
        const names = backends.map(({ id, name }) => `${name}${maps.backends.get(id) ? '' : ' ?'}`)
        log.push(`${service} ${port}: ${names.sort().join(', ')}`)
      },
      drop: (service) => log.push(`${service} none`),
    },
  })
  try {
    await target.list(AbortSignal.timeout(10_000))
    const nodePort = { kind: 'NodePort', address: '0.0.0.0', port: 30_080 } as const
    const [one, two] = [backendAt(1), backendAt(2)]
    const hashed = (external: readonly Backend[], isHashed: boolean) =>
      serviceAt(1, [one, two], { external, ...(isHashed ? { isHashed: true as const } : {}) }, [
        nodePort,
      ])
    await target.update(hashed([one, two], true))
    await target.update(hashed([two], true))
    await target.update(hashed([], true))
    await target.update(hashed([two], false))
    const row = hashed([two], true)
    await target.update(row)
    const flags = [...maps.services.entries()].map(([{ addr }, { flags: of }]) => [addr, of & 64])
    expect(Object.fromEntries(flags)).toMatchObject({ '0.0.0.0': 64, '10.96.0.1': 0 })
    await target.remove({ key: row.key, row })
    // Who asks cluster addresses alone is given a backend by chance.
    await target.update(serviceAt(2, [one], { isHashed: true }))
    expect(log).toEqual([
      '1 shop/s1:http/TCP/4: 10.244.0.1 8080, 10.244.0.2 8080',
      '1 shop/s1:http/TCP/4: 10.244.0.2 8080',
      '1 none',
      '1 none',
      '1 shop/s1:http/TCP/4: 10.244.0.2 8080',
      '1 none',
      '2 none',
    ])
  } finally {
    maps.close()
  }
})
