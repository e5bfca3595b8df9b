// Taking captured packets apart, with a frame that a Linux VXLAN device sent.
import { expect, test } from 'vitest'
import { decodePcap, decodeVxlan } from './capture.ts'
import { LabError } from './errors.ts'

test('decodePcap() leaves a record that is still being written', () => {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(0xa1b2c3d4)
  const record = Buffer.alloc(16 + 3, 7)
  record.writeUInt32LE(3, 8)
  const whole = Buffer.concat([header, record, record])
  expect(decodePcap(whole)).toEqual([Buffer.from([7, 7, 7]), Buffer.from([7, 7, 7])])
  expect(decodePcap(whole.subarray(0, -1))).toHaveLength(1)
  expect(decodePcap(header.subarray(0, 10))).toEqual([])
})

test('decodePcap() refuses what is no capture', () => {
  expect(() => decodePcap(Buffer.alloc(24))).toThrow(LabError)
})

test.each([0, 13, 14, 33, 41])('decodeVxlan() of %i bytes is undefined', (length) => {
  expect(decodeVxlan(Buffer.alloc(length, 0x08))).toBeUndefined()
})
