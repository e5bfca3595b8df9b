// Attribute lists described once: names, numbers and codecs in, a typed object out; what is not described is kept as bytes.
//
//    0               16              32
//   ┌───────────────┬─┬─┬───────────┐
//   │ length (4+n)  │N│B│   type    │   N = NLA_F_NESTED, B = NLA_F_NET_BYTEORDER   (struct nlattr, linux/netlink.h)
//   ├───────────────┴─┴─┴───────────┤
//   │ n bytes, then zeros up to a multiple of four
//   └───────────────────────────────
import type { Codec } from './codec.ts'
import { type AttrField, compileAttrs, compiledLater } from './compile.ts'
import type { Reader } from './reader.ts'
import type { Writer } from './writer.ts'

const NLA_F_NESTED = 0x8000
const NLA_TYPE_MASK = 0x3fff
const HEADER_BYTES = 4
const MAX_LENGTH = 0xffff

/** An attribute nobody described. `type` carries its flag bits, so that it is sent again exactly as it came. */
export interface UnknownAttribute {
  readonly type: number
  readonly bytes: Uint8Array
}

/** Of an object without any; lists are long, so it is the same for all. */
export const NO_UNKNOWN: readonly UnknownAttribute[] = Object.freeze([])

type Fields = Readonly<Record<string, readonly [type: number, codec: Codec<unknown>]>>

/** `undefined` is the same as absent, so that optional options can be passed through. */
export type AttrsValue<F extends Fields> = {
  readonly [K in keyof F]?: F[K] extends readonly [number, Codec<infer T>] ? T | undefined : never
} & { readonly unknown?: readonly UnknownAttribute[] | undefined }

/**
 * Describes an attribute list: `attrs('link', { mtu: [IFLA_MTU, u32], … })`.
 *
 * Decoding takes the last of a repeated attribute, as the kernel does, and needs every attribute to be whole. Encoding writes
 * in the order of the description, then `unknown`.
 */
export function attrs<const F extends Fields>(what: string, fields: F): Codec<AttrsValue<F>> {
  const list: AttrField[] = Object.entries(fields).map(([name, [type, codec]]) => ({
    name,
    what: `${what}.${name}`,
    type,
    codec,
  }))
  const byType: (AttrField | undefined)[] = []
  for (const field of list) byType[field.type] = field

  const decodeFields = compiledLater(
    (reader) => interpret(what, byType, reader),
    () =>
      compileAttrs(
        what,
        list.filter((field) => byType[field.type] === field),
      ),
  )
  return {
    isNest: true,
    encode(writer, value) {
      const given = value as Readonly<Record<string, unknown>>
      for (const field of list) {
        const one = given[field.name]
        if (one === undefined) continue
        if (field.codec.isRepeated) {
          for (const element of one as readonly unknown[]) encodeField(writer, field, [element])
        } else {
          encodeField(writer, field, one)
        }
      }
      for (const { type, bytes } of value.unknown ?? []) {
        const start = beginAttribute(writer, type)
        writer.bytes(bytes)
        finishAttribute(writer, start, what)
      }
    },
    decode(reader) {
      const outerWhat = reader.what
      reader.what = what
      const value = decodeFields(reader)
      reader.what = outerWhat
      return value as AttrsValue<F>
    },
  }
}

function interpret(
  what: string,
  byType: readonly (AttrField | undefined)[],
  reader: Reader,
): Record<string, unknown> {
  const value: Record<string, unknown> = {}
  let unknown: UnknownAttribute[] | undefined
  while (reader.remaining > 0) {
    const { type, length } = attributeHeader(reader)
    const outer = reader.narrow(length)
    const field = byType[type & NLA_TYPE_MASK]
    if (field === undefined) {
      unknown ??= []
      unknown.push({ type, bytes: reader.rest() })
    } else {
      reader.what = field.what
      const decoded = field.codec.decode(reader)
      reader.end()
      reader.what = what
      if (field.codec.isRepeated) {
        const before = (value[field.name] ?? []) as readonly unknown[]
        value[field.name] = before.concat(decoded)
      } else {
        value[field.name] = decoded
      }
    }
    reader.widen(outer)
    reader.skip(Math.min(-length & 3, reader.remaining))
  }
  if (unknown) value.unknown = unknown
  return value
}

/** A list in which the kernel numbers the elements instead of naming them: attribute types 1, 2, 3, … */
export function indexed<T>(element: Codec<T>): Codec<readonly T[]> {
  return {
    isNest: true,
    encode(writer, value) {
      value.forEach((one, at) => {
        const start = beginAttribute(writer, (at + 1) | (element.isNest ? NLA_F_NESTED : 0))
        element.encode(writer, one)
        finishAttribute(writer, start, 'list')
      })
    },
    decode(reader) {
      const list: T[] = []
      while (reader.remaining > 0) {
        const { length } = attributeHeader(reader)
        const outer = reader.narrow(length)
        list.push(element.decode(reader))
        reader.end()
        reader.widen(outer)
        reader.skip(Math.min(-length & 3, reader.remaining))
      }
      return list
    },
  }
}

function encodeField(writer: Writer, field: AttrField, value: unknown): void {
  const start = beginAttribute(writer, field.type | (field.codec.isNest ? NLA_F_NESTED : 0))
  try {
    field.codec.encode(writer, value)
  } catch (error) {
    // A wrong value deep in a nest is found by its name, not by a number in a stack trace.
    if (error instanceof RangeError) {
      throw new RangeError(`${field.what}: ${error.message}`, { cause: error })
    }
    throw error
  }
  finishAttribute(writer, start, field.what)
}

function attributeHeader(reader: Reader): { type: number; length: number } {
  const length = reader.u16()
  const type = reader.u16()
  if (length < HEADER_BYTES) throw reader.error(`attribute ${type} of length ${length}`)
  return { type, length: length - HEADER_BYTES }
}

function beginAttribute(writer: Writer, type: number): number {
  const start = writer.length
  writer.u16(0)
  writer.u16(type)
  return start
}

function finishAttribute(writer: Writer, start: number, what: string): void {
  const length = writer.length - start
  if (length > MAX_LENGTH) throw new RangeError(`${what}: ${length} bytes do not fit an attribute`)
  writer.patch16(start, length)
  writer.align4()
}
