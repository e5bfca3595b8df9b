// Why the datapath could not be brought up, by codes that callers may compare.

export type DatapathErrorCode =
  /** The pin directory is not on a bpf file system. */
  | 'no-bpffs'
  /** Somebody else made or may change the pin directory. */
  | 'foreign-pins'
  /** A pinned map has another layout than the programs of this version. */
  | 'layout'
  /** The kernel's verifier refused a program. */
  | 'verifier'
  /** Programs cannot be attached to sockets, or do not run there. */
  | 'cgroup'
  /** A device does not take our XDP program in the mode that is wanted. */
  | 'xdp'

export class DatapathError extends Error {
  override readonly name = 'DatapathError'
  readonly code: DatapathErrorCode

  constructor(code: DatapathErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
