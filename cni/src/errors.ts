// The error that a CNI caller sees on stdout: a code of the specification or of ours, a message, details.
import { type CniErrorBody, codes } from './wire.ts'

export class CniError extends Error {
  readonly code: number
  readonly details: string | undefined

  constructor(code: number, message: string, details?: string) {
    super(message)
    this.code = code
    this.details = details
  }
}

/** Whatever was thrown, as a CniError. Only a defect of ours ends as `internal`. */
export function toCniError(error: unknown): CniError {
  if (error instanceof CniError) return error
  return new CniError(codes.internal, `internal error: ${describe(error)}`)
}

export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

export function errorBody(error: CniError, cniVersion: string): CniErrorBody {
  const { code, message: msg, details } = error
  return details ? { cniVersion, code, msg, details } : { cniVersion, code, msg }
}

/**
 * containerd takes a DEL error with one of these phrases for success and never asks again, which would leak the attachment.
 */
const swallowed = [
  [/not found/gi, 'absent'],
  [/no such file or directory/gi, 'ENOENT'],
] as const

export function withoutSwallowedPhrases(error: CniError): CniError {
  const reword = (text: string) =>
    swallowed.reduce((reworded, [phrase, instead]) => reworded.replace(phrase, instead), text)
  return new CniError(error.code, reword(error.message), error.details && reword(error.details))
}
