// What a room registers to be reachable over the agent's socket, and the errors every route answers with.

export interface ApiRequest {
  /** The parsed JSON body; undefined when there was none. */
  readonly body: unknown
  readonly query: URLSearchParams
  /** Aborted when the caller has gone away, when the time is over, or when the agent stops. */
  readonly signal: AbortSignal
}

export interface ApiReply {
  readonly status: number
  /** Sent as JSON, unless it is a string and a content type is named. */
  readonly body?: unknown
  readonly contentType?: string
}

export type ApiHandler = (request: ApiRequest) => Promise<ApiReply> | ApiReply

export interface RouteOptions {
  readonly maxBodyBytes?: number
  /** The handler's signal is aborted and the caller told after this long. */
  readonly timeoutMs?: number
  /** How this route tells of failures that its handler does not see (body too large, not JSON, time over) or throws. */
  readonly errorBody?: (error: ApiError, request: { readonly body: unknown }) => unknown
}

/** What the rooms see of the server. */
export interface Api {
  route(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    handler: ApiHandler,
    options?: RouteOptions,
  ): void
}

export type ApiErrorCode =
  | 'not-found'
  | 'method-not-allowed'
  | 'bad-request'
  | 'body-too-large'
  | 'timeout'
  | 'stopping'
  | 'internal'

export class ApiError extends Error {
  override readonly name = 'ApiError'
  /** One of ApiErrorCode, or the code of what a handler threw. */
  readonly code: string
  readonly status: number

  constructor(
    code: ApiErrorCode | (string & {}),
    status: number,
    message: string,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.status = status
  }
}
