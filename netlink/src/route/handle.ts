// Names of qdiscs and classes between text ('1:10', two hexadecimal halves) and the 32-bit number on the wire.
import { ParseError } from '../error.ts'

/** @throws ParseError */
export function parseHandle(text: string): number {
  const [, major = '', minor = ''] = /^([0-9a-f]{1,4}):([0-9a-f]{0,4})$/i.exec(text) ?? []
  if (major === '') throw new ParseError('handle', text, 'not MAJOR:MINOR, each up to ffff')
  return handle(Number.parseInt(major, 16), minor === '' ? 0 : Number.parseInt(minor, 16))
}

/** A qdisc has the minor 0, which is left out: '1:'. */
export function formatHandle(number: number): string {
  const minor = number & 0xffff
  return `${(number >>> 16).toString(16)}:${minor === 0 ? '' : minor.toString(16)}`
}

export function handle(major: number, minor: number): number {
  return ((major << 16) | minor) >>> 0
}
