// Every way in which giving an address can fail, by a code that callers may compare.

export type IpamErrorCode =
  /** A range that cannot be used: not a prefix, too small or too large, or overlapping another. */
  | 'range-invalid'
  /** The node has no range yet (its Node object has no podCIDRs, or has not been read). */
  | 'no-range'
  /** Every address of a range is in use. */
  | 'pool-exhausted'
  /** What this attachment holds cannot be read: it was set aside, and only its release settles it. */
  | 'record-corrupt'
  | 'disk-full'
  | 'read-only'
  /** The state folder could not be read or written for another reason; `cause` tells. */
  | 'storage'
  /** Every incarnation was used: 2³² attachments on this node. */
  | 'incarnations-exhausted'

export class IpamError extends Error {
  override readonly name = 'IpamError'
  readonly code: IpamErrorCode

  constructor(code: IpamErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
