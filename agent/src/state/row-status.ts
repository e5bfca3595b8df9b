// What became of each desired row: pending, done or error with since when, and when it is tried again.
import { Backoff, type BackoffOptions } from '../runtime/backoff.ts'
import { codeOf } from '../runtime/log.ts'

export interface RowStatus {
  readonly key: string
  readonly state: 'pending' | 'done' | 'error'
  /** Milliseconds since 1970. */
  readonly since: number
  /** The row is no longer wanted and its object is to go. */
  readonly isRemoval: boolean
  readonly failures?: number
  readonly code?: string
  readonly message?: string
}

/** One key's row, its status and its back-off. */
export class TrackedRow<Row> {
  readonly key: string
  row: Row | undefined
  /** On the monotonic clock; set only in state error. */
  retryAtMs: number | undefined
  #state: RowStatus['state'] = 'pending'
  #since: number
  #code: string | undefined
  #message: string | undefined
  readonly #backoff: Backoff

  constructor(key: string, row: Row | undefined, now: number, backoff: BackoffOptions) {
    this.key = key
    this.row = row
    this.#since = now
    this.#backoff = new Backoff(backoff)
  }

  get state(): RowStatus['state'] {
    return this.#state
  }

  get message(): string | undefined {
    return this.#message
  }

  /** The row changed: what failed before says nothing about the new one. */
  change(row: Row | undefined, now: number): void {
    this.row = row
    this.retryAtMs = undefined
    this.#backoff.reset()
    this.#enter('pending', now)
  }

  done(now: number): void {
    this.retryAtMs = undefined
    this.#backoff.reset()
    this.#enter('done', now)
  }

  failed(error: unknown, now: number, monotonicMs: number): void {
    this.retryAtMs = monotonicMs + this.#backoff.nextMs()
    this.#enter('error', now)
    this.#code = codeOf(error)
    this.#message = error instanceof Error ? error.message : String(error)
  }

  status(): RowStatus {
    return {
      key: this.key,
      state: this.#state,
      since: this.#since,
      isRemoval: this.row === undefined,
      ...(this.#state === 'error' ? { failures: this.#backoff.failures } : {}),
      ...(this.#code === undefined ? {} : { code: this.#code }),
      ...(this.#message === undefined ? {} : { message: this.#message }),
    }
  }

  #enter(state: RowStatus['state'], now: number): void {
    this.#code = undefined
    this.#message = undefined
    if (this.#state === state) return
    this.#state = state
    this.#since = now
  }
}
