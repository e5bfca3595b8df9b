// A map seen through the codecs of its key and value.
import type { BpfMap } from './map.ts'
import type { UpdateMode } from './map-info.ts'
import type { Codec } from './struct.ts'

/** Borrows the map: whoever opened it closes it. */
export class TypedMap<K, V> {
  readonly map: BpfMap
  readonly #key: Codec<K>
  readonly #value: Codec<V>

  /** @throws TypeError if the codecs are not of the map's sizes */
  constructor(map: BpfMap, key: Codec<K>, value: Codec<V>) {
    checkSizes(map, key, value)
    if (map.isPerCpu) throw new TypeError(`map ${map.info.name} is per CPU: use TypedPerCpuMap`)
    this.map = map
    this.#key = key
    this.#value = value
  }

  get(key: K): V | undefined {
    const value = this.map.lookup(this.#key.encode(key))
    return value === undefined ? undefined : this.#value.decode(value)
  }

  set(key: K, value: V, mode: UpdateMode = 'any'): void {
    this.map.update(this.#key.encode(key), this.#value.encode(value), mode)
  }

  setMany(rows: Iterable<readonly [K, V]>): void {
    this.map.updateMany(
      Array.from(rows, ([key, value]) => [this.#key.encode(key), this.#value.encode(value)]),
    )
  }

  /** False if it was not there. */
  delete(key: K): boolean {
    return this.map.delete(this.#key.encode(key))
  }

  /** How many of them were there. */
  deleteMany(keys: Iterable<K>): number {
    return this.map.deleteMany(Array.from(keys, (key) => this.#key.encode(key)))
  }

  *keys(): Generator<K, void, undefined> {
    for (const key of this.map.keys()) yield this.#key.decode(key)
  }

  *entries(): Generator<[K, V], void, undefined> {
    for (const [key, value] of this.map.entries()) {
      yield [this.#key.decode(key), this.#value.decode(value)]
    }
  }

  /** Some entries at a time, for a map of any size: see BpfMap.chunks(). */
  async *chunks(): AsyncGenerator<[K, V][], void, undefined> {
    for await (const rows of this.map.chunks()) {
      yield rows.map(([key, value]) => [this.#key.decode(key), this.#value.decode(value)])
    }
  }
}

/** The same for per-CPU maps: a value is one per possible CPU. */
export class TypedPerCpuMap<K, V> {
  readonly map: BpfMap
  readonly #key: Codec<K>
  readonly #value: Codec<V>

  constructor(map: BpfMap, key: Codec<K>, value: Codec<V>) {
    checkSizes(map, key, value)
    if (!map.isPerCpu) throw new TypeError(`map ${map.info.name} is not per CPU: use TypedMap`)
    this.map = map
    this.#key = key
    this.#value = value
  }

  get(key: K): V[] | undefined {
    return this.map.lookupPerCpu(this.#key.encode(key))?.map((value) => this.#value.decode(value))
  }

  set(key: K, values: readonly V[], mode: UpdateMode = 'any'): void {
    this.map.updatePerCpu(
      this.#key.encode(key),
      values.map((value) => this.#value.encode(value)),
      mode,
    )
  }

  *entries(): Generator<[K, V[]], void, undefined> {
    for (const [key, value] of this.map.entries()) {
      const values = this.map.splitPerCpu(value).map((one) => this.#value.decode(one))
      yield [this.#key.decode(key), values]
    }
  }

  async *chunks(): AsyncGenerator<[K, V[]][], void, undefined> {
    for await (const rows of this.map.chunks()) {
      yield rows.map(([key, value]) => [
        this.#key.decode(key),
        this.map.splitPerCpu(value).map((one) => this.#value.decode(one)),
      ])
    }
  }
}

function checkSizes(map: BpfMap, key: Codec<unknown>, value: Codec<unknown>): void {
  const { name, keySize, valueSize } = map.info
  if (key.size !== keySize || value.size !== valueSize) {
    throw new TypeError(
      `map ${name} has keys of ${keySize} and values of ${valueSize} bytes, codecs ${key.size} and ${value.size}`,
    )
  }
}
