// Starts the parts of a process one after the other and stops them in reverse, each within its time.
import type { Clock } from './clock.ts'
import type { Log } from './log.ts'

export interface PartOptions<T> {
  /** Resolves when the parts after it may rely on it. */
  start(): Promise<T> | T
  stop?(part: T): Promise<unknown> | unknown
  /** How long `stop` may take before the next part is stopped anyway. */
  readonly stopWithinMs?: number
}

interface Started {
  readonly name: string
  readonly stop: () => Promise<unknown> | unknown
  readonly stopWithinMs: number
}

const DEFAULT_STOP_WITHIN_MS = 5_000

export class Lifecycle {
  readonly #started: Started[] = []
  readonly #log: Log
  readonly #clock: Clock

  constructor({ log, clock }: { readonly log: Log; readonly clock: Clock }) {
    this.#log = log
    this.#clock = clock
  }

  /** Rejects with what `start` throws; stopping what was started before is the caller's, by `stop`. */
  async begin<T>(name: string, options: PartOptions<T>): Promise<T> {
    const startedAt = this.#clock.monotonicMs()
    const part = await options.start()
    const { stop, stopWithinMs = DEFAULT_STOP_WITHIN_MS } = options
    if (stop !== undefined) this.#started.push({ name, stop: () => stop(part), stopWithinMs })
    const tookMs = Math.round(this.#clock.monotonicMs() - startedAt)
    this.#log.debug({ part: name, tookMs }, 'started')
    return part
  }

  /** Never rejects: an error in one part must not keep the others from stopping. Says whether all went well. */
  async stop(): Promise<boolean> {
    let isClean = true
    for (let part = this.#started.pop(); part !== undefined; part = this.#started.pop()) {
      try {
        await this.#stopOne(part)
        this.#log.debug({ part: part.name }, 'stopped')
      } catch (error) {
        isClean = false
        this.#log.error({ part: part.name, error }, 'did not stop as it should')
      }
    }
    return isClean
  }

  async #stopOne({ stop, stopWithinMs }: Started): Promise<void> {
    const isDone = new AbortController()
    const deadline = this.#clock.sleep(stopWithinMs, isDone.signal).then(
      () => {
        throw new Error(`still not stopped after ${stopWithinMs} ms`)
      },
      () => undefined,
    )
    try {
      await Promise.race([stop(), deadline])
    } finally {
      isDone.abort()
    }
  }
}
