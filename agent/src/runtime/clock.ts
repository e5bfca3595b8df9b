// Time as an argument: what waits or stamps takes a Clock, so that tests never wait.
import { setTimeout as sleep } from 'node:timers/promises'

export interface Clock {
  /** Wall clock, milliseconds since 1970. Can jump: only for stamps that people read. */
  now(): number
  /** Never jumps, counts from anywhere: for due times and durations. */
  monotonicMs(): number
  /** Resolves after `ms`; rejects with the signal's reason as soon as the signal is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await sleep(ms, undefined, signal === undefined ? {} : { signal })
    } catch (error) {
      throw signal?.aborted ? signal.reason : error
    }
  },
}
