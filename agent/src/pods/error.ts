// Why a pod could not be wired, by codes that callers may compare.

export type PodErrorCode =
  /** The namespace holds another interface of that name. */
  | 'interface-taken'
  /** The path is no network namespace (any more). */
  | 'netns-gone'
  /** What is at the path is a namespace, but of another kind, or may not be opened. */
  | 'netns-unusable'
  /** The path is the node's own namespace: its addresses and routes are not ours to change. */
  | 'netns-own'
  /** CHECK: something is missing or changed; the message lists all of it. */
  | 'check-failed'
  /** There is an allocation, but its device is gone or was never made: DEL or a repeated ADD settles it. */
  | 'device-lost'
  /** Nothing is known of the underlay yet: the overlay has not found this node's own device. */
  | 'no-mtu'
  /** An ADD failed and so did taking it back: the next pass or DEL finds what is left. */
  | 'undo-failed'

export class PodError extends Error {
  override readonly name = 'PodError'
  readonly code: PodErrorCode

  constructor(code: PodErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
