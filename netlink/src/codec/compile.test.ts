// Compiled and interpreted decoders say the same of the same bytes, errors included.
import { describe, expect, test } from 'vitest'
import { hex } from '../../testing/messages.ts'
import { attrs } from './attrs.ts'
import { type Codec, flag, i32, repeated, text, u8, u16, u32 } from './codec.ts'
import { DECODES_BEFORE_COMPILING } from './compile.ts'
import { Reader } from './reader.ts'
import { pad, struct } from './struct.ts'

const thing = () =>
  attrs('thing', {
    size: [1, u32],
    name: [2, text(15)],
    nested: [3, attrs('inner', { low: [1, u16], isSet: [2, flag] })],
    aliases: [4, repeated(text(15))],
    place: [5, struct('place', { x: u8, gap: pad(3), y: i32 }, { isExtensible: true })],
    "it's": [6, u8],
  })

const rows: readonly (readonly [what: string, hex: string])[] = [
  ['nothing', ''],
  ['one of each', '0800 0100 07000000 0600 0200 6100 0000 0c00 0380 0600 0100 0900 0000'],
  ['an inner flag', '0800 0380 0400 0200'],
  ['a repeated one', '0600 0400 6100 0000 0600 0400 6200 0000'],
  ['one twice: the last counts', '0800 0100 07000000 0800 0100 08000000'],
  ['unknown ones, with their flag bits', '0500 6380 0100 0000 0400 0900'],
  ['a structure that has grown', '1000 0500 01 000000 ffffffff 00000000'],
  ['a name with a quote', '0500 0600 09'],
  ['half a header', '0800'],
  ['a length under four', '0300 0100'],
  ['more announced than is there', '0900 0100 07000000'],
  ['bytes left over', '0a00 0100 07000000 0000 0000'],
  ['too few inside a nest', '0900 0380 0600 0100 09'],
]

function outcome(codec: Codec<unknown>, bytes: Uint8Array): unknown {
  const reader = new Reader(bytes, 'outer')
  try {
    return { value: codec.decode(reader), what: reader.what, left: reader.remaining }
  } catch (error) {
    return String(error)
  }
}

describe('a compiled decoder', () => {
  test.each(rows)('is like an interpreted one: %s', (_, text) => {
    const bytes = hex(text)
    const codec = thing()
    const interpreted = outcome(codec, bytes)
    for (let count = 0; count < DECODES_BEFORE_COMPILING; count++) outcome(codec, bytes)
    expect(outcome(codec, bytes)).toStrictEqual(interpreted)
  })

  test('does not care what was decoded before', () => {
    const codec = thing()
    const first = rows.map(([, text]) => outcome(codec, hex(text)))
    for (let count = 0; count < DECODES_BEFORE_COMPILING; count++) outcome(codec, new Uint8Array())
    expect(rows.map(([, text]) => outcome(codec, hex(text)))).toStrictEqual(first)
  })
})
