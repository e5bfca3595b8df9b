// A ring buffer read on the event loop: records handed over in order, a bounded number in each turn, losses counted.
import { constants } from 'node:os'
import { Descriptor } from './descriptor.ts'
import { BpfError, check } from './error.ts'
import type { BpfMap } from './map.ts'
import { native, type PollHandle, type RingHandle } from './native.ts'
import { u64 } from './struct.ts'

export interface RingOptions {
  /** Of type ringbuf. Only one reader at a time, in all processes: two would each miss what the other took. */
  readonly map: BpfMap
  /**
   * Called once in a turn of the loop, with at least one record. The bytes are the callee's. What it throws is an
   * uncaught exception, and these records are not handed over again.
   */
  readonly onRecords: (records: readonly Uint8Array[]) => void
  /** At most so many in one turn, discarded ones included; the rest waits for the next. Default 512. */
  readonly recordsPerTurn?: number
  /** Where the programs count what they could not write: the kernel itself does not. */
  readonly losses?: RingLosses
}

export interface RingLosses {
  /** Of u64: an array, or per CPU. */
  readonly map: BpfMap
  readonly key: Uint8Array
  /** How many more since it was last called, or since open(). */
  readonly onLost?: (count: bigint) => void
}

const RECORDS_PER_TURN = 512
/** Grows when a single record needs more. */
const TURN_BYTES = 65536
/** Size and padding before each record, as the addon writes it. */
const HEAD_BYTES = 8

export class RingBuffer {
  readonly #options: RingOptions
  readonly #descriptor: Descriptor
  readonly #ring: RingHandle
  readonly #poll: PollHandle
  readonly #lostAtOpen: bigint
  #lostTold = 0n
  #room = new Uint8Array(TURN_BYTES)

  /**
   * Starts reading; keeps the process alive until close() or unref(). The map may be closed meanwhile.
   * @throws BpfError EINVAL if the map is no ring buffer
   */
  static open(options: RingOptions): RingBuffer {
    return new RingBuffer(options)
  }

  private constructor(options: RingOptions) {
    const { map, losses } = options
    const { name, type, maxEntries } = map.info
    if (type !== 'ringbuf') {
      throw new BpfError(`read ring ${name}`, { code: 'EINVAL', detail: `it is of type ${type}` })
    }
    this.#options = options
    this.#lostAtOpen = losses === undefined ? 0n : countOf(losses)
    // One of its own: the loop watches a descriptor, and each only once.
    const fd = check(native().copyFd(map.fd), `copy descriptor of ring ${name}`)
    this.#descriptor = new Descriptor(fd, `ring ${name}`)
    try {
      this.#ring = started(native().ringOpen(fd, maxEntries), `map the memory of ring ${name}`)
      const onReadable = (status: number) => this.#readable(status)
      this.#poll = started(native().pollStart(fd, onReadable), `poll ring ${name}`)
    } catch (error) {
      this.#descriptor.close()
      throw error
    }
  }

  /** Lost since open(); 0 without `losses`. */
  lost(): bigint {
    const { losses } = this.#options
    return losses === undefined ? 0n : countOf(losses) - this.#lostAtOpen
  }

  /** How full it is: bytes not read yet, of `map.info.maxEntries`. */
  get pendingBytes(): number {
    if (this.#descriptor.isClosed) return 0
    return check(native().ringPending(this.#ring), this.#op)
  }

  /** Hands over what is there without waiting for the loop, as much as one turn takes; returns how many records. */
  consume(): number {
    if (this.#descriptor.isClosed) return 0
    const records = this.#read()
    this.#tellLosses()
    if (records.length > 0) this.#options.onRecords(records)
    return records.length
  }

  /** Does not keep the process alive any more. */
  unref(): this {
    return this.#setRef(0)
  }

  ref(): this {
    return this.#setRef(1)
  }

  /** Safe twice, and from within onRecords. What was not read stays for the next reader. */
  close(): void {
    if (this.#descriptor.isClosed) return
    native().pollStop(this.#poll)
    native().ringClose(this.#ring)
    this.#descriptor.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  get #op(): string {
    return `read ring ${this.#options.map.info.name}`
  }

  #setRef(isRef: 0 | 1): this {
    if (!this.#descriptor.isClosed) native().pollRef(this.#poll, isRef)
    return this
  }

  #readable(status: number): void {
    check(status, this.#op)
    this.consume()
  }

  #read(): Uint8Array[] {
    const max = this.#options.recordsPerTurn ?? RECORDS_PER_TURN
    let bytes = native().ringRead(this.#ring, this.#room, max)
    while (bytes === -constants.errno.EMSGSIZE) {
      this.#room = new Uint8Array(this.#room.length * 2)
      bytes = native().ringRead(this.#ring, this.#room, max)
    }
    check(bytes, this.#op)
    return bytes === 0 ? [] : split(this.#room.slice(0, bytes))
  }

  #tellLosses(): void {
    const { losses } = this.#options
    if (losses?.onLost === undefined) return
    const lost = this.lost()
    const more = lost - this.#lostTold
    this.#lostTold = lost
    if (more > 0n) losses.onLost(more)
  }
}

function split(all: Uint8Array): Uint8Array[] {
  const sizes = new Uint32Array(all.buffer)
  const records: Uint8Array[] = []
  for (let at = 0; at < all.length; ) {
    const size = sizes[at / 4] ?? 0
    at += HEAD_BYTES
    records.push(all.subarray(at, at + size))
    at += Math.ceil(size / 8) * 8
  }
  return records
}

function countOf({ map, key }: RingLosses): bigint {
  const values = map.isPerCpu ? (map.lookupPerCpu(key) ?? []) : [map.lookup(key) ?? u64.encode(0n)]
  return values.reduce((sum, value) => sum + u64.decode(value), 0n)
}

function started<T extends object>(handle: T | number, op: string): T {
  if (typeof handle === 'number') throw new BpfError(op, { errno: -handle })
  return handle
}
