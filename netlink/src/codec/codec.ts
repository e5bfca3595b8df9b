// The values a netlink attribute can carry, each as one codec; the descriptors in ../route are written with these words.
import { formatMac, parseIp, parseMac } from '../ip.ts'
import type { Reader } from './reader.ts'
import type { Writer } from './writer.ts'

/** Both directions of one value. A decoder may read up to the reader's limit; what it leaves is an error. */
export interface Codec<T> {
  encode(writer: Writer, value: T): void
  decode(reader: Reader): T
  /** The payload is attributes, so NLA_F_NESTED belongs on the type. */
  readonly isNest?: boolean
  /** The attribute may occur many times; the value is an array with one element for each. */
  readonly isRepeated?: boolean
  /** Bytes without meaning, which are no part of the value. */
  readonly isPadding?: boolean
}

export type Infer<C> = C extends Codec<infer T> ? T : never

function unsigned(
  name: string,
  max: number,
  write: (writer: Writer, value: number) => void,
  read: (reader: Reader) => number,
): Codec<number> {
  return {
    encode(writer, value) {
      if (!Number.isInteger(value) || value < 0 || value > max) {
        throw new RangeError(`${value} is not a ${name}`)
      }
      write(writer, value)
    },
    decode: read,
  }
}

export const u8 = unsigned(
  'u8',
  0xff,
  (w, v) => w.u8(v),
  (r) => r.u8(),
)
export const u16 = unsigned(
  'u16',
  0xffff,
  (w, v) => w.u16(v),
  (r) => r.u16(),
)
export const u32 = unsigned(
  'u32',
  0xffff_ffff,
  (w, v) => w.u32(v),
  (r) => r.u32(),
)
export const be16 = unsigned(
  'be16',
  0xffff,
  (w, v) => w.be16(v),
  (r) => r.be16(),
)
export const be32 = unsigned(
  'be32',
  0xffff_ffff,
  (w, v) => w.be32(v),
  (r) => r.be32(),
)

export const i32: Codec<number> = {
  encode(writer, value) {
    if (value !== (value | 0)) throw new RangeError(`${value} is not an i32`)
    writer.i32(value)
  },
  decode: (reader) => reader.i32(),
}

export const u64: Codec<bigint> = {
  encode(writer, value) {
    if (value !== BigInt.asUintN(64, value)) throw new RangeError(`${value} is not a u64`)
    writer.u64(value)
  },
  decode: (reader) => reader.u64(),
}

/** A whole byte for yes or no, as most link options are. */
export const bool8: Codec<boolean> = {
  encode: (writer, value) => writer.u8(value ? 1 : 0),
  decode: (reader) => reader.u8() !== 0,
}

/** Present or not, without a payload (NLA_FLAG). `false` cannot be sent: leave the key out. */
export const flag: Codec<true> = {
  encode: () => undefined,
  decode: () => true,
}

const utf8 = new TextDecoder('utf-8')
const toUtf8 = new TextEncoder()

/** A string ended by NUL; names are at most `max` bytes without it, which the kernel would only call EINVAL or ERANGE. */
export function text(max: number): Codec<string> {
  return {
    encode(writer, value) {
      const bytes = toUtf8.encode(value)
      if (bytes.length > max) throw new RangeError(`${JSON.stringify(value)} is over ${max} bytes`)
      if (bytes.includes(0)) throw new RangeError(`${JSON.stringify(value)} contains NUL`)
      writer.bytes(bytes)
      writer.u8(0)
    },
    decode(reader) {
      const bytes = reader.rest()
      const nul = bytes.indexOf(0)
      return utf8.decode(nul < 0 ? bytes : bytes.subarray(0, nul))
    },
  }
}

/** Bytes as they are; with a length, exactly that many. */
export function bytes(length?: number): Codec<Uint8Array> {
  return {
    encode(writer, value) {
      if (length !== undefined && value.length !== length) {
        throw new RangeError(`${value.length} bytes where ${length} are meant`)
      }
      writer.bytes(value)
    },
    decode: (reader) => reader.bytes(length ?? reader.remaining),
  }
}

/** Attributes whose description depends on something else in the message, kept as bytes until that is known. */
export const rawNest: Codec<Uint8Array> = { ...bytes(), isNest: true }

/** An address of either family as text; its length says which. */
export const ip: Codec<string> = {
  encode: (writer, value) => writer.bytes(parseIp(value).bytes),
  decode(reader) {
    const length = reader.remaining
    if (length !== 4 && length !== 16) throw reader.error(`an address of ${length} bytes`)
    return reader.ip(length)
  },
}

/**
 * A hardware address as text, `02:00:…`. Tunnels carry an IP address of 4 or 16 bytes here and Infiniband 20 bytes, so any
 * length is printed; only six bytes can be sent.
 */
export const mac: Codec<string> = {
  encode: (writer, value) => writer.bytes(parseMac(value)),
  decode: (reader) => formatMac(reader.rest()),
}

/** A number with names. A number without a name stays a number, so that a newer kernel does not break a whole list. */
export function named<const N extends Readonly<Record<string, number>>>(
  number: Codec<number>,
  names: N,
): Codec<(keyof N & string) | number> {
  const byNumber = new Map(Object.entries(names).map(([name, value]) => [value, name]))
  return {
    encode(writer, value) {
      if (typeof value === 'number') return number.encode(writer, value)
      const found = names[value]
      if (found === undefined) throw new RangeError(`${JSON.stringify(value)} has no number`)
      number.encode(writer, found)
    },
    decode(reader) {
      const value = number.decode(reader)
      return (byNumber.get(value) as (keyof N & string) | undefined) ?? value
    },
  }
}

/** One attribute that the kernel repeats instead of nesting a list. */
export function repeated<T>(element: Codec<T>): Codec<readonly T[]> {
  return {
    isRepeated: true,
    isNest: element.isNest === true,
    encode(writer, value) {
      for (const one of value) element.encode(writer, one)
    },
    decode: (reader) => [element.decode(reader)],
  }
}
