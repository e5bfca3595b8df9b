// One row, four claims: it decodes, it encodes, it comes back the same, and every strict prefix is an error.
import { expect, test } from 'vitest'
import { type Codec, DecodeError, Reader, Writer } from '../src/index.ts'
import { hex, toHex } from './messages.ts'

export interface CodecRow<T> {
  readonly name: string
  readonly codec: Codec<T>
  readonly value: T
  readonly hex: string
  /** For what may end anywhere by its nature: bytes, text. */
  readonly hasLegalPrefixes?: boolean
}

export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes)
  const value = codec.decode(reader)
  reader.end()
  return value
}

export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new Writer()
  codec.encode(writer, value)
  return writer.toBytes()
}

export function testCodec<T>(row: CodecRow<T>): void {
  const bytes = hex(row.hex)
  test(`${row.name} decodes`, () => {
    expect(decode(row.codec, bytes)).toEqual(row.value)
  })
  test(`${row.name} encodes`, () => {
    expect(toHex(encode(row.codec, row.value))).toBe(toHex(bytes))
  })
  if (row.hasLegalPrefixes) return
  test(`${row.name}: every strict prefix is an error`, () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decode(row.codec, bytes.slice(0, length)), `${length} bytes`).toThrow(
        DecodeError,
      )
    }
  })
}
