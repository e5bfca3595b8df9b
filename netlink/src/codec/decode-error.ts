// The one error every decoder of this package throws, whatever bytes it is given.

export class DecodeError extends Error {
  override readonly name = 'DecodeError'
  readonly code = 'decode'
  /** What was being decoded: 'ifinfomsg', 'link.mtu'. */
  readonly what: string
  /** Byte offset in the datagram. */
  readonly offset: number

  constructor(what: string, offset: number, detail: string) {
    super(`${what} at byte ${offset}: ${detail}`)
    this.what = what
    this.offset = offset
  }
}
