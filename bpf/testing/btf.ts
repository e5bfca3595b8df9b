// Reads struct layouts out of the BTF of a built object or of the running kernel: only what comparing codecs needs.
import { readFileSync } from 'node:fs'

export interface BtfField {
  readonly name: string
  readonly offset: number
  /** Undefined for bit fields. */
  readonly size: number | undefined
}

export interface BtfStruct {
  readonly name: string
  readonly size: number
  readonly fields: readonly BtfField[]
}

export interface BtfEnum {
  readonly name: string
  /** Signed as declared. */
  readonly values: ReadonlyMap<string, number>
}

export interface Btf {
  readonly structs: ReadonlyMap<string, BtfStruct>
  readonly enums: readonly BtfEnum[]
}

/** `include/uapi/linux/btf.h` */
const KIND = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  RESTRICT: 11,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
  FLOAT: 16,
  DECL_TAG: 17,
  TYPE_TAG: 18,
  ENUM64: 19,
} as const

const BTF_MAGIC = 0xeb9f

interface BtfType {
  readonly kind: number
  readonly name: string
  /** A size or the id of another type, by kind. */
  readonly sizeOrType: number
  readonly hasBitFields: boolean
  readonly members: readonly { name: string; type: number; bits: number }[]
  readonly elements: { readonly type: number; readonly count: number } | undefined
  readonly values: ReadonlyMap<string, number>
}

/** Of an object file or of raw BTF, such as /sys/kernel/btf/vmlinux. */
export function readBtf(path: string): Btf {
  const file = readFileSync(path)
  const isElf = file.length > 4 && file.readUInt32BE(0) === 0x7f454c46
  return decodeBtf(isElf ? elfSection(file, '.BTF') : file)
}

/** A section of a 64-bit little-endian ELF file. */
function elfSection(file: Buffer, name: string): Buffer {
  const headers = Number(file.readBigUInt64LE(0x28))
  const headerSize = file.readUInt16LE(0x3a)
  const count = file.readUInt16LE(0x3c)
  const section = (index: number) => {
    const at = headers + index * headerSize
    const start = Number(file.readBigUInt64LE(at + 0x18))
    return {
      nameAt: file.readUInt32LE(at),
      bytes: file.subarray(start, start + Number(file.readBigUInt64LE(at + 0x20))),
    }
  }
  const names = section(file.readUInt16LE(0x3e)).bytes
  for (let i = 0; i < count; i++) {
    const { nameAt, bytes } = section(i)
    if (textAt(names, nameAt) === name) return bytes
  }
  throw new RangeError(`expected a section ${name}, found none: was it built with -g?`)
}

function textAt(bytes: Buffer, at: number): string {
  return bytes.toString('latin1', at, bytes.indexOf(0, at))
}

function decodeBtf(bytes: Buffer): Btf {
  if (bytes.readUInt16LE(0) !== BTF_MAGIC)
    throw new RangeError('expected BTF, found something else')
  const headerSize = bytes.readUInt32LE(4)
  const typesAt = headerSize + bytes.readUInt32LE(8)
  const typesEnd = typesAt + bytes.readUInt32LE(12)
  const strings = bytes.subarray(headerSize + bytes.readUInt32LE(16))
  const types: (BtfType | undefined)[] = [undefined]
  for (let at = typesAt; at < typesEnd; ) {
    const { type, size } = decodeType(bytes, at, strings)
    types.push(type)
    at += size
  }
  const structs = new Map<string, BtfStruct>()
  const enums: BtfEnum[] = []
  for (const type of types) {
    if (type?.kind === KIND.STRUCT && type.name !== '') {
      structs.set(type.name, structOf(type, types))
    } else if (type?.kind === KIND.ENUM) {
      enums.push({ name: type.name, values: type.values })
    }
  }
  return { structs, enums }
}

function decodeType(
  bytes: Buffer,
  at: number,
  strings: Buffer,
): { readonly type: BtfType; readonly size: number } {
  const info = bytes.readUInt32LE(at + 4)
  const kind = (info >>> 24) & 31
  const count = info & 0xffff
  const body = at + 12
  const text = (offset: number) => textAt(strings, bytes.readUInt32LE(offset))
  const each = (width: number) => Array.from({ length: count }, (_, i) => body + i * width)
  const isStruct = kind === KIND.STRUCT || kind === KIND.UNION
  const type: BtfType = {
    kind,
    name: text(at),
    sizeOrType: bytes.readUInt32LE(at + 8),
    hasBitFields: isStruct && info >>> 31 === 1,
    members: (isStruct ? each(12) : []).map((m) => ({
      name: text(m),
      type: bytes.readUInt32LE(m + 4),
      bits: bytes.readUInt32LE(m + 8),
    })),
    elements:
      kind === KIND.ARRAY
        ? { type: bytes.readUInt32LE(body), count: bytes.readUInt32LE(body + 8) }
        : undefined,
    values: new Map(
      (kind === KIND.ENUM ? each(8) : []).map((v) => [text(v), bytes.readInt32LE(v + 4)]),
    ),
  }
  return { type, size: 12 + bodySize(kind, count) }
}

function bodySize(kind: number, count: number): number {
  switch (kind) {
    case KIND.INT:
    case KIND.VAR:
    case KIND.DECL_TAG:
      return 4
    case KIND.ARRAY:
      return 12
    case KIND.STRUCT:
    case KIND.UNION:
    case KIND.DATASEC:
    case KIND.ENUM64:
      return 12 * count
    case KIND.ENUM:
    case KIND.FUNC_PROTO:
      return 8 * count
    default:
      return 0
  }
}

function structOf(type: BtfType, types: readonly (BtfType | undefined)[]): BtfStruct {
  return {
    name: type.name,
    size: type.sizeOrType,
    fields: type.members.map(({ name, type: member, bits }) => {
      // With bit fields in the struct, the upper byte holds the width, 0 for ordinary members.
      const width = type.hasBitFields ? bits >>> 24 : 0
      const offset = type.hasBitFields ? bits & 0xffffff : bits
      return {
        name,
        offset: Math.floor(offset / 8),
        size: width === 0 ? sizeOf(member, types) : undefined,
      }
    }),
  }
}

function sizeOf(id: number, types: readonly (BtfType | undefined)[]): number {
  const type = types[id]
  if (type === undefined) return 0
  switch (type.kind) {
    case KIND.PTR:
      return 8
    case KIND.ARRAY:
      return (type.elements?.count ?? 0) * sizeOf(type.elements?.type ?? 0, types)
    case KIND.TYPEDEF:
    case KIND.VOLATILE:
    case KIND.CONST:
    case KIND.RESTRICT:
    case KIND.TYPE_TAG:
      return sizeOf(type.sizeOrType, types)
    default:
      return type.sizeOrType
  }
}
