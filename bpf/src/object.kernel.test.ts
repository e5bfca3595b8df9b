// Objects through the real verifier: constants, sizes, pinned maps re-used or refused, errors that say why.
import { mkdtempDisposableSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { mountBpffs, type PrivateBpffs } from '../testing/bpffs.ts'
import { testObject } from '../testing/test-object.ts'
import { BpfError } from './error.ts'
import { BpfMap } from './map.ts'
import { BpfObject, type OpenOptions } from './object.ts'
import { u32, u64 } from './struct.ts'

const basic = testObject('binding_basic')
const frame = new Uint8Array(64)

let bpffs: PrivateBpffs
beforeEach(() => {
  bpffs = mountBpffs()
})
afterEach(() => bpffs.unmount())

async function loaded(path: string, options: OpenOptions = {}): Promise<BpfObject> {
  using stack = new DisposableStack()
  const object = stack.use(BpfObject.open(path, options))
  await object.load()
  stack.move()
  return object
}

async function refusal(call: () => unknown): Promise<BpfError> {
  try {
    await call()
  } catch (error) {
    if (error instanceof BpfError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

test('load() gives every program and map an owner', async () => {
  using object = await loaded(basic)
  expect(object.programs.map(({ name }) => name)).toEqual(['basic_count', 'basic_call'])
  expect(object.maps.map(({ info }) => info.name).sort()).toEqual(['basic_hash', 'basic_percpu'])
  expect(object.program('basic_count')).toMatchObject({ type: 'sched_cls' })
  expect(object.program('basic_call')).toMatchObject({ type: 'syscall' })
  for (const { id, verifiedInstructions, jitedBytes } of object.programs) {
    expect(id).toBeGreaterThan(0)
    expect(verifiedInstructions).toBeGreaterThan(0)
    expect(jitedBytes).toBeGreaterThan(0)
  }
})

test('rodata sets constants by name', async () => {
  using plain = await loaded(basic)
  expect(plain.program('basic_count').testRun({ data: frame }).retval).toBe(0)
  const row = new Uint8Array(16)
  row.set(u64.encode(41n))
  using set = await loaded(basic, {
    rodata: { basic_verdict: u32.encode(2), basic_row_default: row },
  })
  expect(set.program('basic_count').testRun({ data: frame }).retval).toBe(2)
  const counted = set.map('basic_hash').lookup(u32.encode(0))
  expect(u64.decode(counted?.subarray(0, 8) ?? new Uint8Array())).toBe(42n)
})

test('open() refuses constants the object does not have, or of another size', async () => {
  const unknown = () => BpfObject.open(basic, { rodata: { basic_typo: u32.encode(2) } })
  expect(await refusal(unknown)).toMatchObject({
    code: 'ENOENT',
    op: `set constant basic_typo of ${basic}`,
  })
  const wide = () => BpfObject.open(basic, { rodata: { basic_verdict: u64.encode(2n) } })
  expect(await refusal(wide)).toMatchObject({ code: 'EMSGSIZE' })
})

test('maxEntries resizes maps', async () => {
  using object = await loaded(basic, { maxEntries: { basic_hash: 3 } })
  expect(object.map('basic_hash').info.maxEntries).toBe(3)
  const unknown = () => BpfObject.open(basic, { maxEntries: { basic_typo: 3 } })
  expect((await refusal(unknown)).code).toBe('ENOENT')
  const of = (name: string) => ({ basic_hash: 4, basic_typo: 5 })[name]
  using asked = await loaded(basic, { maxEntries: of })
  expect(asked.map('basic_hash').info.maxEntries).toBe(4)
})

test('a refused program comes with the log of the verifier', async () => {
  const error = await refusal(() => loaded(testObject('binding_refused')))
  expect(error.code).toBe('verifier')
  expect(error.errno).toBe(13)
  expect(error.verifierLog).toContain('invalid access to packet')
  expect(error.message).toContain("prog 'refused_read'")
})

test('a file that is no object is refused', async () => {
  expect(await refusal(() => BpfObject.open('/nowhere.bpf.o'))).toMatchObject({ code: 'ENOENT' })
  const text = await refusal(() => BpfObject.open(import.meta.filename))
  expect(text.code).toBe('object')
  expect(text.message).toContain('is not a proper ELF object')
})

test('pinDir pins what is new and re-uses what is pinned', async () => {
  const pinDir = join(bpffs.path, 'v1/maps')
  const first = await loaded(basic, { pinDir })
  const { id } = first.map('basic_hash').info
  first.map('basic_hash').update(u32.encode(7), new Uint8Array(16))
  first.close()

  using second = await loaded(basic, { pinDir })
  expect(second.map('basic_hash').info.id).toBe(id)
  expect(second.map('basic_hash').lookup(u32.encode(7))).toEqual(new Uint8Array(16))
  second.program('basic_count').testRun({ data: frame })
  using seen = BpfMap.openPinned(join(pinDir, 'basic_hash'))
  expect(seen.lookup(u32.encode(0))).toBeDefined()
})

test('two objects that load at the same time share their maps', async () => {
  const pinDir = join(bpffs.path, 'maps')
  const [one, two] = await Promise.all([loaded(basic, { pinDir }), loaded(basic, { pinDir })])
  expect(one.map('basic_hash').info.id).toBe(two.map('basic_hash').info.id)
  one.close()
  two.close()
})

test('a pinned map of another layout is refused by name, and stays', async () => {
  const pinDir = join(bpffs.path, 'maps')
  using first = await loaded(basic, { pinDir })
  const error = await refusal(() => loaded(testObject('binding_maps'), { pinDir }))
  expect(error.code).toBe('layout')
  expect(error.op).toContain('basic_hash')
  expect(error.message).toContain('valueSize is 16, expected 8')
  const resized = await refusal(() => loaded(basic, { pinDir, maxEntries: { basic_hash: 9 } }))
  expect(resized.code).toBe('layout')
  expect(resized.message).toContain('maxEntries is 64, expected 9')
  using pinned = BpfMap.openPinned(join(pinDir, 'basic_hash'))
  expect(pinned.info.id).toBe(first.map('basic_hash').info.id)
})

test('a load that cannot pin leaves no pin', async () => {
  using plain = mkdtempDisposableSync(join(tmpdir(), 'sinabro-plain-'))
  const error = await refusal(() => loaded(basic, { pinDir: plain.path }))
  expect(error.code).toBe('EPERM')
  expect(error.message).toContain('is not on a bpf file system')
})

test('names are answered only after load(), and only those that exist', async () => {
  using object = BpfObject.open(basic)
  expect((await refusal(() => object.program('basic_count'))).message).toContain('not loaded yet')
  await object.load()
  expect((await refusal(() => object.program('basic_typo'))).message).toContain('none of that name')
  expect((await refusal(() => object.map('basic_typo'))).code).toBe('ENOENT')
  expect((await refusal(() => object.load())).code).toBe('EBADF')
})

test('close() is safe twice, before load() and during it', async () => {
  const opened = BpfObject.open(basic)
  opened.close()
  opened.close()
  expect((await refusal(() => opened.load())).code).toBe('EBADF')

  const pinDir = join(bpffs.path, 'maps')
  const loading = BpfObject.open(basic, { pinDir })
  const load = loading.load()
  // Whether the close comes before the verifier or after, nothing is left and the load does not succeed.
  await Promise.resolve()
  loading.close()
  loading.close()
  expect((await refusal(() => load)).code).toMatch(/^E(BADF|CANCELED)$/)
  expect((await refusal(() => BpfMap.openPinned(join(pinDir, 'basic_hash')))).code).toBe('ENOENT')

  const done = await loaded(basic)
  done.close()
  done.close()
  expect((await refusal(() => done.program('basic_count'))).code).toBe('EBADF')
})
