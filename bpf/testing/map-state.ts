// The maps of a node under test: rows put in, everything cleared, and what a run changed.
import type { BpfMap } from '../src/map.ts'
import type { Row } from '../src/map-info.ts'
import type { Codec, Infer } from '../src/struct.ts'
import { type Expected, mismatches, show } from './match.ts'

/** How a map's bytes read. `combine` makes one value of a per-CPU map's many. */
export interface MapShape<K, V> {
  readonly key: Codec<K>
  readonly value: Codec<V>
  combine?(values: readonly V[]): V
}
export type MapShapes = Readonly<Record<string, MapShape<unknown, unknown>>>

/** A shape with its types inferred, so that combine() need not name them. */
export function mapShape<K, V>(shape: MapShape<K, V>): MapShape<K, V> {
  return shape
}

/** Rows by map; a per-CPU value goes to the first CPU, zeros to the others. */
export type Rows<M extends MapShapes> = {
  readonly [N in keyof M]?: readonly (readonly [Infer<M[N]['key']>, Infer<M[N]['value']>])[]
}

/** What a run must have done to one map, and nothing else. */
export interface MapChanges<K, V> {
  readonly added?: readonly (readonly [K, Expected<V>])[]
  readonly changed?: readonly (readonly [K, Expected<V>])[]
  readonly removed?: readonly K[]
}
export type Changes<M extends MapShapes> = {
  readonly [N in keyof M]?: MapChanges<Infer<M[N]['key']>, Infer<M[N]['value']>>
}

/** The same whatever the map. */
interface AnyChanges {
  readonly added?: readonly (readonly [unknown, unknown])[] | undefined
  readonly changed?: readonly (readonly [unknown, unknown])[] | undefined
  readonly removed?: readonly unknown[] | undefined
}

/** Entries by the hex of their keys; of arrays those that are not zero. */
export type Snapshot = ReadonlyMap<string, Uint8Array>

export class MapState {
  readonly #map: BpfMap
  readonly #shape: MapShape<unknown, unknown>
  readonly #isArray: boolean

  constructor(map: BpfMap, shape: MapShape<unknown, unknown>) {
    const { name, keySize, valueSize } = map.info
    if (shape.key.size !== keySize || shape.value.size !== valueSize) {
      throw new TypeError(`map ${name}: codecs are not of its sizes`)
    }
    if (map.isPerCpu !== (shape.combine !== undefined)) {
      throw new TypeError(`map ${name}: combine() is for per-CPU maps, and these need it`)
    }
    this.#map = map
    this.#shape = shape
    this.#isArray = map.info.type.includes('array')
  }

  put(rows: readonly (readonly [unknown, unknown])[]): void {
    const { key, value } = this.#shape
    for (const [k, v] of rows) {
      const bytes = value.encode(v)
      if (this.#map.isPerCpu) {
        const none = new Uint8Array(value.size)
        const values = this.#map.lookupPerCpu(key.encode(k))?.map(() => none) ?? []
        this.#map.updatePerCpu(key.encode(k), [bytes, ...values.slice(1)])
      } else {
        this.#map.update(key.encode(k), bytes)
      }
    }
  }

  /** Arrays go to zero, everything else to nothing. */
  clear(): void {
    if (!this.#isArray) {
      this.#map.deleteMany([...this.#map.keys()])
      return
    }
    const zero = new Uint8Array(this.#map.info.valueSize)
    for (const [key, value] of this.#filled()) {
      if (this.#map.isPerCpu) {
        this.#map.updatePerCpu(
          key,
          this.#map.splitPerCpu(value).map(() => zero),
        )
      } else {
        this.#map.update(key, zero)
      }
    }
  }

  snapshot(): Snapshot {
    const rows = this.#isArray ? this.#filled() : this.#map.entries()
    return new Map(Array.from(rows, ([key, value]) => [hexOf(key), value]))
  }

  /** Of an array what is not zero: it is read before and after every vector, so most of it is not looked at by row. */
  *#filled(): Generator<Row, void, undefined> {
    for (const { count, keys, values } of this.#map.batchesSync()) {
      const { keySize } = this.#map.info
      const width = (values.length / keys.length) * keySize
      if (isZero(values.subarray(0, count * width))) continue
      for (let i = 0; i < count; i++) {
        const value = values.subarray(i * width, (i + 1) * width)
        if (!isZero(value)) yield [keys.subarray(i * keySize, (i + 1) * keySize), value]
      }
    }
  }

  /** A line per difference between what was to change and what did. */
  compare(before: Snapshot, changes: AnyChanges): string[] {
    const { name } = this.#map.info
    const after = this.snapshot()
    const lines: string[] = []
    const expected = new Set<string>()
    const expectRow = (kind: string, key: unknown): [string, boolean, boolean, string] => {
      const hex = hexOf(this.#shape.key.encode(key))
      expected.add(hex)
      const [was, is] = this.#isArray ? [true, true] : [before.has(hex), after.has(hex)]
      return [hex, was, is, `${name}[${show(key)}] to be ${kind}`]
    }
    for (const [key, value] of changes.added ?? []) {
      const [hex, was, is, what] = expectRow('added', key)
      if (was || !is) lines.push(`${what}: it ${was ? 'was there before' : 'is not there'}`)
      else lines.push(...mismatches(this.#decode(after, hex), value, what))
    }
    for (const [key, value] of changes.changed ?? []) {
      const [hex, was, is, what] = expectRow('changed', key)
      if (!was || !is) lines.push(`${what}: it ${was ? 'is gone' : 'was not there before'}`)
      else if (isSame(before.get(hex), after.get(hex))) lines.push(`${what}: it is as before`)
      else lines.push(...mismatches(this.#decode(after, hex), value, what))
    }
    for (const key of changes.removed ?? []) {
      const [, was, is, what] = expectRow('removed', key)
      if (!was || is) lines.push(`${what}: it ${is ? 'is still there' : 'was not there before'}`)
    }
    for (const hex of new Set([...before.keys(), ...after.keys()])) {
      if (expected.has(hex) || isSame(before.get(hex), after.get(hex))) continue
      const key = show(this.#shape.key.decode(Buffer.from(hex, 'hex')))
      const [was, is] = [before, after].map((rows) => {
        const value = this.#decode(rows, hex)
        return value === undefined ? 'absent' : show(value)
      })
      lines.push(`${name}[${key}] was to stay as it was: ${was}\n    but is: ${is}`)
    }
    return lines
  }

  #decode(rows: Snapshot, hex: string): unknown {
    const { value, combine } = this.#shape
    const bytes = rows.get(hex) ?? (this.#isArray ? new Uint8Array(value.size) : undefined)
    if (bytes === undefined) return undefined
    if (combine === undefined) return value.decode(bytes)
    return combine(this.#map.splitPerCpu(bytes).map((one) => value.decode(one)))
  }
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function isZero(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, zeros(bytes.length)) === 0
}

let someZeros = Buffer.alloc(0)
function zeros(length: number): Uint8Array {
  if (someZeros.length < length) someZeros = Buffer.alloc(length)
  return someZeros.subarray(0, length)
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return Buffer.compare(a, b) === 0
}
