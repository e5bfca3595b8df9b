// Codecs for C structs shared with eBPF: declared once, types inferred, padding explicit, sizes and offsets exposed.
import { formatIp, formatMac, parseIp, parseMac } from '@sinabro/node-netlink'

/** Bytes of one fixed-size C type and its value in TypeScript. */
export interface Codec<T> {
  readonly size: number
  /** As the C compiler aligns it; a struct may not leave holes that it does not name. */
  readonly align: number
  read(view: DataView, at: number): T
  write(view: DataView, at: number, value: T): void
  encode(value: T): Uint8Array
  /** @throws RangeError if the length is not exactly `size` */
  decode(bytes: Uint8Array): T
}

export type Infer<C> = C extends Codec<infer T> ? T : never

/** Bytes without meaning: written as zero, not read, absent from the value. */
export interface Pad extends Codec<undefined> {
  readonly isPad: true
}

export interface Field {
  readonly name: string
  readonly offset: number
  readonly size: number
}

export interface Struct<T> extends Codec<T> {
  /** The struct's tag in C. */
  readonly name: string
  readonly fields: readonly Field[]
}

type Members = Readonly<Record<string, Codec<unknown>>>
type ValueOf<M extends Members> = {
  readonly [K in keyof M as M[K] extends Pad ? never : K]: Infer<M[K]>
}

const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function bytesAt(view: DataView, at: number, size: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, size)
}

/** A codec from its reader and writer; both may count on `size` bytes being there. */
export function codec<T>(
  size: number,
  align: number,
  read: (view: DataView, at: number) => T,
  write: (view: DataView, at: number, value: T) => void,
): Codec<T> {
  return {
    size,
    align,
    read,
    write,
    encode(value) {
      const bytes = new Uint8Array(size)
      write(viewOf(bytes), 0, value)
      return bytes
    },
    decode(bytes) {
      if (bytes.length !== size) {
        throw new RangeError(`expected ${size} bytes, found ${bytes.length}`)
      }
      return read(viewOf(bytes), 0)
    },
  }
}

function unsigned(value: number, bits: 8 | 16 | 32): number {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** bits) {
    throw new RangeError(`expected an integer of ${bits} bits, found ${value}`)
  }
  return value
}

export const u8: Codec<number> = codec(
  1,
  1,
  (view, at) => view.getUint8(at),
  (view, at, value) => view.setUint8(at, unsigned(value, 8)),
)
export const u16: Codec<number> = codec(
  2,
  2,
  (view, at) => view.getUint16(at, isLittleEndian),
  (view, at, value) => view.setUint16(at, unsigned(value, 16), isLittleEndian),
)
export const u32: Codec<number> = codec(
  4,
  4,
  (view, at) => view.getUint32(at, isLittleEndian),
  (view, at, value) => view.setUint32(at, unsigned(value, 32), isLittleEndian),
)
export const u64: Codec<bigint> = codec(
  8,
  8,
  (view, at) => view.getBigUint64(at, isLittleEndian),
  (view, at, value) => {
    if (value < 0n || value >= 1n << 64n) {
      throw new RangeError(`expected an integer of 64 bits, found ${value}`)
    }
    view.setBigUint64(at, value, isLittleEndian)
  },
)
/** `__be16`: network order, as ports are on the wire. */
export const be16: Codec<number> = codec(
  2,
  2,
  (view, at) => view.getUint16(at),
  (view, at, value) => view.setUint16(at, unsigned(value, 16)),
)
/** `__be32`: network order. */
export const be32: Codec<number> = codec(
  4,
  4,
  (view, at) => view.getUint32(at),
  (view, at, value) => view.setUint32(at, unsigned(value, 32)),
)

/** `__u8 x[size]`, exactly. */
export function bytes(size: number): Codec<Uint8Array> {
  return codec(
    size,
    1,
    (view, at) => bytesAt(view, at, size).slice(),
    (view, at, value) => {
      if (value.length !== size) {
        throw new RangeError(`expected ${size} bytes, found ${value.length}`)
      }
      bytesAt(view, at, size).set(value)
    },
  )
}

