// Named background work: retried with back-off, seen in health while it fails, ended together; no promise floats.
import { Backoff, type BackoffOptions } from './backoff.ts'
import type { Clock } from './clock.ts'
import type { Health } from './health.ts'
import type { Log } from './log.ts'

/** `alive` tells that the job does its work again: clears its back-off and its health before it ends. */
export type Job = (signal: AbortSignal, alive: () => void) => Promise<void>

export interface JobsOptions {
  readonly log: Log
  readonly health: Health
  readonly clock: Clock
  readonly backoff?: BackoffOptions
}

interface Running {
  readonly abort: AbortController
  readonly done: Promise<void>
}

const DEFAULT_BACKOFF: BackoffOptions = { firstMs: 200, longestMs: 30_000 }

export class Jobs {
  readonly #options: JobsOptions
  readonly #running = new Map<string, Running>()
  #isStopping = false

  constructor(options: JobsOptions) {
    this.#options = options
  }

  /** Starts it and returns at once. A job that returns is over; one that throws is tried again until `stop`. */
  start(name: string, run: Job): void {
    if (this.#isStopping) throw new Error(`job ${name}: the process is stopping`)
    if (this.#running.has(name)) throw new Error(`job ${name}: already running`)
    const abort = new AbortController()
    const done = this.#keepTrying(name, run, abort.signal).finally(() => {
      if (this.#running.get(name)?.abort === abort) this.#running.delete(name)
    })
    this.#running.set(name, { abort, done })
  }

  get names(): readonly string[] {
    return [...this.#running.keys()]
  }

  /** Ends one job and waits for it; says whether there was one. */
  async end(name: string): Promise<boolean> {
    const job = this.#running.get(name)
    if (job === undefined) return false
    job.abort.abort(new Error(`job ${name} is asked to end`))
    await job.done
    return true
  }

  /** Asks all to end and waits for them. Afterwards nothing can be started. */
  async stop(): Promise<void> {
    this.#isStopping = true
    for (const [name, job] of this.#running) {
      job.abort.abort(new Error(`job ${name}: the process is stopping`))
    }
    await Promise.all([...this.#running.values()].map((job) => job.done))
  }

  async #keepTrying(name: string, run: Job, signal: AbortSignal): Promise<void> {
    const { log, health, clock, backoff: backoffOptions = DEFAULT_BACKOFF } = this.#options
    const backoff = new Backoff(backoffOptions)
    const alive = (): void => {
      backoff.reset()
      health.ok(name)
    }
    // Never settles before the caller has the job in its table, so that a job that ends at once is still found by name.
    await Promise.resolve()
    while (!signal.aborted) {
      const startedAt = clock.monotonicMs()
      try {
        await run(signal, alive)
        health.forget(name)
        return
      } catch (error) {
        if (signal.aborted) return
        if (clock.monotonicMs() - startedAt > backoffOptions.longestMs) backoff.reset()
        const delayMs = Math.round(backoff.nextMs())
        health.degraded(name, error)
        health.countFailure(name)
        log.error({ job: name, error, retryInMs: delayMs }, 'job failed')
        await clock.sleep(delayMs, signal).catch(() => undefined)
      }
    }
  }
}
