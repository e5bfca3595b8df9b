// The words descriptors are written with: bytes of each, limits of each, and that the types hold.
import { describe, expect, expectTypeOf, test } from 'vitest'
import { decode, encode, testCodec } from '../../testing/codec-rows.ts'
import { hex } from '../../testing/messages.ts'
import { attrs, indexed } from './attrs.ts'
import {
  be16,
  be32,
  bool8,
  bytes,
  flag,
  type Infer,
  i32,
  ip,
  mac,
  named,
  repeated,
  text,
  u8,
  u16,
  u32,
  u64,
} from './codec.ts'
import { DecodeError } from './decode-error.ts'
import { Reader } from './reader.ts'
import { pad, struct } from './struct.ts'

const point = struct('point', { x: i32, y: i32 })

testCodec({ name: 'u8', codec: u8, value: 0xfe, hex: 'fe' })
testCodec({ name: 'u16', codec: u16, value: 0x1234, hex: '34 12' })
testCodec({ name: 'u32', codec: u32, value: 0xfedc_ba98, hex: '98 ba dc fe' })
testCodec({ name: 'i32', codec: i32, value: -2, hex: 'fe ff ff ff' })
testCodec({ name: 'u64', codec: u64, value: 2n ** 64n - 2n, hex: 'fe ff ff ff ff ff ff ff' })
testCodec({ name: 'be16', codec: be16, value: 8472, hex: '21 18' })
testCodec({ name: 'be32', codec: be32, value: 0x0102_0304, hex: '01 02 03 04' })
testCodec({ name: 'bool8', codec: bool8, value: true, hex: '01' })
testCodec({ name: 'bytes(3)', codec: bytes(3), value: Uint8Array.of(1, 2, 3), hex: '01 02 03' })
testCodec({ name: 'ip, IPv4', codec: ip, value: '10.0.0.1', hex: '0a 00 00 01' })
testCodec({
  name: 'ip, IPv6',
  codec: ip,
  value: 'fd00::5',
  hex: 'fd 00 00 00 00 00 00 00 00 00 00 00 00 00 00 05',
  hasLegalPrefixes: true,
})
testCodec({
  name: 'mac',
  codec: mac,
  value: '02:00:00:00:00:0a',
  hex: '02 00 00 00 00 0a',
  hasLegalPrefixes: true,
})
testCodec({
  name: 'text',
  codec: text(15),
  value: 'eth0',
  hex: '65 74 68 30 00',
  hasLegalPrefixes: true,
})
testCodec({ name: 'struct', codec: point, value: { x: 1, y: -1 }, hex: '01 00 00 00 ff ff ff ff' })
testCodec({
  name: 'named',
  codec: named(u8, { down: 2, up: 6 }),
  value: 'up',
  hex: '06',
})
testCodec({
  name: 'indexed',
  codec: indexed(u16),
  value: [7, 8],
  hex: '06 00 01 00 07 00 00 00  06 00 02 00 08 00 00 00',
  hasLegalPrefixes: true,
})

const sample = attrs('sample', {
  name: [3, text(15)],
  mtu: [4, u32],
  aliases: [5, repeated(text(15))],
  isOn: [6, flag],
  nest: [7, attrs('nest', { port: [1, be16] })],
})

testCodec({
  name: 'attrs',
  codec: sample,
  value: { name: 'a', mtu: 1400, aliases: ['b', 'cc'], isOn: true, nest: { port: 443 } },
  hex: `
    06 00 03 00  61 00 00 00
    08 00 04 00  78 05 00 00
    06 00 05 00  62 00 00 00
    07 00 05 00  63 63 00 00
    04 00 06 00
    0c 00 07 80  06 00 01 00  01 bb 00 00`,
  hasLegalPrefixes: true,
})

