// One kernel map by its descriptor: single entries, whole content, pins. Bytes only; TypedMap knows what they mean.
import { constants } from 'node:os'
import { setImmediate } from 'node:timers/promises'
import { Descriptor } from './descriptor.ts'
import { BpfError, check } from './error.ts'
import { mapTypeNumber } from './kernel-info.ts'
import { type Batch, BatchReader, isUnsupported, joined, u32Bytes, u32Of } from './map-batch.ts'
import { type MapInfo, type MapSpec, mapInfoOf, type Row, type UpdateMode } from './map-info.ts'
import { native } from './native.ts'
import { joinPerCpu, perCpuBytes, possibleCpus, splitPerCpu } from './per-cpu.ts'
import { pinAt, unpin } from './pin.ts'

const { ENOENT } = constants.errno
/** Read one by one in one turn of the loop: about 2 ms. */
const CHUNK_ROWS = 200
const modeFlags: Readonly<Record<UpdateMode, number>> = { any: 0, noexist: 1, exist: 2 }

export class BpfMap {
  readonly info: MapInfo
  readonly isPerCpu: boolean
  readonly #descriptor: Descriptor
  /** Of what the kernel moves per entry: for per-CPU maps all CPUs' values, each on 8 bytes. */
  readonly #valueBytes: number
  #hasBatch: boolean

  /** Takes over `fd`. */
  constructor(fd: number) {
    this.info = mapInfoOf(fd)
    this.#descriptor = new Descriptor(fd, `map ${this.info.name}`)
    this.isPerCpu = this.info.type.includes('percpu')
    this.#valueBytes = this.isPerCpu ? perCpuBytes(this.info.valueSize) : this.info.valueSize
    this.#hasBatch = true
  }

  /** @throws BpfError ENOENT if nothing is pinned there */
  static openPinned(path: string): BpfMap {
    return new BpfMap(check(native().getPinned(path), `BPF_OBJ_GET ${path}`))
  }

  /** Of a map of maps, whose values are such ids when they are read. @throws BpfError ENOENT if there is none */
  static openId(id: number): BpfMap {
    return new BpfMap(check(native().mapOfId(id), `BPF_MAP_GET_FD_BY_ID ${id}`))
  }

  /** Another owner of the same map: `fd` stays whose it is. */
  static copyOf(fd: number): BpfMap {
    return new BpfMap(check(native().copyFd(fd), `copy of descriptor ${fd}`))
  }

  static create(spec: MapSpec): BpfMap {
    const { type, keySize, valueSize, maxEntries, name, flags = 0, inner } = spec
    const number = mapTypeNumber(type)
    return new BpfMap(
      check(
        native().mapCreate(number, keySize, valueSize, maxEntries, flags, name, inner?.fd ?? -1),
        `BPF_MAP_CREATE ${name}`,
      ),
    )
  }

  get fd(): number {
    return this.#descriptor.fd
  }

  /** Undefined if there is no such entry. Not for per-CPU maps. */
  lookup(key: Uint8Array): Uint8Array | undefined {
    this.#isNotPerCpu('lookup')
    return this.#lookup(key)
  }

  /** One value per possible CPU. */
  lookupPerCpu(key: Uint8Array): Uint8Array[] | undefined {
    const value = this.#lookup(key)
    return value === undefined ? undefined : this.splitPerCpu(value)
  }

  /** @throws BpfError EEXIST ('noexist'), ENOENT ('exist'), E2BIG (full) */
  update(key: Uint8Array, value: Uint8Array, mode: UpdateMode = 'any'): void {
    this.#isNotPerCpu('update')
    this.#update(key, value, mode)
  }

  updatePerCpu(key: Uint8Array, values: readonly Uint8Array[], mode: UpdateMode = 'any'): void {
    const cpus = possibleCpus()
    if (values.length !== cpus) {
      throw this.#invalid(`${cpus} values expected, ${values.length} given`)
    }
    for (const value of values) this.#checkSize('value', value, this.info.valueSize)
    this.#update(key, joinPerCpu(values, this.info.valueSize), mode)
  }

