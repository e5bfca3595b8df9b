// A growing buffer for one outgoing datagram; integers are in host order unless the name says otherwise.
import { hostIsLittleEndian } from './reader.ts'

export class Writer {
  #bytes: Uint8Array
  #view: DataView
  #at = 0

  constructor(capacity = 1024) {
    this.#bytes = new Uint8Array(capacity)
    this.#view = new DataView(this.#bytes.buffer)
  }

  get length(): number {
    return this.#at
  }

  /** The buffer itself, valid up to `length` and until the next write. */
  get buffer(): Uint8Array {
    return this.#bytes
  }

  /** Starts over, keeping the memory. */
  reset(): void {
    this.#at = 0
  }

  /** Takes back what was written from `length` on. */
  truncate(length: number): void {
    this.#at = Math.min(length, this.#at)
  }

  /** A copy of what was written. */
  toBytes(): Uint8Array {
    return this.#bytes.slice(0, this.#at)
  }

  u8(value: number): void {
    const at = this.#grow(1)
    this.#view.setUint8(at, value)
  }

  u16(value: number): void {
    const at = this.#grow(2)
    this.#view.setUint16(at, value, hostIsLittleEndian)
  }

  u32(value: number): void {
    const at = this.#grow(4)
    this.#view.setUint32(at, value, hostIsLittleEndian)
  }

  i32(value: number): void {
    const at = this.#grow(4)
    this.#view.setInt32(at, value, hostIsLittleEndian)
  }

  u64(value: bigint): void {
    const at = this.#grow(8)
    this.#view.setBigUint64(at, value, hostIsLittleEndian)
  }

  be16(value: number): void {
    const at = this.#grow(2)
    this.#view.setUint16(at, value, false)
  }

  be32(value: number): void {
    const at = this.#grow(4)
    this.#view.setUint32(at, value, false)
  }

  bytes(value: Uint8Array): void {
    const at = this.#grow(value.length)
    this.#bytes.set(value, at)
  }

  zeros(length: number): void {
    const at = this.#grow(length)
    // Mostly one to three, for which fill() takes longer.
    for (let end = at + length, one = at; one < end; one++) this.#bytes[one] = 0
  }

  /** Every netlink object begins on a multiple of four (NLMSG_ALIGNTO, NLA_ALIGNTO). */
  align4(): void {
    const missing = -this.#at & 3
    if (missing > 0) this.zeros(missing)
  }

  /** Overwrites a 16-bit length that could not be known when it was written. */
  patch16(at: number, value: number): void {
    this.#view.setUint16(at, value, hostIsLittleEndian)
  }

  patch32(at: number, value: number): void {
    this.#view.setUint32(at, value, hostIsLittleEndian)
  }

  /** Call it before anything else of a statement: it may exchange the memory. */
  #grow(length: number): number {
    const at = this.#at
    const end = at + length
    if (end > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(end, this.#bytes.length * 2))
      bytes.set(this.#bytes.subarray(0, at))
      this.#bytes = bytes
      this.#view = new DataView(bytes.buffer)
    }
    this.#at = end
    return at
  }
}
