// Turns a description into a decoder written out in JavaScript, once a list has shown to be long: half the time per object.
//
// The text is made of names and numbers in descriptions, never of what was received. Where a process forbids code from strings
// (--disallow-code-generation-from-strings), descriptions go on being interpreted.
import type { Codec } from './codec.ts'
import type { Reader } from './reader.ts'

/** Most processes never decode so many objects of one sort, and compiling takes as long as interpreting a few hundred. */
export const DECODES_BEFORE_COMPILING = 1000

export interface StructField {
  readonly name: string
  readonly codec: Codec<unknown>
}

export interface AttrField extends StructField {
  /** For errors: 'link.mtu'. */
  readonly what: string
  readonly type: number
}

export type DecodeFields = (reader: Reader) => Record<string, unknown>

/** Decodes with `interpret` at first and with what `compile` makes later. */
export function compiledLater(
  interpret: DecodeFields,
  compile: () => DecodeFields | undefined,
): DecodeFields {
  let decode = interpret
  let countdown = DECODES_BEFORE_COMPILING
  return (reader) => {
    if (countdown > 0 && --countdown === 0) decode = compile() ?? interpret
    return decode(reader)
  }
}

/** The fields of a structure in memory order. */
export function compileStruct(fields: readonly StructField[]): DecodeFields | undefined {
  const reads = fields.map((_, at) => `const value${at} = codec${at}.decode(reader)`)
  const members = fields.flatMap(({ name, codec }, at) =>
    codec.isPadding ? [] : [`${JSON.stringify(name)}: value${at}`],
  )
  return compile(fields, [...reads, `return { ${members.join(', ')} }`])
}

/** Attributes up to the limit of the reader; the layout is in attrs.ts. */
export function compileAttrs(what: string, fields: readonly AttrField[]): DecodeFields | undefined {
  const cases = fields.flatMap(({ what, type, codec }, at) => [
    `case ${type}:`,
    `reader.what = ${JSON.stringify(what)}`,
    codec.isRepeated
      ? `value${at} = (value${at} ?? []).concat(codec${at}.decode(reader))`
      : `value${at} = codec${at}.decode(reader)`,
    'reader.end()',
    'break',
  ])
  return compile(fields, [
    ...fields.map((_, at) => `let value${at}`),
    'let unknown',
    'while (reader.remaining > 0) {',
    'const length = reader.u16(), type = reader.u16()',
    'if (length < 4) throw reader.error("attribute " + type + " of length " + length)',
    'const outer = reader.narrow(length - 4)',
    'switch (type & 0x3fff) {',
    ...cases,
    'default:',
    'unknown ??= []',
    'unknown.push({ type, bytes: reader.rest() })',
    '}',
    `reader.what = ${JSON.stringify(what)}`,
    'reader.widen(outer)',
    'reader.skip(Math.min(-length & 3, reader.remaining))',
    '}',
    'const value = {}',
    ...fields.map(
      ({ name }, at) => `if (value${at} !== undefined) value[${JSON.stringify(name)}] = value${at}`,
    ),
    'if (unknown !== undefined) value.unknown = unknown',
    'return value',
  ])
}

function compile(
  fields: readonly StructField[],
  body: readonly string[],
): DecodeFields | undefined {
  const names = fields.map((_, at) => `codec${at}`)
  const text = `return (reader) => {\n${body.join('\n')}\n}`
  try {
    return new Function(...names, text)(...fields.map(({ codec }) => codec)) as DecodeFields
  } catch (error) {
    if (error instanceof EvalError) return undefined
    throw error
  }
}
