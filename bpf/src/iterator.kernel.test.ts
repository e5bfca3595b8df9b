// Iterators on the real kernel: over a map's entries and over all maps, whole and in part, pinned, refused.
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { mountBpffs } from '../testing/bpffs.ts'
import { testObject } from '../testing/test-object.ts'
import { BpfIterator } from './iterator.ts'
import { BpfLink } from './link.ts'
import { BpfMap } from './map.ts'
import { BpfObject } from './object.ts'
import { struct, u32, u64 } from './struct.ts'

const iterRow = struct('iter_row', { key: u32, number: u32, value: u64 })

const bpffs = mountBpffs()
let object: BpfObject
let map: BpfMap
beforeEach(() => {
  map = BpfMap.create({
    type: 'hash',
    keySize: 4,
    valueSize: 8,
    maxEntries: 20_000,
    name: 'test_iter',
  })
})
afterEach(() => {
  object.close()
  map.close()
})
afterAll(() => bpffs.unmount())

async function load(least = 0n): Promise<BpfObject> {
  object = BpfObject.open(testObject('binding_iter'), { rodata: { iter_least: u64.encode(least) } })
  await object.load()
  return object
}

function fill(count: number): void {
  map.updateMany(
    Array.from({ length: count }, (_, i) => [u32.encode(i), u64.encode(BigInt(i))] as const),
  )
}

async function keysOf(iterator: BpfIterator): Promise<number[]> {
  const rows = await Array.fromAsync(iterator.records(iterRow))
  return rows
    .flat()
    .map(({ key }) => key)
    .sort((a, b) => a - b)
}

test.each([0, 1, 20_000])(
  'a pass gives what the program wrote of every entry: %d',
  async (count) => {
    fill(count)
    using iterator = BpfIterator.open({ program: (await load()).program('iter_rows'), map })
    const rows = (await Array.fromAsync(iterator.records(iterRow))).flat()
    expect(rows.map(({ number }) => number)).toEqual(Array.from({ length: count }, (_, i) => i))
    expect(rows.every(({ key, value }) => BigInt(key) === value)).toBe(true)
    expect(new Set(rows.map(({ key }) => key)).size).toBe(count)
  },
)

test('the program chooses, in the kernel; every pass begins anew', async () => {
  fill(20_000)
  using iterator = BpfIterator.open({ program: (await load(19_997n)).program('iter_rows'), map })
  expect(await keysOf(iterator)).toEqual([19_997, 19_998, 19_999])
  map.delete(u32.encode(19_998))
  expect(await keysOf(iterator)).toEqual([19_997, 19_999])
})

test('the event loop goes on during a pass', async () => {
  fill(20_000)
  using iterator = BpfIterator.open({ program: (await load()).program('iter_rows'), map })
  let others = 0
  let isDone = false
  const other = () => {
    others++
    if (!isDone) setImmediate(other)
  }
  setImmediate(other)
  const seen = new Set<number>()
  for await (const _ of iterator.records(iterRow)) seen.add(others)
  isDone = true
  // 320,000 bytes, at most 65,536 at a time.
  expect(seen.size).toBeGreaterThanOrEqual(5)
})

test('a pass that is left early leaves no descriptor, and one under way outlives close()', async () => {
  fill(20_000)
  const iterator = BpfIterator.open({ program: (await load()).program('iter_rows'), map })
  const before = readdirSync('/proc/self/fd').length
  for await (const _ of iterator.chunks()) break
  expect(readdirSync('/proc/self/fd').length).toBe(before)
  let bytes = 0
  for await (const chunk of iterator.chunks()) {
    iterator.close()
    bytes += chunk.length
  }
  expect(bytes).toBe(20_000 * iterRow.size)
  await expect(iterator.chunks().next()).rejects.toMatchObject({ code: 'EBADF' })
})

test('a pinned iterator is a file: every reading is a pass', async () => {
  fill(3)
  const path = join(bpffs.path, 'iterators/rows')
  {
    using iterator = BpfIterator.open({ program: (await load()).program('iter_rows'), map })
    iterator.pin(path)
  }
  for (let round = 0; round < 2; round++) {
    expect(execFileSync('cat', [path])).toHaveLength(3 * iterRow.size)
  }
  using again = BpfIterator.openPinned(path)
  expect(again === undefined ? [] : await keysOf(again)).toEqual([0, 1, 2])
  expect(BpfIterator.openPinned(`${path}_not`)).toBeUndefined()
})

test('an iterator over objects of a kind needs no map', async () => {
  using iterator = BpfIterator.open({ program: (await load()).program('iter_maps') })
  const ids = (await Array.fromAsync(iterator.records(u32))).flat()
  expect(ids).toContain(map.info.id)
})

test('a link tells which map it goes over', async () => {
  const program = (await load()).program('iter_rows')
  using link = BpfLink.createIterator({ program, map })
  expect(link.info()).toEqual({
    kind: 'iterator',
    id: expect.any(Number),
    programId: program.id,
    mapId: map.info.id,
  })
})

test('half a record at the end is said, not guessed', async () => {
  using iterator = BpfIterator.open({ program: (await load()).program('iter_half'), map })
  const all = Array.fromAsync(iterator.records(iterRow))
  await expect(all).rejects.toMatchObject({ code: 'layout' })
})

test('maps of other sizes, no map, and programs that are none are refused', async () => {
  const program = (await load()).program('iter_rows')
  using small = BpfMap.create({
    type: 'hash',
    keySize: 4,
    valueSize: 4,
    maxEntries: 1,
    name: 'test_small',
  })
  expect(() => BpfIterator.open({ program, map: small })).toThrow('EACCES')
  expect(() => BpfIterator.open({ program })).toThrow('EBADF')
  using other = BpfObject.open(testObject('binding_basic'))
  await other.load()
  expect(() => BpfIterator.open({ program: other.program('basic_count'), map })).toThrow('EINVAL')
})