describe('attrs()', () => {
  test('keeps what is not described, with its flag bits, and sends it again', () => {
    const given = hex('08 00 63 80  01 02 03 04   08 00 04 00  78 05 00 00')
    const value = decode(sample, given)
    expect(value).toEqual({
      mtu: 1400,
      unknown: [{ type: 0x8063, bytes: Uint8Array.of(1, 2, 3, 4) }],
    })
    expect(decode(sample, encode(sample, value))).toEqual(value)
  })

  test('takes the last of an attribute that comes twice', () => {
    expect(decode(sample, hex('08 00 04 00 01 00 00 00  08 00 04 00 02 00 00 00'))).toEqual({
      mtu: 2,
    })
  })

  test('leaves out what is undefined', () => {
    expect(encode(sample, { mtu: undefined })).toHaveLength(0)
  })

  test.each([
    ['a header that is cut', '08 00 04'],
    ['a length below four', '03 00 04 00'],
    ['a length past the end', '09 00 04 00 01 00 00 00'],
    ['a value that is too short', '06 00 04 00 01 00 00 00'],
    ['a value that is too long', '09 00 04 00 01 00 00 00 00 00 00 00'],
    ['a nest that overruns its parent', '0c 00 07 80 0c 00 01 00 01 bb 00 00'],
  ])('refuses %s', (_, given) => {
    expect(() => decode(sample, hex(given))).toThrow(DecodeError)
  })

  test('an error names the attribute and where it is', () => {
    expect(() => decode(sample, hex('06 00 03 00 61 00 00 00  06 00 04 00 01 00 00 00'))).toThrow(
      'sample.mtu at byte 12: 4 bytes expected, 2 are there',
    )
  })

  test('a value out of range is named by its path', () => {
    expect(() => encode(sample, { nest: { port: 65_536 } })).toThrow(
      'sample.nest: nest.port: 65536 is not a be16',
    )
    expect(() => encode(sample, { name: 'sixteen-letters!' })).toThrow(RangeError)
    expect(() => encode(sample, { name: 'a\0b' })).toThrow('contains NUL')
    expect(() => encode(sample, { mtu: -1 })).toThrow(RangeError)
    expect(() => encode(sample, { mtu: 1.5 })).toThrow(RangeError)
  })

  test('infers the type of every attribute', () => {
    expectTypeOf<Infer<typeof sample>['mtu']>().toEqualTypeOf<number | undefined>()
    expectTypeOf<Infer<typeof sample>['aliases']>().toEqualTypeOf<readonly string[] | undefined>()
    expectTypeOf<Infer<typeof point>>().toEqualTypeOf<{ readonly x: number; readonly y: number }>()
    // @ts-expect-error a misspelt key
    expect(encode(sample, { mtuu: 1 })).toHaveLength(0)
    // @ts-expect-error a wrong type
    expect(() => encode(sample, { mtu: '1' })).toThrow(RangeError)
  })
})

describe('named()', () => {
  const state = named(u8, { down: 2, up: 6 })

  test('keeps a number that has no name', () => {
    expect(decode(state, Uint8Array.of(9))).toBe(9)
    expect(encode(state, 9)).toEqual(Uint8Array.of(9))
  })
})

describe('struct()', () => {
  test('skips what a newer kernel appends, where that is allowed', () => {
    const growing = struct('growing', { x: u8 }, { isExtensible: true })
    expect(decode(growing, Uint8Array.of(1, 2, 3))).toEqual({ x: 1 })
    expect(() => decode(struct('fixed', { x: u8 }), Uint8Array.of(1, 2))).toThrow(DecodeError)
  })

  test('writes padding as zeros and does not show it', () => {
    const padded = struct('padded', { x: u8, pad: pad(3), y: u32 })
    expect(encode(padded, { x: 1, y: 2 })).toEqual(hex('01 00 00 00 02 00 00 00'))
    expect(decode(padded, hex('01 ff ff ff 02 00 00 00'))).toEqual({ x: 1, y: 2 })
  })
})

describe('Reader', () => {
  test('what it hands out stays when the buffer is used again', () => {
    const buffer = Uint8Array.of(1, 2, 3)
    const kept = new Reader(buffer).bytes(3)
    buffer.fill(9)
    expect(kept).toEqual(Uint8Array.of(1, 2, 3))
  })

  test('does not look past the length of the datagram into the rest of the buffer', () => {
    const reader = new Reader(new Uint8Array(8), 'datagram', 4)
    reader.skip(4)
    expect(() => reader.u8()).toThrow(DecodeError)
  })
})
