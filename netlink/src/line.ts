// Who uses a socket now and who is next: one at a time, in the order they came.

interface Waiting {
  readonly go: () => void
  hasLeft: boolean
}

/** So many who are gone may stay in front before the array is cut. */
const MOST_GONE = 1024

export class Line {
  /** A queue with its head at `#head`: `shift()` moves a long array as a whole. */
  #waiting: Waiting[] = []
  #head = 0
  #isBusy = false

  /**
   * Resolves when it is one's turn, which ends with `leave()`; undefined when that is now. Rejects with the signal's reason when
   * that comes first.
   */
  enter(signal: AbortSignal | undefined): Promise<void> | undefined {
    signal?.throwIfAborted()
    if (!this.#isBusy) {
      this.#isBusy = true
      return undefined
    }
    return new Promise((resolve, reject) => {
      const give = () => {
        waiting.hasLeft = true
        reject(signal?.reason)
      }
      const go = () => {
        signal?.removeEventListener('abort', give)
        resolve()
      }
      const waiting: Waiting = { go, hasLeft: false }
      signal?.addEventListener('abort', give, { once: true })
      this.#waiting.push(waiting)
    })
  }

  /** The line stays busy while the next one wakes, so that nobody slips in between. */
  leave(): void {
    let next = this.#waiting[this.#head++]
    while (next?.hasLeft) next = this.#waiting[this.#head++]
    if (next === undefined) {
      this.#waiting = []
      this.#head = 0
      this.#isBusy = false
      return
    }
    if (this.#head > MOST_GONE && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head)
      this.#head = 0
    }
    next.go()
  }
}
