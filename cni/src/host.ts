// What the native host (cni/host) gives to the script, and its errno values as errors with a code. No CNI in here.

/** Numbers below zero are -errno. Deadlines are on the clock of `nowMs`. */
export interface NativeHost {
  nowMs(): number
  bootTimeUs(): number
  sleepMs(ms: number): void
  env(name: string): string | undefined
  pid(): number
  /** At most `maxBytes`; empty for a terminal. */
  readStdin(maxBytes: number, deadlineMs: number): Uint8Array | number
  stdout(text: string): number
  stderr(text: string): number
  /** Ends the process at once. */
  exit(code: number): void
  utf8Length(text: string): number
  decodeUtf8(bytes: Uint8Array): string | undefined
  connect(path: string, deadlineMs: number): number
  send(fd: number, text: string, deadlineMs: number): number
  /** Empty at the end of the stream. */
  receive(fd: number, maxBytes: number, deadlineMs: number): Uint8Array | number
  close(fd: number): number
  /** The first `maxBytes`. */
  readFile(path: string, maxBytes: number): Uint8Array | number
  /** Fails if the file is there; fsynced when it returns. */
  createFile(path: string, text: string): number
  syncDirectory(path: string): number
  makeDirectory(path: string): number
  rename(from: string, to: string): number
  unlink(path: string): number
  /** 1 if both paths lead to one inode. */
  isSameFile(a: string, b: string): number
}

/** The errno values that somebody decides by, or that an operator meets often; others print as their number. */
const errnoNames = new Map([
  [1, 'EPERM'],
  [2, 'ENOENT'],
  [5, 'EIO'],
  [11, 'EAGAIN'],
  [13, 'EACCES'],
  [17, 'EEXIST'],
  [20, 'ENOTDIR'],
  [21, 'EISDIR'],
  [22, 'EINVAL'],
  [24, 'EMFILE'],
  [28, 'ENOSPC'],
  [30, 'EROFS'],
  [32, 'EPIPE'],
  [36, 'ENAMETOOLONG'],
  [40, 'ELOOP'],
  [104, 'ECONNRESET'],
  [110, 'ETIMEDOUT'],
  [111, 'ECONNREFUSED'],
  [122, 'EDQUOT'],
])

export class SystemError extends Error {
  readonly code: string
  readonly op: string

  constructor(errno: number, op: string, subject: string) {
    const code = errnoNames.get(errno) ?? `errno ${errno}`
    super(`${op} ${subject}: ${code}`)
    this.code = code
    this.op = op
  }
}

export function isSystemError(error: unknown, ...codes: string[]): error is SystemError {
  return error instanceof SystemError && (codes.length === 0 || codes.includes(error.code))
}

/** The value, or the error that a negative number stands for. */
export function checked<T>(result: T | number, op: string, subject: string): T {
  if (typeof result === 'number' && result < 0) throw new SystemError(-result, op, subject)
  return result as T
}
