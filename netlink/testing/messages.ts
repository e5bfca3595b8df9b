// Whole netlink messages for tests: built from parts, or read from the captures in ../testdata.
import { readFileSync } from 'node:fs'
import { Reader } from '../src/index.ts'
import { forEachMessage, type MessageHeader } from '../src/message.ts'

export interface MessageParts {
  readonly type: number
  readonly flags?: number
  readonly sequence?: number
  readonly payload?: Uint8Array
}

export function message({
  type,
  flags = 0,
  sequence = 0,
  payload = new Uint8Array(),
}: MessageParts): Uint8Array {
  const bytes = new Uint8Array(16 + ((payload.length + 3) & ~3))
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 16 + payload.length, true)
  view.setUint16(4, type, true)
  view.setUint16(6, flags, true)
  view.setUint32(8, sequence, true)
  bytes.set(payload, 16)
  return bytes
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

/** Hexadecimal text with any white space; `#` begins a comment. */
export function hex(text: string): Uint8Array {
  const digits = text.replaceAll(/#.*/g, '').replaceAll(/\s/g, '')
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
}

/** A capture: what `ip` or the kernel sent, with command and kernel in its first lines. */
export function fixture(name: string): Uint8Array {
  return hex(readFileSync(new URL(`../testdata/${name}.hex`, import.meta.url), 'utf8'))
}

/** Every message of a datagram, decoded by `decode` with the cursor on its payload. */
export function decodeAll<T>(
  bytes: Uint8Array,
  decode: (payload: Reader, header: MessageHeader) => T,
): T[] {
  const list: T[] = []
  forEachMessage(new Reader(bytes), (header, payload) => {
    list.push(decode(payload, header))
    payload.end()
    return true
  })
  return list
}
