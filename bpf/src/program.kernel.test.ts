// Programs on the real kernel: runs with packet and context, syscall programs, pins, what the kernel says of them.
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { mountBpffs } from '../testing/bpffs.ts'
import { readBtf } from '../testing/btf.ts'
import { compareLayout, compareMembers } from '../testing/layouts.ts'
import { encodeSkBuff, skBuff } from '../testing/skb.ts'
import { testObject } from '../testing/test-object.ts'
import { bpfMapInfo, bpfProgInfo } from './kernel-info.ts'
import { BpfObject } from './object.ts'
import { BpfProgram } from './program.ts'
import { array, struct, u8, u16, u32, u64 } from './struct.ts'

const basicRow = struct('basic_row', { packets: u64, mark: u32, port: u16, flags: array(u8, 2) })
const frame = Uint8Array.from({ length: 100 }, (_, i) => i)

const bpffs = mountBpffs()
let object: BpfObject
beforeAll(async () => {
  object = BpfObject.open(testObject('binding_basic'), {
    rodata: { basic_verdict: u32.encode(0xffffffff) },
  })
  await object.load()
})
afterAll(() => {
  object.close()
  bpffs.unmount()
})

test('testRun() takes packet and context and gives both back', () => {
  const ctx = encodeSkBuff({ mark: 9, cb: [41, 0, 0, 0, 5] })
  const out = object.program('basic_count').testRun({ data: frame, ctx })
  expect(out.retval).toBe(-1)
  expect(out.data).toEqual(frame)
  const skb = skBuff.decode(out.ctx)
  expect(skb).toMatchObject({ mark: 0x5b, cb: [42, 0, 0, 0, 5] })
  const row = object.map('basic_hash').lookup(u32.encode(0)) ?? new Uint8Array()
  expect(basicRow.decode(row)).toEqual({ packets: 1n, mark: 9, port: 0, flags: [0, 0] })
  expect(ctx).toEqual(encodeSkBuff({ mark: 9, cb: [41, 0, 0, 0, 5] }))
})

test('testRun() repeats, and times the average', () => {
  const program = object.program('basic_count')
  const once = program.testRun({ data: frame, ctx: encodeSkBuff({}), repeat: 1000 })
  expect(skBuff.decode(once.ctx).cb[0]).toBe(1000)
  expect(once.durationNs).toBeGreaterThan(0)
})

test('testRun() without a context gives none unless asked', () => {
  const program = object.program('basic_count')
  expect(program.testRun({ data: frame }).ctx).toHaveLength(0)
  const { ctx } = program.testRun({ data: frame, ctxOutBytes: skBuff.size })
  expect(skBuff.decode(ctx).mark).toBe(0x5b)
})

test('testRun() refuses what the kernel refuses', () => {
  const program = object.program('basic_count')
  expect(() => program.testRun({ data: new Uint8Array(13) })).toThrow('EINVAL')
  // `len` is none of the fields a caller may set.
  const ctx = skBuff.encode({ ...skBuff.decode(encodeSkBuff({})), len: 1 })
  expect(() => program.testRun({ data: frame, ctx })).toThrow('EINVAL')
})

test('a syscall program answers through its context, on this thread or the pool', async () => {
  const program = object.program('basic_call')
  const ctx = basicRow.encode({ packets: 5n, mark: 0, port: 0, flags: [0, 0] })
  const here = program.testRun({ ctx })
  expect(here.retval).toBe(7)
  expect(basicRow.decode(here.ctx).packets).toBe(6n)
  const pool = await Promise.all([program.run(ctx), program.run(ctx)])
  expect(pool.map(({ retval }) => retval)).toEqual([7, 7])
  expect(pool.map((one) => basicRow.decode(one.ctx).packets)).toEqual([6n, 6n])
  expect(basicRow.decode(ctx).packets).toBe(5n)
  await expect(object.program('basic_count').run(ctx)).rejects.toMatchObject({ code: 'EINVAL' })
})

test('a pinned program is found again', () => {
  const program = object.program('basic_count')
  const path = join(bpffs.path, 'programs/basic_count')
  program.pin(path)
  using again = BpfProgram.openPinned(path)
  expect(again).toMatchObject({ id: program.id, name: program.name, type: 'sched_cls' })
  expect(() => BpfProgram.openPinned(`${path}_not`)).toThrow('ENOENT')
})

test('layouts of the kernel are those it says itself', () => {
  const kernel = readBtf('/sys/kernel/btf/vmlinux')
  const named = (codec: typeof bpfMapInfo | typeof bpfProgInfo) =>
    codec.fields.map(({ name }) => name).filter((name) => !/^(pad|unused)$/.test(name))
  expect(compareMembers(bpfMapInfo, kernel, named(bpfMapInfo))).toEqual([])
  expect(compareMembers(bpfProgInfo, kernel, named(bpfProgInfo))).toEqual([])
  // Two members of a context are pointers in anonymous unions.
  const members = skBuff.fields.map(({ name }) => name)
  const plain = members.filter((name) => !['pad', 'flowKeys', 'sk'].includes(name))
  expect(compareMembers(skBuff, kernel, plain)).toEqual([])
})

test('compareLayout() is silent about the same layout and names what differs', () => {
  const btf = readBtf(testObject('binding_basic'))
  expect(compareLayout(basicRow, btf)).toEqual([])
  const other = struct('basic_row', { packets: u64, port: u32, mark: u32, flagBytes: u64 })
  expect(compareLayout(other, btf)).toEqual([
    'struct basic_row: 16 bytes in C, 24 here',
    'struct basic_row, member 1: mark at 8, 4 bytes in C, port at 8, 4 bytes here',
    'struct basic_row, member 2: port at 12, 2 bytes in C, mark at 12, 4 bytes here',
    'struct basic_row, member 3: flags at 14, 2 bytes in C, flag_bytes at 16, 8 bytes here',
  ])
  expect(compareLayout(struct('basic_typo', { a: u8 }), btf)).toEqual([
    'struct basic_typo: not in the object',
  ])
})
