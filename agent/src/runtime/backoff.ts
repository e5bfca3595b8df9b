// Back-off as arithmetic: doubles from a first delay to a longest one, with jitter so that many do not retry in step.

export interface BackoffOptions {
  readonly firstMs: number
  readonly longestMs: number
  /** Returns [0, 1); passed in so that tests know the delays. */
  readonly random?: () => number
}

export class Backoff {
  readonly #firstMs: number
  readonly #longestMs: number
  readonly #random: () => number
  #failures = 0

  constructor({ firstMs, longestMs, random = Math.random }: BackoffOptions) {
    this.#firstMs = firstMs
    this.#longestMs = longestMs
    this.#random = random
  }

  /** How long to wait after one more failure: between half of the full delay and all of it. */
  nextMs(): number {
    const fullMs = Math.min(this.#longestMs, this.#firstMs * 2 ** Math.min(this.#failures, 52))
    this.#failures++
    return fullMs * (0.5 + this.#random() / 2)
  }

  get failures(): number {
    return this.#failures
  }

  reset(): void {
    this.#failures = 0
  }
}
