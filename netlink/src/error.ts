// The errors of this package: what the kernel refused, what could not be decoded, what could not be parsed.
import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'

/** What a kernel adds to an error code when asked (NETLINK_EXT_ACK, `struct nlmsgerr` attributes). */
export interface ExtAck {
  /** The kernel's own words; empty when it only pointed at an attribute. */
  readonly message: string
  /** Offset in the request of the attribute that was refused; 0 when none is named. */
  readonly offset: number
  /** Number of the attribute that was expected and not there (NLMSGERR_ATTR_MISS_TYPE). */
  readonly missingAttribute?: number
}

export interface NetlinkFailure {
  readonly op: string
  readonly errno: number
  /** What the request was about, for the message only: `link eth0`. */
  readonly subject?: string | undefined
  readonly extAck?: ExtAck | undefined
  readonly cause?: unknown
}

/** A request that failed. Branch on `code`, never on the text. */
export class NetlinkError extends Error {
  override readonly name = 'NetlinkError'
  /** Symbol of the errno: 'EEXIST'. */
  readonly code: string
  /** The operation as the kernel names it: 'RTM_NEWROUTE', or the system call: 'setns'. */
  readonly op: string
  /** Positive. */
  readonly errno: number
  declare readonly extAck?: ExtAck

  constructor({ op, errno, subject, extAck, cause }: NetlinkFailure) {
    const code = errnoCode(errno)
    const what = subject === undefined ? op : `${op} ${subject}`
    const words = extAckText(extAck) ?? errnoText(errno)
    super(`${what}: ${code}: ${words}`, cause === undefined ? {} : { cause })
    this.code = code
    this.op = op
    this.errno = errno
    if (extAck) this.extAck = extAck
  }
}

/** Is this an error of the kernel with one of these codes (`isCode(error, 'EEXIST', 'EBUSY')`)? */
export function isCode(error: unknown, ...codes: readonly string[]): error is NetlinkError {
  return error instanceof NetlinkError && codes.includes(error.code)
}

/** Text that is not what it should be: an address, a prefix, a MAC. */
export class ParseError extends Error {
  override readonly name = 'ParseError'
  readonly code = 'parse'
  readonly what: string
  readonly text: string

  constructor(what: string, text: string, detail: string) {
    super(`${what} ${JSON.stringify(text)}: ${detail}`)
    this.what = what
    this.text = text
  }
}

// libuv and Node know two names for some numbers; these are the kernel's. 524 is ENOTSUPP of include/linux/errno.h, which
// drivers let through to user space.
const EOPNOTSUPP = 95
const preferred: readonly (readonly [number, string])[] = [
  [11, 'EAGAIN'],
  [EOPNOTSUPP, 'EOPNOTSUPP'],
  [524, 'ENOTSUPP'],
]
const codes = new Map<number, string>([
  ...Object.entries(constants.errno).map(([code, errno]) => [errno, code] as const),
  ...preferred,
])

export function errnoCode(errno: number): string {
  return codes.get(errno) ?? `E${errno}`
}

function extAckText({ message, missingAttribute }: Partial<ExtAck> = {}): string | undefined {
  if (message) return message
  return missingAttribute === undefined ? undefined : `attribute ${missingAttribute} is missing`
}

function errnoText(errno: number): string {
  // libuv only knows it of sockets.
  if (errno === EOPNOTSUPP) return 'not supported by this kernel or object'
  return getSystemErrorMap().get(-errno)?.[1] ?? 'the kernel gave no reason'
}

export const { EAGAIN, EBADF, EMSGSIZE, EINTR, EINVAL, ENOBUFS } = constants.errno