/** `char x[size]`, ASCII, ended by NUL unless it fills the array. */
export function text(size: number): Codec<string> {
  return codec(
    size,
    1,
    (view, at) => {
      const all = bytesAt(view, at, size)
      const end = all.indexOf(0)
      return String.fromCharCode(...all.subarray(0, end < 0 ? size : end))
    },
    (view, at, value) => {
      const all = Uint8Array.from(value, (character) => unsigned(character.charCodeAt(0), 8))
      if (all.length > size)
        throw new RangeError(`expected at most ${size} bytes, found '${value}'`)
      bytesAt(view, at, size).fill(0).set(all)
    },
  )
}

/** `T x[count]`. */
export function array<T>(of: Codec<T>, count: number): Codec<readonly T[]> {
  return codec<readonly T[]>(
    of.size * count,
    of.align,
    (view, at) => Array.from({ length: count }, (_, i) => of.read(view, at + i * of.size)),
    (view, at, value) => {
      if (value.length !== count) {
        throw new RangeError(`expected ${count} elements, found ${value.length}`)
      }
      for (const [i, element] of value.entries()) of.write(view, at + i * of.size, element)
    },
  )
}

/** Explicit padding, also where the C struct names it: `__u8 pad[3]`. */
export function pad(size: number): Pad {
  const plain = codec<undefined>(
    size,
    1,
    () => undefined,
    (view, at) => {
      bytesAt(view, at, size).fill(0)
    },
  )
  return { ...plain, isPad: true }
}

const v4Mapped = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff)

/** `struct addr`: 16 bytes, IPv4 as v4-mapped; in TypeScript canonical text of either family. */
export const addr: Codec<string> = codec(
  16,
  1,
  (view, at) => {
    const all = bytesAt(view, at, 16)
    const isV4 = v4Mapped.every((byte, i) => all[i] === byte)
    return formatIp(all.slice(isV4 ? 12 : 0))
  },
  (view, at, value) => {
    const ip = parseIp(value)
    const all = bytesAt(view, at, 16)
    if (ip.family === 4) {
      all.set(v4Mapped)
      all.set(ip.bytes, 12)
    } else {
      all.set(ip.bytes)
    }
  },
)

/** `__u8 mac[6]`, lower-case text with colons. */
export const mac: Codec<string> = codec(
  6,
  1,
  (view, at) => formatMac(bytesAt(view, at, 6)),
  (view, at, value) => bytesAt(view, at, 6).set(parseMac(value)),
)

function isPad(member: Codec<unknown>): member is Pad {
  return 'isPad' in member
}

/**
 * A C struct: `struct('flow_key', { saddr: addr, sport: be16, pad: pad(2) })`, members in the order of the C source.
 * @throws TypeError if the compiler would put a hole where none is named
 */
export function struct<const M extends Members>(name: string, members: M): Struct<ValueOf<M>> {
  const layout: (Field & { readonly member: Codec<unknown> })[] = []
  let size = 0
  let align = 1
  for (const [field, member] of Object.entries(members)) {
    if (size % member.align !== 0) {
      throw new TypeError(`struct ${name}: hole before '${field}' at ${size}: name the padding`)
    }
    layout.push({ name: field, offset: size, size: member.size, member })
    size += member.size
    align = Math.max(align, member.align)
  }
  if (size % align !== 0) {
    throw new TypeError(`struct ${name}: hole at the end, at ${size}: name the padding`)
  }
  const plain = codec<ValueOf<M>>(
    size,
    align,
    (view, at) => {
      const value: Record<string, unknown> = {}
      for (const { name: field, offset, member } of layout) {
        if (!isPad(member)) value[field] = member.read(view, at + offset)
      }
      return value as ValueOf<M>
    },
    (view, at, value) => {
      for (const { name: field, offset, member } of layout) {
        try {
          member.write(view, at + offset, (value as Record<string, unknown>)[field])
        } catch (cause) {
          throw new RangeError(`struct ${name}, ${field}: ${messageOf(cause)}`, { cause })
        }
      }
    },
  )
  return {
    ...plain,
    name,
    fields: layout.map(({ name: field, offset, size: bytes }) => ({
      name: field,
      offset,
      size: bytes,
    })),
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
