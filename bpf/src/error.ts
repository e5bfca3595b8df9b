// What the kernel or libbpf refused, with a stable code.
import { constants } from 'node:os'

/** An errno name, or what errno cannot say. */
export type BpfErrorCode =
  /** The verifier refused a program; see `verifierLog`. */
  | 'verifier'
  /** A pinned map exists and is not what the object declares. */
  | 'layout'
  /** This kernel is too old for it; the text says since when it is there. */
  | 'unsupported'
  /** libbpf could not make sense of the object file. */
  | 'object'
  | `E${string}`

export interface BpfErrorDetails {
  readonly code?: BpfErrorCode
  /** Positive; 0 when no call failed. */
  readonly errno?: number
  readonly detail?: string
  readonly verifierLog?: string
}

/** libbpf's own numbers, `__LIBBPF_ERRNO__START` of `bpf/libbpf.h`. */
const LIBBPF_ERRNO_START = 4000

export class BpfError extends Error {
  override readonly name = 'BpfError'
  readonly code: BpfErrorCode
  /** What was being done and to what: 'BPF_MAP_UPDATE_ELEM sb_nodes'. */
  readonly op: string
  readonly errno: number
  declare readonly verifierLog?: string

  constructor(op: string, { code, errno = 0, detail, verifierLog }: BpfErrorDetails) {
    const stable = code ?? (errno >= LIBBPF_ERRNO_START ? 'object' : errnoName(errno))
    super(`${op}: ${stable}${detail === undefined ? '' : `: ${detail}`}`)
    this.op = op
    this.code = stable
    this.errno = errno
    if (verifierLog !== undefined) this.verifierLog = verifierLog
  }
}

/** Internal to the kernel, yet returned by batch commands of maps that have none. `include/linux/errno.h` */
export const ENOTSUPP = 524

const names = new Map<number, string>(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
)
names.set(ENOTSUPP, 'ENOTSUPP')
names.set(constants.errno.EAGAIN, 'EAGAIN')
names.set(constants.errno.EOPNOTSUPP, 'EOPNOTSUPP')

export function errnoName(errno: number): `E${string}` {
  return (names.get(errno) ?? `E${errno}`) as `E${string}`
}

/** The result, unless it is a -errno: then that as an error. */
export function check(result: number, op: string): number {
  if (result < 0) throw new BpfError(op, { errno: -result })
  return result
}
