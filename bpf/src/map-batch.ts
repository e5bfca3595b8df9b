// Many entries in one call: the buffers of the kernel's batch commands and what their answers mean. Makes no call itself.
import { constants } from 'node:os'
import { check, ENOTSUPP } from './error.ts'
import type { Row } from './map-info.ts'

const { ENOENT, ENOSPC, EINTR, EOPNOTSUPP } = constants.errno

/** What one batch moves at most, unless a single bucket of the hash holds more. */
const BATCH_BYTES = 65536
const BATCH_MIN_ROWS = 16
/** Turning so many into rows takes about a millisecond. */
const BATCH_MAX_ROWS = 2048

/** Whether a map, or the kernel, has no such command. */
export function isUnsupported(result: number): boolean {
  return result === -ENOTSUPP || result === -EOPNOTSUPP
}

/** The buffers of one lookup; the call fills all but `from`. */
export interface BatchCall {
  /** Null for the start of the map. */
  readonly from: Uint8Array | null
  readonly next: Uint8Array
  readonly keys: Uint8Array
  readonly values: Uint8Array
  /** A host-order u32: room in, number out. */
  readonly count: Uint8Array
}

/** Entries one behind the other, as the kernel gives them. */
export interface Batch {
  readonly count: number
  readonly keys: Uint8Array
  readonly values: Uint8Array
}

export interface BatchTaken {
  /** May be empty though more follow. */
  readonly batch: Batch
  readonly isLast: boolean
}

/** Goes through a map once: call(), the caller's lookup with it, take() of the result, until the last. */
export class BatchReader {
  readonly #keySize: number
  readonly #valueBytes: number
  readonly #op: string
  #room: number
  #from: Uint8Array | null = null

  /** `op` names the command and the map in errors. */
  constructor(keySize: number, valueBytes: number, op: string) {
    this.#keySize = keySize
    this.#valueBytes = valueBytes
    this.#op = op
    const rows = Math.floor(BATCH_BYTES / (keySize + valueBytes))
    this.#room = Math.max(BATCH_MIN_ROWS, Math.min(BATCH_MAX_ROWS, rows))
  }

  call(): BatchCall {
    return {
      from: this.#from,
      // Where to go on: a bucket number (hash) or a key (everything else), opaque to us.
      next: new Uint8Array(Math.max(8, this.#keySize)),
      keys: new Uint8Array(this.#room * this.#keySize),
      values: new Uint8Array(this.#room * this.#valueBytes),
      count: u32Bytes(this.#room),
    }
  }

  /** Undefined if this map has no batches: said at the first call or never. */
  take(call: BatchCall, result: number): BatchTaken | undefined {
    if (call.from === null && isUnsupported(result)) return undefined
    if (result === -ENOSPC) {
      this.#room *= 2 // one bucket of the hash holds more than that
      return { batch: NOTHING, isLast: false }
    }
    if (result === -EINTR) return { batch: NOTHING, isLast: false }
    if (result !== -ENOENT) check(result, this.#op)
    this.#from = call.next
    const { keys, values, count } = call
    return { batch: { count: u32Of(count), keys, values }, isLast: result === -ENOENT }
  }

  /** Each with bytes of its own. */
  rowsOf({ keys, values, count }: Batch): Row[] {
    const [k, v] = [this.#keySize, this.#valueBytes]
    return Array.from({ length: count }, (_, i) => [
      keys.slice(i * k, (i + 1) * k),
      values.slice(i * v, (i + 1) * v),
    ])
  }
}

const NOTHING: Batch = { count: 0, keys: new Uint8Array(), values: new Uint8Array() }

/** Equal parts one behind the other. */
export function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  const all = new Uint8Array(parts.length * size)
  for (const [i, part] of parts.entries()) all.set(part, i * size)
  return all
}

export function u32Bytes(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer)
}

export function u32Of(bytes: Uint8Array): number {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, 1)[0] ?? 0
}
