// A buffer that grows in the middle of any write keeps what was written.
import { expect, test } from 'vitest'
import { Writer } from './writer.ts'

test.each([
  ['u8', (writer: Writer) => writer.u8(0xfe), [0xfe]],
  ['u16', (writer: Writer) => writer.u16(0x1234), [0x34, 0x12]],
  ['u32', (writer: Writer) => writer.u32(0x1234_5678), [0x78, 0x56, 0x34, 0x12]],
  ['i32', (writer: Writer) => writer.i32(-2), [0xfe, 0xff, 0xff, 0xff]],
  ['u64', (writer: Writer) => writer.u64(1n), [1, 0, 0, 0, 0, 0, 0, 0]],
  ['be16', (writer: Writer) => writer.be16(0x1234), [0x12, 0x34]],
  ['be32', (writer: Writer) => writer.be32(0x1234_5678), [0x12, 0x34, 0x56, 0x78]],
  ['bytes', (writer: Writer) => writer.bytes(Uint8Array.of(1, 2, 3)), [1, 2, 3]],
  ['zeros', (writer: Writer) => writer.zeros(2), [0, 0]],
])('%s across the end of the memory', (_, write, bytes) => {
  for (let before = 0; before <= 8; before++) {
    const writer = new Writer(8)
    for (let at = 0; at < before; at++) writer.u8(at)
    write(writer)
    expect([...writer.toBytes()]).toEqual([...Array(before).keys(), ...bytes])
  }
})

test('truncate() takes back, zeros() clears what was there', () => {
  const writer = new Writer(8)
  writer.u32(0xffff_ffff)
  writer.truncate(1)
  writer.align4()
  expect([...writer.toBytes()]).toEqual([0xff, 0, 0, 0])
})
