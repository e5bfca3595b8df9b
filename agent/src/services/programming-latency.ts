// How long it takes from what happened to an endpoint until packets know: from the controller's word in the slice to the map.
import type { EndpointSliceRow } from '../cluster/rows.ts'
import type { Clock } from '../runtime/clock.ts'
import { Histogram } from '../runtime/histogram.ts'
import type { Table } from '../state/table.ts'

/** As kube-proxy counts: to two minutes. */
const BUCKETS_SEC = [0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60, 120]
/** A slice whose change did not concern this node is not written, and does not wait for the next that is. */
const FORGOTTEN_AFTER_MS = 10_000

export class ProgrammingLatency {
  readonly histogram = new Histogram(BUCKETS_SEC)
  readonly #clock: Clock
  readonly #startedMs: number
  /** By Service; both by the monotonic clock, so that the node's own may be set meanwhile. */
  readonly #pending = new Map<string, { readonly triggeredMs: number; readonly heardMs: number }>()

  constructor(slices: Table<EndpointSliceRow>, clock: Clock) {
    this.#clock = clock
    this.#startedMs = clock.monotonicMs()
    slices.subscribe((changes) => {
      for (const { row } of changes) if (row !== undefined) this.#hear(row)
    })
  }

  /** The maps say it. */
  written(service: string): void {
    const pending = this.#pending.get(service)
    if (pending === undefined) return
    this.#pending.delete(service)
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - pending.heardMs > FORGOTTEN_AFTER_MS) return
    this.histogram.observe({}, Math.max(0, nowMs - pending.triggeredMs) / 1000)
  }

  /** What happened before the start is not this agent's delay. */
  #hear({ namespace, service, triggeredAt = 0 }: EndpointSliceRow): void {
    const heardMs = this.#clock.monotonicMs()
    const triggeredMs = heardMs - (this.#clock.now() - triggeredAt)
    if (service === undefined || triggeredMs < this.#startedMs) return
    const key = `${namespace}/${service}`
    const before = this.#pending.get(key)
    const isOld = before === undefined || heardMs - before.heardMs > FORGOTTEN_AFTER_MS
    const first = isOld ? triggeredMs : Math.min(before.triggeredMs, triggeredMs)
    this.#pending.set(key, { triggeredMs: first, heardMs })
  }
}
