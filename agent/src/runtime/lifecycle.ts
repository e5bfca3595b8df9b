// Starts the parts of a process in order and stops them in reverse, each within its time.
import type { Clock } from './clock.ts'
import type { Log } from './log.ts'

/** A part: `start` resolves when the parts after it may rely on it. */
export interface Part {
  readonly name: string
  start?(signal: AbortSignal): Promise<void> | void
  stop?(): Promise<void> | void
  /** How long `stop` may take before the next part is stopped anyway. */
  readonly stopWithinMs?: number
}

const DEFAULT_STOP_WITHIN_MS = 5_000

export class Lifecycle {
  readonly #parts: Part[] = []
  readonly #started: Part[] = []
  readonly #log: Log
  readonly #clock: Clock

  constructor({ log, clock }: { readonly log: Log; readonly clock: Clock }) {
    this.#log = log
    this.#clock = clock
  }

  add(part: Part): void {
    this.#parts.push(part)
  }

  /** A part that fails to start ends it: those already started are stopped, and the error is the caller's. */
  async start(signal: AbortSignal): Promise<void> {
    for (const part of this.#parts) {
      signal.throwIfAborted()
      const startedAt = this.#clock.monotonicMs()
      // Before it is awaited: what failed half way gets its stop too.
      this.#started.push(part)
      try {
        await part.start?.(signal)
      } catch (error) {
        await this.stop()
        throw error
      }
      const tookMs = Math.round(this.#clock.monotonicMs() - startedAt)
      this.#log.debug({ part: part.name, tookMs }, 'started')
    }
  }

  /** Never rejects: an error in one part must not keep the others from stopping. Says whether all went well. */
  async stop(): Promise<boolean> {
    let isClean = true
    for (let part = this.#started.pop(); part !== undefined; part = this.#started.pop()) {
      try {
        await this.#stopOne(part)
      } catch (error) {
        isClean = false
        this.#log.error({ part: part.name, error }, 'did not stop as it should')
      }
    }
    return isClean
  }

  async #stopOne(part: Part): Promise<void> {
    if (part.stop === undefined) return
    const withinMs = part.stopWithinMs ?? DEFAULT_STOP_WITHIN_MS
    const isDone = new AbortController()
    const deadline = this.#clock.sleep(withinMs, isDone.signal).then(
      () => {
        throw new Error(`still not stopped after ${withinMs} ms`)
      },
      () => undefined,
    )
    try {
      await Promise.race([Promise.resolve(part.stop()), deadline])
    } finally {
      isDone.abort()
    }
  }
}
