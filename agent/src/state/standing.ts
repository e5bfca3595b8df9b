// What a reconciler says of itself to the health of the process: starting until its first pass, then ok or degraded.
import type { Health } from '../runtime/health.ts'

export class Standing {
  readonly #name: string
  readonly #health: Health
  readonly #readyAfter: 'first-pass' | 'no-errors'
  #isStarting = true

  constructor(name: string, health: Health, readyAfter: 'first-pass' | 'no-errors') {
    this.#name = name
    this.#health = health
    this.#readyAfter = readyAfter
    health.starting(name)
  }

  /** With the rows that failed, in words, if any did. */
  passed(failure: string | undefined): void {
    if (failure === undefined || (this.#isStarting && this.#readyAfter === 'first-pass')) {
      this.#isStarting = false
      this.#health.ok(this.#name)
    }
    if (failure !== undefined) this.#health.degraded(this.#name, new Error(failure))
  }

  brokeOff(error: unknown): void {
    this.#health.degraded(this.#name, error)
    this.countFailure()
  }

  countFailure(): void {
    this.#health.countFailure(this.#name)
  }
}
