// Every way in which giving an address can fail, by a code that callers may compare.

export type IpamErrorCode =
  /** A range that cannot be used: not a prefix, too small or too large, or overlapping another. */
  | 'range-invalid'
  /** The node has no range yet (its Node object has no podCIDRs, or has not been read). */
  | 'no-range'
  /** Every address of a range is in use. */
  | 'pool-exhausted'
  /** An address asked for is not one, or two of one family were asked for. */
  | 'address-invalid'
  /** An address asked for that the node cannot give: outside its ranges, or one that is never given. */
  | 'address-outside'
  /** An address asked for that another attachment has, or that is kept out of use. */
  | 'address-taken'
  /** This attachment holds other addresses than those it asks for now. */
  | 'address-differs'
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
