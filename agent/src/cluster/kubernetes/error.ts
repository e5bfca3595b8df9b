// Why a request to the API server failed, by codes that decide what is done next, in its own words where it gave any.

export type KubernetesApiErrorCode =
  /** No server answered. */
  | 'unreachable'
  /** 401: it does not know our token. */
  | 'unauthorized'
  /** 403: a rule of the ClusterRole is missing; the message names it. */
  | 'forbidden'
  /** 404. */
  | 'not-found'
  /** 410, or an expired continue token: list again. */
  | 'gone'
  /** 429. */
  | 'busy'
  /** 5xx. */
  | 'unavailable'
  /** Other 4xx: asking again will not help. */
  | 'refused'
  /** Not what an API server answers. */
  | 'bad-answer'
  /** More than we are ready to hold. */
  | 'too-large'
  /** A watch on which not even a bookmark came. */
  | 'silent'

export class KubernetesApiError extends Error {
  override readonly name = 'KubernetesApiError'
  readonly code: KubernetesApiErrorCode
  /** The server's Retry-After. */
  readonly retryAfterMs: number | undefined

  constructor(
    code: KubernetesApiErrorCode,
    message: string,
    options: ErrorOptions & { retryAfterMs?: number | undefined } = {},
  ) {
    super(message, options)
    this.code = code
    this.retryAfterMs = options.retryAfterMs
  }
}

/** What stands in the `Status` that comes with a failure. */
export function errorOfStatus(
  httpStatus: number,
  body: unknown,
  what: string,
  retryAfter?: string,
): KubernetesApiError {
  const said = messageOf(body) ?? `HTTP status ${httpStatus}`
  const seconds = Number(retryAfter)
  const retryAfterMs = seconds > 0 && seconds <= 3600 ? seconds * 1000 : undefined
  const code = codeOfStatus(httpStatus)
  const advice = code === 'forbidden' ? MISSING_RULE : ''
  return new KubernetesApiError(code, `${what}: ${said}${advice}`, { retryAfterMs })
}

const MISSING_RULE = '; the ClusterRole sinabro lacks this rule: apply deploy/sinabro.yaml again'

function codeOfStatus(status: number): KubernetesApiErrorCode {
  switch (status) {
    case 401:
      return 'unauthorized'
    case 403:
      return 'forbidden'
    case 404:
      return 'not-found'
    case 410:
      return 'gone'
    case 429:
      return 'busy'
    default:
      return status >= 500 ? 'unavailable' : 'refused'
  }
}

function messageOf(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null || !('message' in body)) return undefined
  const { message } = body
  return typeof message === 'string' && message !== '' ? message.slice(0, 1000) : undefined
}
