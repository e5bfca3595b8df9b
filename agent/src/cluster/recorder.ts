// A sink that remembers: the last events, each once with how often, and every condition with since when; and hands on to other sinks,
// of events no more than their budget.

import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { EventBudget } from './event-budget.ts'
import type { Annotation, ClusterEvent, ClusterSink, Condition } from './sink.ts'

export interface RecordedEvent extends ClusterEvent {
  readonly count: number
  /** Milliseconds since 1970, as `lastSeen`. */
  readonly firstSeen: number
  readonly lastSeen: number
}

export interface RecordedCondition extends Condition {
  /** When `status` last changed, milliseconds since 1970. */
  readonly since: number
}

export interface RecorderOptions {
  readonly clock: Clock
  readonly log: Log
  /** Sinks that get each new thing too. */
  readonly to?: readonly ClusterSink[]
}

const MOST_EVENTS = 100

export class Recorder implements ClusterSink {
  readonly #clock: Clock
  readonly #log: Log
  readonly #to: readonly ClusterSink[]
  /** In the order in which they were last seen. */
  readonly #events = new Map<string, RecordedEvent>()
  readonly #conditions = new Map<string, RecordedCondition>()
  readonly #totals = new Map<string, number>()
  readonly #budget: EventBudget
  /** Since the last one that was told. */
  #untold = 0

  constructor({ clock, log, to = [] }: RecorderOptions) {
    this.#clock = clock
    this.#log = log
    this.#to = to
    this.#budget = new EventBudget(clock)
  }

  event(event: ClusterEvent): void {
    const { type, reason, message, about } = event
    this.#totals.set(reason, (this.#totals.get(reason) ?? 0) + 1)
    const key = JSON.stringify([type, reason, message, about])
    const before = this.#events.get(key)
    const now = this.#clock.now()
    this.#events.delete(key)
    this.#events.set(key, {
      ...event,
      count: (before?.count ?? 0) + 1,
      firstSeen: before?.firstSeen ?? now,
      lastSeen: now,
    })
    const [oldest] = this.#events.keys()
    if (this.#events.size > MOST_EVENTS && oldest !== undefined) this.#events.delete(oldest)
    if (!this.#budget.take(about.kind)) {
      this.#untold++
      return
    }
    if (this.#untold > 0)
      this.#log.warn({ events: this.#untold }, 'too many events; these were not told')
    this.#untold = 0
    const level = type === 'Warning' ? 'warn' : 'info'
    this.#log[level]({ event: reason, about }, message)
    this.#handOn((sink) => sink.event(event))
  }

  condition(condition: Condition): void {
    const { type, status, reason, message } = condition
    const before = this.#conditions.get(type)
    if (before?.status === status && before.reason === reason && before.message === message) return
    const since = before?.status === status ? before.since : this.#clock.now()
    this.#conditions.set(type, { ...condition, since })
    this.#handOn((sink) => sink.condition(condition))
  }

  annotation(annotation: Annotation): void {
    this.#handOn((sink) => sink.annotation(annotation))
  }

  /** The one that happened last comes last. */
  events(): RecordedEvent[] {
    return [...this.#events.values()]
  }

  conditions(): RecordedCondition[] {
    return [...this.#conditions.values()].sort((a, b) => (a.type < b.type ? -1 : 1))
  }

  /** How many events of each reason there were since the start. */
  totals(): ReadonlyMap<string, number> {
    return this.#totals
  }

  #handOn(tell: (sink: ClusterSink) => void): void {
    for (const sink of this.#to) {
      try {
        tell(sink)
      } catch (error) {
        this.#log.error({ error }, 'a sink failed')
      }
    }
  }
}
