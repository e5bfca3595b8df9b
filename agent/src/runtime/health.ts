// What works and what does not, by component: fed by jobs and reconcilers, read by the API and by whoever waits for ready.
import type { Clock } from './clock.ts'
import { codeOf } from './log.ts'

export type ComponentState = 'starting' | 'ok' | 'degraded'

export interface ComponentHealth {
  readonly component: string
  readonly state: ComponentState
  /** Since when it has been in this state, milliseconds since 1970. */
  readonly since: number
  readonly code?: string
  readonly message?: string
}

export interface HealthSnapshot {
  /** No component is still starting: the process can do its work. Stays true when something degrades later. */
  readonly isReady: boolean
  readonly isHealthy: boolean
  readonly components: readonly ComponentHealth[]
}

export class Health {
  readonly #clock: Clock
  readonly #components = new Map<string, ComponentHealth>()
  readonly #listeners = new Set<() => void>()
  readonly #failures = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Announces a component that ready must wait for. */
  starting(component: string, message = 'has not finished its first pass'): void {
    this.#set({ component, state: 'starting', since: this.#clock.now(), message })
  }

  ok(component: string): void {
    this.#set({ component, state: 'ok', since: this.#clock.now() })
  }

  /**
   * While it is still starting it stays so, with the reason: a component that never worked must not count as ready.
   */
  degraded(component: string, error: unknown): void {
    const code = codeOf(error)
    const isStarting = this.#components.get(component)?.state === 'starting'
    this.#set({
      component,
      state: isStarting ? 'starting' : 'degraded',
      since: this.#clock.now(),
      ...(code === undefined ? {} : { code }),
      message: error instanceof Error ? error.message : String(error),
    })
  }

  /** Counts one failure of its work, whether or not it degrades the component. */
  countFailure(component: string): void {
    this.#failures.set(component, (this.#failures.get(component) ?? 0) + 1)
  }

  /** By component, since the start. */
  failures(): ReadonlyMap<string, number> {
    return this.#failures
  }

  /** For a component that ended for good and has nothing more to say. */
  forget(component: string): void {
    if (this.#components.delete(component)) this.#tell()
  }

  snapshot(): HealthSnapshot {
    const components = [...this.#components.values()].sort((a, b) =>
      a.component < b.component ? -1 : 1,
    )
    return {
      isReady: components.every((one) => one.state !== 'starting'),
      isHealthy: components.every((one) => one.state === 'ok'),
      components,
    }
  }

  /** Calls back after every change; returns what ends it. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async whenReady(signal: AbortSignal): Promise<void> {
    while (!this.snapshot().isReady) {
      await new Promise<void>((resolve, reject) => {
        const onAbort = (): void => {
          end()
          reject(signal.reason)
        }
        const end = this.subscribe(() => {
          end()
          signal.removeEventListener('abort', onAbort)
          resolve()
        })
        if (signal.aborted) onAbort()
        else signal.addEventListener('abort', onAbort, { once: true })
      })
    }
  }

  #set(next: ComponentHealth): void {
    const before = this.#components.get(next.component)
    const isSame =
      before?.state === next.state && before.code === next.code && before.message === next.message
    if (isSame) return
    const since = before?.state === next.state ? before.since : next.since
    this.#components.set(next.component, Object.freeze({ ...next, since }))
    this.#tell()
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}
