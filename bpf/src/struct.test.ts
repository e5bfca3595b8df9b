// Struct codecs: bytes as a C compiler lays them out, refusals, types inferred.
import { expect, expectTypeOf, test } from 'vitest'
import {
  addr,
  array,
  be16,
  be32,
  bytes,
  type Codec,
  type Infer,
  mac,
  pad,
  struct,
  text,
  u8,
  u16,
  u32,
  u64,
} from './struct.ts'

const row = struct('row', {
  source: addr,
  port: be16,
  mac,
  flags: u8,
  pad: pad(3),
  id: u32,
  packets: u64,
  name: text(8),
})

const hexOf = (value: Uint8Array): string => Buffer.from(value).toString('hex')

const cases: readonly [string, Codec<unknown>, unknown, string][] = [
  ['u8', u8, 200, 'c8'],
  ['u16', u16, 0x1234, '3412'],
  ['u32', u32, 0xdeadbeef, 'efbeadde'],
  ['u64', u64, 0x1122334455667788n, '8877665544332211'],
  ['be16', be16, 8472, '2118'],
  ['be32', be32, 0x0a000001, '0a000001'],
  ['bytes', bytes(3), Uint8Array.of(1, 2, 3), '010203'],
  ['text', text(4), 'ab', '61620000'],
  ['text that fills its array', text(4), 'abcd', '61626364'],
  ['array', array(u16, 2), [1, 2], '01000200'],
  ['addr of IPv4', addr, '10.244.1.5', '00000000000000000000ffff0af40105'],
  ['addr of IPv6', addr, 'fd00::5', 'fd000000000000000000000000000005'],
  ['addr of nothing', addr, '::', '00000000000000000000000000000000'],
  ['mac', mac, '02:00:00:aa:bb:cc', '020000aabbcc'],
]

test.each(cases)('%s encodes, decodes and refuses every other length', (_, codec, value, hex) => {
  expect(hexOf(codec.encode(value))).toBe(hex)
  expect(codec.decode(Buffer.from(hex, 'hex'))).toEqual(value)
  expect(codec.size).toBe(hex.length / 2)
  for (let size = 0; size < codec.size; size++) {
    expect(() => codec.decode(new Uint8Array(size))).toThrow(RangeError)
  }
  expect(() => codec.decode(new Uint8Array(codec.size + 1))).toThrow(RangeError)
})

const refused: readonly [string, Codec<unknown>, unknown][] = [
  ['u8 above its range', u8, 256],
  ['u16 below zero', u16, -1],
  ['u32 with a fraction', u32, 1.5],
  ['u32 of no number', u32, Number.NaN],
  ['u64 above its range', u64, 1n << 64n],
  ['bytes of another length', bytes(2), Uint8Array.of(1)],
  ['text too long', text(2), 'abc'],
  ['array of another length', array(u8, 2), [1]],
  ['addr of no address', addr, '10.0.0'],
  ['mac of no MAC', mac, '02:00'],
]

test.each(refused)('%s is refused', (_, codec, value) => {
  expect(() => codec.encode(value)).toThrow()
})

test('struct() lays members out in order and says where', () => {
  expect(row.size).toBe(48)
  expect(row.fields).toEqual([
    { name: 'source', offset: 0, size: 16 },
    { name: 'port', offset: 16, size: 2 },
    { name: 'mac', offset: 18, size: 6 },
    { name: 'flags', offset: 24, size: 1 },
    { name: 'pad', offset: 25, size: 3 },
    { name: 'id', offset: 28, size: 4 },
    { name: 'packets', offset: 32, size: 8 },
    { name: 'name', offset: 40, size: 8 },
  ])
})

test('struct() round-trips, padding is zero and not part of the value', () => {
  const value: Infer<typeof row> = {
    source: '192.0.2.1',
    port: 53,
    mac: '02:00:00:00:00:01',
    flags: 3,
    id: 7,
    packets: 9n,
    name: 'eth0',
  }
  const encoded = row.encode(value)
  expect(row.decode(encoded)).toEqual(value)
  encoded.fill(0xff, 25, 28)
  expect(row.decode(encoded)).toEqual(value)
  expectTypeOf<Infer<typeof row>>().not.toHaveProperty('pad')
  expectTypeOf<Infer<typeof row>['packets']>().toEqualTypeOf<bigint>()
})

test('struct() decodes from the middle of a larger buffer', () => {
  const large = Buffer.alloc(64, 0xee)
  large.set(u32.encode(5), 13)
  expect(u32.decode(large.subarray(13, 17))).toBe(5)
})

test('struct() names struct and member in a refusal', () => {
  const inner = struct('inner', { port: u16 })
  const outer = struct('outer', { one: inner })
  expect(() => outer.encode({ one: { port: 70000 } })).toThrow(
    'struct outer, one: struct inner, port: expected an integer of 16 bits, found 70000',
  )
})

test('struct() refuses a hole that the compiler would make', () => {
  expect(() => struct('holed', { a: u8, b: u32 })).toThrow("hole before 'b' at 1")
  expect(() => struct('open', { a: u32, b: u8 })).toThrow('hole at the end, at 5')
})
