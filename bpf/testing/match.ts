// Partial comparison of decoded values: what the expectation names must be so, the rest may be anything.

/** A value, part of one (for objects), or a condition on it. */
export type Expected<T> =
  | T
  | ((actual: T) => boolean)
  | (T extends readonly unknown[] | Uint8Array
      ? never
      : T extends object
        ? { readonly [K in keyof T]?: Expected<T[K]> }
        : never)

/** Where `actual` is not as expected, a line each, with `path` in front. */
export function mismatches(actual: unknown, expected: unknown, path: string): string[] {
  if (typeof expected === 'function') {
    return expected(actual) === true ? [] : [`${path}: ${show(actual)} does not meet the condition`]
  }
  if (isPlainObject(expected)) {
    if (!isPlainObject(actual)) return [`${path}: ${show(actual)}, expected ${show(expected)}`]
    return Object.entries(expected).flatMap(([name, value]) =>
      mismatches(actual[name], value, `${path}.${name}`),
    )
  }
  return show(actual) === show(expected)
    ? []
    : [`${path}: ${show(actual)}, expected ${show(expected)}`]
}

function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Uint8Array)
  )
}

/** Short text of a value, the same for equal values: bytes as hex, bigints with their n. */
export function show(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`
  if (value instanceof Uint8Array) return `<${Buffer.from(value).toString('hex')}>`
  if (Array.isArray(value)) return `[${value.map(show).join(', ')}]`
  if (isPlainObject(value)) {
    return `{ ${Object.entries(value)
      .map(([name, one]) => `${name}: ${show(one)}`)
      .join(', ')} }`
  }
  return typeof value === 'string' ? `'${value}'` : String(value)
}
