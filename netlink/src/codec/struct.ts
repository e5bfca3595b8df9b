// Fixed C structures described by their fields in memory order: `struct('ifinfomsg', { family: u8, … })`.
import type { Codec } from './codec.ts'
import { compiledLater, compileStruct } from './compile.ts'

declare const padding: unique symbol
interface Pad extends Codec<undefined> {
  readonly [padding]?: true
}

/** Bytes without meaning: zero when sent, not looked at when received. */
export function pad(length: number): Pad {
  return {
    isPadding: true,
    encode: (writer) => writer.zeros(length),
    decode(reader) {
      reader.skip(length)
      return undefined
    },
  }
}

type Fields = Readonly<Record<string, Codec<unknown>>>
type StructValue<F extends Fields> = {
  readonly [K in keyof F as F[K] extends Codec<infer T>
    ? T extends undefined
      ? never
      : K
    : never]: F[K] extends Codec<infer T> ? T : never
}

/**
 * A structure that may grow: bytes after the fields known here are skipped when `isExtensible`, as the kernel only ever
 * appends to the ones it hands out in attributes.
 */
export function struct<const F extends Fields>(
  what: string,
  fields: F,
  { isExtensible = false } = {},
): Codec<StructValue<F>> {
  const entries = Object.entries(fields)
  const decodeFields = compiledLater(
    (reader) => {
      const value: Record<string, unknown> = {}
      for (const [name, codec] of entries) {
        const field = codec.decode(reader)
        if (field !== undefined) value[name] = field
      }
      return value
    },
    () => compileStruct(entries.map(([name, codec]) => ({ name, codec }))),
  )
  return {
    encode(writer, value) {
      const given = value as Readonly<Record<string, unknown>>
      for (const [name, codec] of entries) codec.encode(writer, given[name])
    },
    decode(reader) {
      const outer = reader.what
      reader.what = what
      const value = decodeFields(reader)
      if (isExtensible) reader.skip(reader.remaining)
      reader.what = outer
      return value as StructValue<F>
    },
  }
}
