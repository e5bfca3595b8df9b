// What a family says of itself, captured; and that nothing but DecodeError comes of damage.
import { describe, expect, test } from 'vitest'
import { decode, encode } from '../../testing/codec-rows.ts'
import { decodeAll, fixture } from '../../testing/messages.ts'
import { body } from '../codec/body.ts'
import { DecodeError } from '../codec/decode-error.ts'
import { Reader } from '../codec/reader.ts'
import { decodeFamily, familyAttrs, genlmsghdr } from './family-message.ts'

const controlMessage = body(genlmsghdr, familyAttrs)

describe('families', () => {
  test('genl ctrl get is what family() sends', () => {
    const [theirs] = decodeAll(fixture('family-get'), (payload) => controlMessage.decode(payload))
    const ours = { header: { command: 3, version: 0 }, attrs: { name: 'netdev' } }
    expect(theirs).toEqual(ours)
    expect(encode(controlMessage, ours)).toEqual(fixture('family-get').slice(16))
  })

  test('the answer has number, commands and groups', () => {
    const [family] = decodeAll(fixture('family'), (payload) => {
      expect(genlmsghdr.decode(payload)).toEqual({ command: 1, version: 2 })
      return decodeFamily(payload)
    })
    expect(family).toMatchObject({
      id: 0x14,
      name: 'netdev',
      version: 1,
      headerBytes: 0,
      groups: [
        { name: 'mgmt', id: 4 },
        { name: 'page-pool', id: 5 },
      ],
    })
    expect(family?.operations.map(({ command }) => command)).toEqual([1, 5, 10, 11, 12, 13, 14, 15])
  })

  test('every strict prefix of it is an error', () => {
    const payload = fixture('family').slice(20)
    const ends = attributeEnds(payload)
    for (let length = 1; length < payload.length; length++) {
      if (ends.has(length)) continue
      const cut = payload.slice(0, length)
      expect(() => decodeFamily(new Reader(cut)), `${length} bytes`).toThrow(DecodeError)
    }
    expect(decode({ encode: () => undefined, decode: decodeFamily }, payload).id).toBe(0x14)
  })
})

/** Cut between two attributes there is nothing wrong with those before. */
function attributeEnds(bytes: Uint8Array): Set<number> {
  const view = new DataView(bytes.buffer)
  const ends = new Set<number>()
  for (let at = 0; at + 4 <= bytes.length; ) {
    const end = at + view.getUint16(at, true)
    at = (end + 3) & ~3
    for (let legal = end; legal <= at; legal++) ends.add(legal)
  }
  return ends
}