  /** False if it was not there. */
  delete(key: Uint8Array): boolean {
    this.#checkSize('key', key, this.info.keySize)
    const result = native().mapDelete(this.fd, key)
    if (result === -ENOENT) return false
    check(result, this.#op('BPF_MAP_DELETE_ELEM'))
    return true
  }

  /**
   * Adds or replaces many entries, in one call where the kernel has batches.
   * @throws BpfError of the first entry refused; those before it stay
   */
  updateMany(rows: readonly Row[], mode: UpdateMode = 'any'): void {
    this.#isNotPerCpu('updateMany')
    const { keySize } = this.info
    for (const [key, value] of rows) {
      this.#checkSize('key', key, keySize)
      this.#checkSize('value', value, this.#valueBytes)
    }
    // Batches take no mode: the kernel refuses every flag but BPF_F_LOCK.
    if (rows.length > 1 && mode === 'any' && this.#hasBatch) {
      const keys = joined(
        rows.map(([key]) => key),
        keySize,
      )
      const values = joined(
        rows.map(([, value]) => value),
        this.#valueBytes,
      )
      const result = native().mapUpdateBatch(this.fd, keys, values, u32Bytes(rows.length), 0)
      if (!this.#isUnsupported(result)) {
        check(result, this.#op('BPF_MAP_UPDATE_BATCH'))
        return
      }
    }
    for (const [key, value] of rows) this.#update(key, value, mode)
  }

  /** Deletes what is there of these; returns how many that were. */
  deleteMany(keys: readonly Uint8Array[]): number {
    for (const key of keys) this.#checkSize('key', key, this.info.keySize)
    const { keySize } = this.info
    const all = joined(keys, keySize)
    let deleted = 0
    let at = 0
    while (at < keys.length && this.#hasBatch) {
      const count = u32Bytes(keys.length - at)
      const result = native().mapDeleteBatch(this.fd, all.subarray(at * keySize), count)
      if (this.#isUnsupported(result)) break
      const done = u32Of(count)
      deleted += done
      at += done
      // The batch ends at a key that is absent: go on behind it.
      if (result === -ENOENT) at++
      else check(result, this.#op('BPF_MAP_DELETE_BATCH'))
    }
    for (const key of keys.slice(at)) if (this.delete(key)) deleted++
    return deleted
  }

  /** Every key at some moment during the iteration. The entry last given may be deleted meanwhile. */
  *keys(): Generator<Uint8Array, void, undefined> {
    let next = this.#nextKey(null)
    while (next !== undefined) {
      const key = next
      next = this.#nextKey(key)
      yield key
    }
  }

  /**
   * Every entry; what changes meanwhile may be missed, and without batches a deletion by others may repeat some.
   * Values of per-CPU maps come whole: see splitPerCpu().
   */
  *entries(): Generator<Row, void, undefined> {
    const reader = this.#reader()
    for (const batch of this.batchesSync()) yield* reader.rowsOf(batch)
  }

  /** The same without an object for each entry. The bytes are the caller's. */
  *batchesSync(): Generator<Batch, void, undefined> {
    if (this.#hasBatch) {
      const reader = this.#reader()
      for (;;) {
        const call = reader.call()
        const { from, next, keys, values, count } = call
        const result = native().mapLookupBatch(this.fd, from, next, keys, values, count)
        const taken = reader.take(call, result)
        if (taken === undefined) break
        if (taken.batch.count > 0) yield taken.batch
        if (taken.isLast) return
      }
      this.#hasBatch = false
    }
    for (const row of this.#singly()) yield this.#batchOf([row])
  }

  /**
   * The same for a map of any size, some rows at a time: the kernel is asked on the thread pool, and between two parts
   * the event loop goes on.
   */
  async *chunks(): AsyncGenerator<Row[], void, undefined> {
    const reader = this.#reader()
    for await (const batch of this.batches()) yield reader.rowsOf(batch)
  }

  /** The same without an object for each entry: for a caller that looks at each once. The bytes are the caller's. */
  async *batches(): AsyncGenerator<Batch, void, undefined> {
    if (this.#hasBatch) {
      const reader = this.#reader()
      for (;;) {
        const call = reader.call()
        const { from, next, keys, values, count } = call
        const result = await native().mapReadBatch(this.fd, from, next, keys, values, count)
        const taken = reader.take(call, result)
        if (taken === undefined) break
        if (taken.batch.count > 0) yield taken.batch
        if (taken.isLast) return
      }
      this.#hasBatch = false
    }
    let rows: Row[] = []
    for (const row of this.#singly()) {
      if (rows.push(row) < CHUNK_ROWS) continue
      yield this.#batchOf(rows)
      rows = []
      await setImmediate()
    }
    if (rows.length > 0) yield this.#batchOf(rows)
  }

  #batchOf(rows: readonly Row[]): Batch {
    const keys = rows.map(([key]) => key)
    const values = rows.map(([, value]) => value)
    return {
      count: rows.length,
      keys: joined(keys, this.info.keySize),
      values: joined(values, this.#valueBytes),
    }
  }

  /** One value per possible CPU out of a whole one, as entries() gives it. */
  splitPerCpu(value: Uint8Array): Uint8Array[] {
    return splitPerCpu(value, this.info.valueSize)
  }

  pin(path: string): void {
    pinAt(this.fd, path)
  }

  /** Removes the pin, whatever it holds; the map lives on while it is used. */
  static unpin(path: string): void {
    unpin(path)
  }

  close(): void {
    this.#descriptor.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #lookup(key: Uint8Array): Uint8Array | undefined {
    this.#checkSize('key', key, this.info.keySize)
    const value = new Uint8Array(this.#valueBytes)
    const result = native().mapLookup(this.fd, key, value, 0)
    if (result === -ENOENT) return undefined
    check(result, this.#op('BPF_MAP_LOOKUP_ELEM'))
    return value
  }

  #update(key: Uint8Array, value: Uint8Array, mode: UpdateMode): void {
    this.#checkSize('key', key, this.info.keySize)
    this.#checkSize('value', value, this.#valueBytes)
    check(native().mapUpdate(this.fd, key, value, modeFlags[mode]), this.#op('BPF_MAP_UPDATE_ELEM'))
  }

  *#singly(): Generator<Row, void, undefined> {
    for (const key of this.keys()) {
      const value = this.#lookup(key)
      if (value !== undefined) yield [key, value]
    }
  }

  #nextKey(key: Uint8Array | null): Uint8Array | undefined {
    const next = new Uint8Array(this.info.keySize)
    const result = native().mapNextKey(this.fd, key, next)
    if (result === -ENOENT) return undefined
    check(result, this.#op('BPF_MAP_GET_NEXT_KEY'))
    return next
  }

  #reader(): BatchReader {
    return new BatchReader(this.info.keySize, this.#valueBytes, this.#op('BPF_MAP_LOOKUP_BATCH'))
  }

  #isUnsupported(result: number): boolean {
    if (!isUnsupported(result)) return false
    this.#hasBatch = false
    return true
  }

  /** The kernel copies as many bytes as the map says, whatever the buffer's length. */
  #checkSize(what: 'key' | 'value', bytes: Uint8Array, size: number): void {
    if (bytes.length !== size) {
      throw this.#invalid(`${what} of ${size} bytes expected, ${bytes.length} given`)
    }
  }

  #isNotPerCpu(method: string): void {
    if (this.isPerCpu) throw this.#invalid(`${method}() on a per-CPU map`)
  }

  #invalid(detail: string): BpfError {
    return new BpfError(`map ${this.info.name}`, { errno: constants.errno.EINVAL, detail })
  }

  #op(command: string): string {
    return `${command} ${this.info.name}`
  }
}
