// Many entries on the real kernel: batches on every kind of map, refusals in the middle, reading that leaves the loop free.
import { expect, test } from 'vitest'
import { testObject } from '../testing/test-object.ts'
import { BpfError } from './error.ts'
import { BpfMap } from './map.ts'
import type { MapSpec, Row } from './map-info.ts'
import { BpfObject } from './object.ts'
import { possibleCpus } from './per-cpu.ts'
import { addr, struct, u32, u64 } from './struct.ts'
import { TypedMap, TypedPerCpuMap } from './typed-map.ts'

const spec: MapSpec = {
  type: 'hash',
  keySize: 4,
  valueSize: 8,
  maxEntries: 50_000,
  name: 'test_many',
}
const rowsOf = (count: number): Row[] =>
  Array.from({ length: count }, (_, i) => [u32.encode(i), u64.encode(BigInt(i) * 3n)])
/** One value to compare: rows by the ten thousand are slow to compare one by one. */
const bytesOf = (rows: readonly Row[]) => Buffer.concat(rows.flat()).toString('hex')
const byKey = ([a]: Row, [b]: Row) => u32.decode(a) - u32.decode(b)
const chunked = async (map: BpfMap): Promise<Row[]> =>
  (await Array.fromAsync(map.chunks())).flat().sort(byKey)

const kinds: readonly MapSpec[] = [
  spec,
  { ...spec, type: 'lru_hash', maxEntries: 200_000 },
  { ...spec, type: 'array', maxEntries: 20_000 },
  // BPF_F_NO_PREALLOC
  { ...spec, flags: 1 },
]

test.each(kinds)('chunks() gives what entries() gives: $type, flags $flags', async (kind) => {
  using map = BpfMap.create(kind)
  const rows = rowsOf(20_000)
  map.updateMany(rows)
  expect(bytesOf(await chunked(map))).toBe(bytesOf(rows))
  expect(bytesOf([...map.entries()].sort(byKey))).toBe(bytesOf(rows))
})

test('chunks() of an empty map is none', async () => {
  using map = BpfMap.create(spec)
  expect(await Array.fromAsync(map.chunks())).toEqual([])
})

test('chunks() of prefixes, of values per CPU, and of maps in maps', async () => {
  const prefixKey = struct('prefix_key', { prefixLen: u32, addr })
  using trie = BpfMap.create({
    ...spec,
    type: 'lpm_trie',
    keySize: 20,
    flags: 1,
  })
  const prefixes = new TypedMap(trie, prefixKey, u64)
  const wanted = Array.from({ length: 1000 }, (_, i) => `10.${i >> 8}.${i & 255}.0`)
  prefixes.setMany(wanted.map((net) => [{ prefixLen: 96 + 24, addr: net }, 1n]))
  const found = (await Array.fromAsync(prefixes.chunks())).flat()
  expect(found.map(([{ addr: net }]) => net).sort()).toEqual(wanted.sort())

  using perCpu = BpfMap.create({ ...spec, type: 'percpu_hash', maxEntries: 1000 })
  const counts = new TypedPerCpuMap(perCpu, u32, u64)
  const values = Array.from({ length: possibleCpus() }, (_, cpu) => BigInt(cpu))
  for (let i = 0; i < 1000; i++) counts.set(i, values)
  const rows = (await Array.fromAsync(counts.chunks())).flat()
  expect(rows.map(([key]) => key).sort((a, b) => a - b)).toEqual(rowsOf(1000).map((_, i) => i))
  for (const [, value] of rows) expect(value).toEqual(values)

  using inner = BpfMap.create({ ...spec, maxEntries: 1, name: 'test_inner' })
  using outer = BpfMap.create({
    ...spec,
    type: 'hash_of_maps',
    valueSize: 4,
    maxEntries: 500,
    inner,
  })
  outer.updateMany(rowsOf(500).map(([key]) => [key, u32.encode(inner.fd)]))
  const ids = await chunked(outer)
  expect(ids.map(([key]) => u32.decode(key))).toEqual(rowsOf(500).map((_, i) => i))
  expect(ids.every(([, id]) => u32.decode(id) === inner.info.id)).toBe(true)
})

test('a map without batches is read a few entries at a time', async () => {
  using object = BpfObject.open(testObject('binding_basic'))
  await object.load()
  const { id, fd } = object.program('basic_count')
  using map = BpfMap.create({ ...spec, type: 'prog_array', valueSize: 4, maxEntries: 1000 })
  map.updateMany(rowsOf(500).map(([key]) => [key, u32.encode(fd)]))
  const chunks = await Array.fromAsync(map.chunks())
  expect(chunks.length).toBeGreaterThan(1)
  // Reading gives ids where writing took descriptors.
  expect(chunks.flat()).toEqual(rowsOf(500).map(([key]) => [key, u32.encode(id)]))
})

test('the event loop goes on while a large map is read', async () => {
  using map = BpfMap.create(spec)
  map.updateMany(rowsOf(20_000))
  let others = 0
  let isDone = false
  const other = () => {
    others++
    if (!isDone) setImmediate(other)
  }
  setImmediate(other)
  let chunks = 0
  const seen = new Set<number>()
  for await (const rows of map.chunks()) {
    chunks++
    seen.add(others)
    expect(rows.length).toBeLessThanOrEqual(2048)
  }
  isDone = true
  expect(chunks).toBeGreaterThanOrEqual(20_000 / 2048)
  expect(seen.size).toBe(chunks)
})

test('what stays is read once, whatever comes and goes meanwhile', async () => {
  using map = BpfMap.create({ ...spec, maxEntries: 100_000 })
  const rows = rowsOf(20_000)
  map.updateMany(rows)
  const seen: Row[] = []
  let next = 1_000_000
  for await (const part of map.chunks()) {
    seen.push(...part)
    const passing = Array.from({ length: 500 }, () => u32.encode(next++))
    map.updateMany(passing.map((key) => [key, u64.encode(0n)]))
    map.deleteMany(passing.slice(0, 250))
  }
  const stayed = seen.filter(([key]) => u32.decode(key) < 20_000).sort(byKey)
  expect(bytesOf(stayed)).toBe(bytesOf(rows))
})

test('a map that is closed while it is read says so', async () => {
  const map = BpfMap.create(spec)
  map.updateMany(rowsOf(50_000))
  const reading = async () => {
    for await (const _ of map.chunks()) map.close()
  }
  await expect(reading()).rejects.toMatchObject({ code: 'EBADF' })
})

test('updateMany() that is refused in the middle keeps what came before', () => {
  using map = BpfMap.create({ ...spec, maxEntries: 1000 })
  const attempt = () => map.updateMany(rowsOf(1500))
  expect(attempt).toThrow(BpfError)
  expect(attempt).toThrow('E2BIG')
  expect(bytesOf([...map.entries()].sort(byKey))).toBe(bytesOf(rowsOf(1000)))
})

test('deleteMany() goes on behind every key that is absent', () => {
  using map = BpfMap.create(spec)
  map.updateMany(rowsOf(20_000).filter((_, i) => i % 2 === 0))
  expect(map.deleteMany(rowsOf(20_000).map(([key]) => key))).toBe(10_000)
  expect([...map.keys()]).toEqual([])
})

test('batches of one and of none', () => {
  using map = BpfMap.create(spec)
  map.updateMany([])
  map.updateMany(rowsOf(1))
  expect([...map.entries()]).toEqual(rowsOf(1))
  expect(map.deleteMany([])).toBe(0)
  expect(map.deleteMany([u32.encode(0)])).toBe(1)
})
