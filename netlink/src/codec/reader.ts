// A cursor over received bytes that cannot leave them; integers are in host order unless the name says otherwise.
import { formatIpAt } from '../ip.ts'
import { DecodeError } from './decode-error.ts'

/** Netlink speaks the byte order of the machine it runs on. */
export const hostIsLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

export class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at: number
  #limit: number
  /** Named in errors; set by whoever decodes. */
  what: string

  constructor(bytes: Uint8Array, what = 'message', length: number = bytes.length) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#at = 0
    this.#limit = Math.min(length, bytes.length)
    this.what = what
  }

  get offset(): number {
    return this.#at
  }

  get remaining(): number {
    return this.#limit - this.#at
  }

  /** The next byte without moving on; undefined at the end. */
  peek8(): number | undefined {
    return this.remaining > 0 ? this.#bytes[this.#at] : undefined
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), hostIsLittleEndian)
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), hostIsLittleEndian)
  }

  i32(): number {
    return this.#view.getInt32(this.#take(4), hostIsLittleEndian)
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), hostIsLittleEndian)
  }

  be16(): number {
    return this.#view.getUint16(this.#take(2), false)
  }

  be32(): number {
    return this.#view.getUint32(this.#take(4), false)
  }

  /** A copy: the receive buffer is used again for the next datagram. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length)
    return this.#bytes.slice(at, at + length)
  }

  rest(): Uint8Array {
    return this.bytes(this.remaining)
  }

  /** An address of 4 or 16 bytes as text, without a copy of the bytes. */
  ip(length: number): string {
    return formatIpAt(this.#bytes, this.#take(length), length)
  }

  skip(length: number): void {
    this.#take(length)
  }

  /** @throws DecodeError when bytes are left. */
  end(): void {
    if (this.remaining !== 0) throw this.error(`${this.remaining} bytes left over`)
  }

  /** Shortens the cursor to the next `length` bytes; give what it returns to `widen()` afterwards. */
  narrow(length: number): number {
    if (length > this.remaining) {
      throw this.error(`${length} bytes announced, ${this.remaining} are there`)
    }
    const outer = this.#limit
    this.#limit = this.#at + length
    return outer
  }

  widen(outer: number): void {
    this.#limit = outer
  }

  error(detail: string): DecodeError {
    return new DecodeError(this.what, this.#at, detail)
  }

  #take(length: number): number {
    const at = this.#at
    if (!(length >= 0 && length <= this.#limit - at)) {
      throw this.error(`${length} bytes expected, ${this.#limit - at} are there`)
    }
    this.#at = at + length
    return at
  }
}
