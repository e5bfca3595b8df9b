// What has happened since the last look, told one by one and taken all at once.
import type { Clock } from '../runtime/clock.ts'
import type { Whose } from './follow.ts'

/** nodes: the table of nodes. all: something was missed, or it is time to look at everything. */
export type Told = Exclude<Whose, 'row' | 'hook'> | 'nodes' | 'all'

export class News {
  #told = new Set<Told>()
  #wake: () => void = () => undefined

  tell(what: Told): void {
    this.#told.add(what)
    this.#wake()
  }

  /** As soon as there is some; 'device' alone after `longestMs` without. */
  async next(longestMs: number, clock: Clock, signal: AbortSignal): Promise<ReadonlySet<Told>> {
    const woken = new AbortController()
    this.#wake = () => woken.abort()
    if (this.#told.size === 0 && !signal.aborted) {
      await clock.sleep(longestMs, AbortSignal.any([signal, woken.signal])).catch(() => undefined)
    }
    this.#wake = () => undefined
    const told = this.#told.size === 0 ? new Set<Told>(['device']) : this.#told
    this.#told = new Set()
    return told
  }
}
