// Maps on the real kernel: every kind of entry, whole content with and without batches, pins, life of the descriptor.
import { mkdtempDisposableSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { mountBpffs } from '../testing/bpffs.ts'
import { BpfError } from './error.ts'
import { BpfMap } from './map.ts'
import type { MapSpec } from './map-info.ts'
import { possibleCpus } from './per-cpu.ts'
import { addr, struct, u32, u64 } from './struct.ts'
import { TypedMap, TypedPerCpuMap } from './typed-map.ts'

const bpffs = mountBpffs()
afterAll(() => bpffs.unmount())

const spec: MapSpec = {
  type: 'hash',
  keySize: 4,
  valueSize: 8,
  maxEntries: 1000,
  name: 'test_hash',
}
const key = (n: number) => u32.encode(n)
const value = (n: number) => u64.encode(BigInt(n))
const codeOf = (call: () => unknown): string => {
  try {
    call()
  } catch (error) {
    if (error instanceof BpfError) return error.code
    throw error
  }
  return 'no error'
}

test('BpfMap.create() makes what the spec says', () => {
  using map = BpfMap.create({ ...spec, flags: 1 })
  expect(map.info).toMatchObject({
    name: 'test_hash',
    type: 'hash',
    keySize: 4,
    valueSize: 8,
    maxEntries: 1000,
    flags: 1,
  })
  expect(map.info.id).toBeGreaterThan(0)
})

test('update() keeps to its mode', () => {
  using map = BpfMap.create(spec)
  expect(codeOf(() => map.update(key(1), value(1), 'exist'))).toBe('ENOENT')
  map.update(key(1), value(1), 'noexist')
  expect(codeOf(() => map.update(key(1), value(2), 'noexist'))).toBe('EEXIST')
  expect(map.lookup(key(1))).toEqual(value(1))
  map.update(key(1), value(3), 'exist')
  expect(map.lookup(key(1))).toEqual(value(3))
})

test('update() says when the map is full', () => {
  using map = BpfMap.create({ ...spec, maxEntries: 2 })
  map.update(key(1), value(1))
  map.update(key(2), value(2))
  expect(codeOf(() => map.update(key(3), value(3)))).toBe('E2BIG')
})

test('absent entries read as undefined and delete as false', () => {
  using map = BpfMap.create(spec)
  expect(map.lookup(key(9))).toBeUndefined()
  expect(map.delete(key(9))).toBe(false)
  map.update(key(9), value(9))
  expect(map.delete(key(9))).toBe(true)
})

test('keys and values of another size never reach the kernel', () => {
  using map = BpfMap.create(spec)
  const short = new Uint8Array(3)
  expect(codeOf(() => map.lookup(short))).toBe('EINVAL')
  expect(codeOf(() => map.delete(short))).toBe('EINVAL')
  expect(codeOf(() => map.update(short, value(1)))).toBe('EINVAL')
  expect(codeOf(() => map.update(key(1), short))).toBe('EINVAL')
  expect(codeOf(() => map.updateMany([[key(1), short]]))).toBe('EINVAL')
  expect(codeOf(() => map.deleteMany([short]))).toBe('EINVAL')
})

const kinds: readonly MapSpec[] = [
  spec,
  { ...spec, type: 'lru_hash' },
  { ...spec, type: 'array', maxEntries: 700 },
  // Larger keys and values, so that one batch does not hold everything.
  { ...spec, valueSize: 1024 },
]

test.each(kinds)('entries() gives everything once: $type, values of $valueSize bytes', (kind) => {
  using map = BpfMap.create(kind)
  const rows = Array.from({ length: 700 }, (_, i) => {
    const bytes = new Uint8Array(kind.valueSize)
    bytes.set(value(i))
    return [key(i), bytes] as const
  })
  map.updateMany(rows)
  const sorted = [...map.entries()].sort(([a], [b]) => u32.decode(a) - u32.decode(b))
  expect(sorted).toEqual(rows)
  expect([...map.keys()].map((k) => u32.decode(k)).sort((a, b) => a - b)).toEqual(
    rows.map(([k]) => u32.decode(k)),
  )
})

test('maps of maps, which have other batches or none, read and write the same way', () => {
  using inner = BpfMap.create({ ...spec, name: 'test_inner' })
  using outer = BpfMap.create({
    type: 'hash_of_maps',
    keySize: 4,
    valueSize: 4,
    maxEntries: 8,
    name: 'test_outer',
    inner,
  })
  outer.updateMany([
    [key(1), u32.encode(inner.fd)],
    [key(2), u32.encode(inner.fd)],
  ])
  // Reading gives ids where writing took descriptors.
  const ids = [...outer.entries()].map(([, id]) => u32.decode(id))
  expect(ids).toEqual([inner.info.id, inner.info.id])
  using found = BpfMap.openId(inner.info.id)
  using copy = BpfMap.copyOf(inner.fd)
  inner.update(key(3), value(3))
  expect([found.lookup(key(3)), copy.lookup(key(3))]).toEqual([value(3), value(3)])
  expect([found.fd, copy.fd]).not.toContain(inner.fd)
  expect(() => BpfMap.openId(0xffff_ffff)).toThrow('BPF_MAP_GET_FD_BY_ID')
  expect(outer.deleteMany([key(1), key(5), key(2)])).toBe(2)
})

test('LPM maps: the longest prefix answers, entries() gives all', () => {
  const prefixKey = struct('prefix_key', { prefixLen: u32, addr })
  using map = BpfMap.create({
    type: 'lpm_trie',
    keySize: 20,
    valueSize: 4,
    maxEntries: 10,
    name: 'test_lpm',
    flags: 1,
  })
  const prefixes = new TypedMap(map, prefixKey, u32)
  prefixes.setMany([
    [{ prefixLen: 96 + 8, addr: '10.0.0.0' }, 1],
    [{ prefixLen: 96 + 24, addr: '10.244.1.0' }, 2],
    [{ prefixLen: 64, addr: 'fd00:0:0:1::' }, 3],
  ])
  expect(prefixes.get({ prefixLen: 128, addr: '10.244.1.5' })).toBe(2)
  expect(prefixes.get({ prefixLen: 128, addr: '10.244.2.5' })).toBe(1)
  expect(prefixes.get({ prefixLen: 128, addr: 'fd00:0:0:1::9' })).toBe(3)
  expect(prefixes.get({ prefixLen: 128, addr: '192.0.2.1' })).toBeUndefined()
  expect([...prefixes.entries()].map(([, id]) => id).sort()).toEqual([1, 2, 3])
  expect([...prefixes.keys()].map(({ addr: text }) => text)).toContain('fd00:0:0:1::')
})

test('deleteMany() deletes what is there and counts it', () => {
  using map = BpfMap.create(spec)
  map.updateMany(Array.from({ length: 10 }, (_, i) => [key(i), value(i)]))
  expect(map.deleteMany([20, 0, 21, 1, 2, 22].map(key))).toBe(3)
  expect([...map.keys()]).toHaveLength(7)
  expect(map.deleteMany([])).toBe(0)
})

test('keys() survives the deletion of what it gave', () => {
  using map = BpfMap.create(spec)
  map.updateMany(Array.from({ length: 500 }, (_, i) => [key(i), value(i)]))
  let seen = 0
  for (const one of map.keys()) {
    expect(map.delete(one)).toBe(true)
    seen++
  }
  expect(seen).toBe(500)
  expect([...map.entries()]).toEqual([])
})

test.each(['percpu_hash', 'percpu_array'] as const)('%s holds one value per CPU', (type) => {
  using map = BpfMap.create({ type, keySize: 4, valueSize: 4, maxEntries: 4, name: 'test_percpu' })
  const counts = new TypedPerCpuMap(map, u32, u32)
  const values = Array.from({ length: possibleCpus() }, (_, cpu) => cpu + 10)
  counts.set(2, values)
  expect(counts.get(2)).toEqual(values)
  expect(new Map(counts.entries()).get(2)).toEqual(values)
  expect(counts.get(3)).toEqual(type === 'percpu_array' ? values.map(() => 0) : undefined)
  expect(codeOf(() => map.lookup(key(2)))).toBe('EINVAL')
  expect(codeOf(() => map.update(key(2), key(1)))).toBe('EINVAL')
  expect(codeOf(() => map.updatePerCpu(key(2), [...values, 1].map(u32.encode)))).toBe('EINVAL')
  expect(() => new TypedMap(map, u32, u32)).toThrow('is per CPU')
})

test('TypedMap refuses codecs of other sizes', () => {
  using map = BpfMap.create(spec)
  expect(() => new TypedMap(map, u64, u64)).toThrow(
    'keys of 4 and values of 8 bytes, codecs 8 and 8',
  )
  expect(() => new TypedPerCpuMap(map, u32, u64)).toThrow('is not per CPU')
})

test('a pinned map is found again with its content', () => {
  const path = join(bpffs.path, 'folder/made/on/the/way')
  using map = BpfMap.create(spec)
  map.update(key(1), value(1))
  map.pin(path)
  expect(codeOf(() => map.pin(path))).toBe('EEXIST')
  map.close()
  using again = BpfMap.openPinned(path)
  expect(again.info).toEqual(map.info)
  expect(again.lookup(key(1))).toEqual(value(1))
  BpfMap.unpin(path)
  BpfMap.unpin(path)
  expect(codeOf(() => BpfMap.openPinned(path))).toBe('ENOENT')
})

test('pin() says when the path is on no bpf file system', () => {
  using map = BpfMap.create(spec)
  using plain = mkdtempDisposableSync(join(tmpdir(), 'sinabro-plain-'))
  expect(() => map.pin(join(plain.path, 'map'))).toThrow('is not on a bpf file system')
})

test('close() is safe twice and everything after it says EBADF', () => {
  const map = BpfMap.create(spec)
  map.close()
  map.close()
  expect(codeOf(() => map.lookup(key(1)))).toBe('EBADF')
  expect(codeOf(() => map.fd)).toBe('EBADF')
  // As a rule the number is taken again at once: a second close of ours would hit this one.
  using next = BpfMap.create(spec)
  map.close()
  next.update(key(1), value(1))
})
