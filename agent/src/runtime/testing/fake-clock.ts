// A clock that stands still until a test moves it, for everything that takes a Clock.
import type { Clock } from '../clock.ts'

interface Sleeper {
  readonly dueAt: number
  readonly wake: () => void
}

export class FakeClock implements Clock {
  #now: number
  #jumpedMs = 0
  #sleepers: Sleeper[] = []

  constructor(startMs = 1_700_000_000_000) {
    this.#now = startMs
  }

  now(): number {
    return this.#now + this.#jumpedMs
  }

  /** The wall clock alone is set, as by a person: nothing that sleeps is due sooner or later. */
  jump(ms: number): void {
    this.#jumpedMs += ms
  }

  monotonicMs(): number {
    return this.#now
  }

  /** How many are asleep: a story waits for this instead of for time. */
  get sleeperCount(): number {
    return this.#sleepers.length
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason)
        return
      }
      const sleeper: Sleeper = { dueAt: this.#now + ms, wake: resolve }
      this.#sleepers.push(sleeper)
      signal?.addEventListener(
        'abort',
        () => {
          this.#sleepers = this.#sleepers.filter((other) => other !== sleeper)
          reject(signal.reason)
        },
        { once: true },
      )
    })
  }

  /** Moves time on, waking sleepers in the order they are due and letting the work of each finish before the next. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await settle()
    for (;;) {
      const next = this.#sleepers
        .filter((sleeper) => sleeper.dueAt <= until)
        .sort((a, b) => a.dueAt - b.dueAt)[0]
      if (next === undefined) break
      this.#sleepers = this.#sleepers.filter((other) => other !== next)
      this.#now = Math.max(this.#now, next.dueAt)
      next.wake()
      await settle()
    }
    this.#now = until
  }
}

/** Lets every promise that can go on do so: setImmediate runs when the microtask queue is empty. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
}
