// Failures as the runtime sees them: a number of the CNI specification or one of ours, a sentence, and details.
import { type CniErrorBody, codes } from '@sinabro/cni/wire'

export class CniError extends Error {
  /** CNI error code: stable, what callers may act upon. */
  readonly cniCode: number
  readonly details: string | undefined

  constructor(
    cniCode: number,
    message: string,
    options: { details?: string; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause })
    this.name = 'CniError'
    this.cniCode = cniCode
    this.details = options.details
  }
}

/** What rooms below us throw, by their own stable codes. What is not here is our bug or the kernel's refusal: 100. */
const BY_CODE: ReadonlyMap<string, { cniCode: number; what: string }> = new Map([
  // ipam
  ['pool-exhausted', { cniCode: codes.poolExhausted, what: 'no free address' }],
  ['no-range', { cniCode: codes.tryAgainLater, what: 'this node has no pod range yet' }],
  ['range-invalid', { cniCode: codes.tryAgainLater, what: 'this node has no usable pod range' }],
  ['address-invalid', { cniCode: codes.invalidConfig, what: 'an address asked for is not one' }],
  ['address-outside', { cniCode: codes.addressUnavailable, what: 'not an address of this node' }],
  ['address-taken', { cniCode: codes.addressUnavailable, what: 'the address is in use' }],
  [
    'address-differs',
    { cniCode: codes.addressUnavailable, what: 'this attachment has another address' },
  ],
  ['record-corrupt', { cniCode: codes.corruptedRecord, what: 'its record on disk is unreadable' }],
  ['disk-full', { cniCode: codes.ioFailure, what: 'the state folder is full' }],
  ['read-only', { cniCode: codes.ioFailure, what: 'the state folder is read-only' }],
  ['storage', { cniCode: codes.ioFailure, what: 'the state folder cannot be used' }],
  // pods
  ['interface-taken', { cniCode: codes.interfaceTaken, what: 'the interface name is taken' }],
  ['netns-gone', { cniCode: codes.invalidNetns, what: 'not a network namespace' }],
  ['netns-unusable', { cniCode: codes.invalidNetns, what: 'not a network namespace' }],
  ['netns-own', { cniCode: codes.invalidNetns, what: "the node's own network namespace" }],
  ['no-mtu', { cniCode: codes.tryAgainLater, what: 'the underlay is not known yet' }],
  ['check-failed', { cniCode: codes.checkFailed, what: 'not as ADD left it' }],
  // this room
  ['not-ready', { cniCode: codes.tryAgainLater, what: 'the agent is not ready' }],
  // api
  ['stopping', { cniCode: codes.tryAgainLater, what: 'the agent is stopping' }],
  ['timeout', { cniCode: codes.tryAgainLater, what: 'it took too long and was undone' }],
  ['aborted', { cniCode: codes.tryAgainLater, what: 'the call was cancelled' }],
])

export function toCniError(error: unknown): CniError {
  if (error instanceof CniError) return error
  const known = BY_CODE.get(codeOf(error) ?? '')
  if (known !== undefined) {
    return new CniError(known.cniCode, known.what, { details: describe(error), cause: error })
  }
  if (error instanceof Error && error.name === 'AbortError') {
    return new CniError(codes.tryAgainLater, 'the call was cancelled', { cause: error })
  }
  return new CniError(codes.internal, describe(error), { cause: error })
}

export function errorBody(error: CniError, cniVersion: string): CniErrorBody {
  return {
    cniVersion,
    code: error.cniCode,
    msg: error.message,
    ...(error.details === undefined ? {} : { details: error.details }),
  }
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** The whole chain of causes: at 3 a.m. the last one is the answer. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause === undefined ? error.message : `${error.message}: ${describe(error.cause)}`
}
