// Tells the cluster: conditions and annotations into the Node, events as Event objects. Bounded and slow on purpose: an API server has better to do.
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import type { Annotation, ClusterEvent, ClusterSink, Condition, ObjectRef } from '../sink.ts'
import type { KubernetesApi } from './api.ts'
import { KubernetesApiError } from './error.ts'

export interface KubernetesSinkOptions {
  readonly api: KubernetesApi
  readonly nodeName: string
  readonly clock: Clock
  readonly log: Log
  /** Of an object that is known; `kubectl describe` finds events by it. */
  uidOf(about: ObjectRef): string | undefined
  /** A bad condition is told when it has held for so long: a restart is no news. */
  readonly holdMs?: number
  /** Between two rounds of telling. */
  readonly pauseMs?: number
}

interface PendingCondition extends Condition {
  readonly since: number
  /** Monotonic. */
  readonly dueMs: number
}

interface ToldEvent {
  readonly name: string
  readonly namespace: string
  readonly firstSeen: number
  count: number
}

const HOLD_MS = 20_000
const PAUSE_MS = 2_000
const MOST_PENDING = 100
const MOST_REMEMBERED = 200
/** As Kubernetes' validation has it. */
const LONGEST_MESSAGE = 1024

export class KubernetesSink implements ClusterSink {
  readonly #options: KubernetesSinkOptions
  readonly #conditions = new Map<string, PendingCondition>()
  /** What the Node was told last, by type: status, reason and message. */
  readonly #told = new Map<string, string>()
  /** Still to be told, by name. */
  readonly #annotations = new Map<string, string | undefined>()
  /** By what makes two events the same; how often since it was last told. */
  readonly #events = new Map<string, { event: ClusterEvent; at: number; count: number }>()
  readonly #earlier = new Map<string, ToldEvent>()
  #dropped = 0
  #serial = 0
  #wake: () => void = () => undefined

  constructor(options: KubernetesSinkOptions) {
    this.#options = options
  }

  event(event: ClusterEvent): void {
    const key = keyOf(event)
    const pending = this.#events.get(key)
    if (pending !== undefined) {
      pending.count++
      return
    }
    if (this.#events.size >= MOST_PENDING) {
      this.#dropped++
      return
    }
    this.#events.set(key, { event, at: this.#options.clock.now(), count: 1 })
    this.#wake()
  }

  condition(condition: Condition): void {
    const { clock, holdMs = HOLD_MS } = this.#options
    const before = this.#conditions.get(condition.type)
    const isSame = before?.status === condition.status
    const since = isSame ? before.since : clock.now()
    const firstDueMs = clock.monotonicMs() + (isBad(condition) ? holdMs : 0)
    const dueMs = isSame ? before.dueMs : firstDueMs
    this.#conditions.set(condition.type, { ...condition, since, dueMs })
    this.#wake()
  }

  annotation({ name, value }: Annotation): void {
    this.#annotations.set(name, value)
    this.#wake()
  }

  /** Works until the signal is aborted: hand it to a job. What could not be told stays and is told later. */
  async run(signal: AbortSignal, alive: () => void): Promise<void> {
    const { clock, pauseMs = PAUSE_MS } = this.#options
    while (!signal.aborted) {
      await this.#tellConditions(signal)
      await this.#tellAnnotations(signal)
      await this.#tellEvents(signal)
      alive()
      await clock.sleep(pauseMs, signal).catch(() => undefined)
      await this.#something(signal)
    }
  }

  /** Returns when there is something to tell now. */
  async #something(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    while (!signal.aborted && this.#events.size === 0 && this.#annotations.size === 0) {
      const waiting = this.#untold()
      const nowMs = clock.monotonicMs()
      if (waiting.some(({ dueMs }) => dueMs <= nowMs)) return
      const woken = new AbortController()
      this.#wake = () => woken.abort()
      const either = AbortSignal.any([signal, woken.signal])
      const soonestMs = Math.min(...waiting.map(({ dueMs }) => dueMs - nowMs), 3_600_000)
      await clock.sleep(soonestMs, either).catch(() => undefined)
    }
  }

  #untold(): PendingCondition[] {
    return [...this.#conditions.values()].filter((one) => this.#told.get(one.type) !== textOf(one))
  }

  async #tellConditions(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    const nowMs = clock.monotonicMs()
    const due = this.#untold().filter(({ dueMs }) => dueMs <= nowMs)
    if (due.length === 0) return
    const conditions = due.map(({ type, status, reason, message, since }) => ({
      type,
      status,
      reason,
      message: message.slice(0, LONGEST_MESSAGE),
      lastTransitionTime: timeOf(since),
      lastHeartbeatTime: timeOf(clock.now()),
    }))
    await this.#patchNode({ status: { conditions } }, signal)
    for (const one of due) this.#told.set(one.type, textOf(one))
  }

  /** With the status, as the kubelet does it: no further right is needed. */
  async #tellAnnotations(signal: AbortSignal): Promise<void> {
    const due = [...this.#annotations]
    if (due.length === 0) return
    const annotations = Object.fromEntries(due.map(([name, value]) => [name, value ?? null]))
    await this.#patchNode({ metadata: { annotations } }, signal)
    for (const [name, value] of due) {
      if (this.#annotations.get(name) === value) this.#annotations.delete(name)
    }
  }

  async #patchNode(value: object, signal: AbortSignal): Promise<void> {
    const { api, nodeName } = this.#options
    await api.json(
      {
        method: 'PATCH',
        verb: 'patch',
        resource: 'nodes/status',
        path: `/api/v1/nodes/${nodeName}/status`,
        body: { type: 'application/strategic-merge-patch+json', value },
      },
      signal,
    )
  }

  async #tellEvents(signal: AbortSignal): Promise<void> {
    const { log } = this.#options
    for (const [key, pending] of [...this.#events]) {
      const { count } = pending
      try {
        await this.#tellEvent(key, pending.event, pending.at, count, signal)
      } catch (error) {
        const isFinal = error instanceof KubernetesApiError && error.code === 'refused'
        if (!isFinal) throw error
        // For example: its namespace is being deleted.
        log.debug({ error, reason: pending.event.reason }, 'the API server refused an event')
      }
      pending.count -= count
      if (pending.count <= 0) this.#events.delete(key)
    }
    if (this.#dropped > 0) log.warn({ count: this.#dropped }, 'too many events; some were not told')
    this.#dropped = 0
  }

  /** The same again raises the count of the Event that is there, as long as the cluster keeps it. */
  async #tellEvent(
    key: string,
    event: ClusterEvent,
    at: number,
    count: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { api } = this.#options
    const earlier = this.#earlier.get(key)
    if (earlier !== undefined) {
      const { name, namespace } = earlier
      const total = earlier.count + count
      const value = { count: total, lastTimestamp: timeOf(at) }
      try {
        await api.json(
          {
            method: 'PATCH',
            verb: 'patch',
            resource: 'events',
            path: `/api/v1/namespaces/${namespace}/events/${name}`,
            body: { type: 'application/merge-patch+json', value },
          },
          signal,
        )
        earlier.count = total
        return
      } catch (error) {
        if (!(error instanceof KubernetesApiError) || error.code !== 'not-found') throw error
      }
    }
    const value = this.#eventObject(event, at, count)
    const { name, namespace } = value.metadata
    const path = `/api/v1/namespaces/${namespace}/events`
    const body = { type: 'application/json', value }
    await api.json({ method: 'POST', verb: 'create', resource: 'events', path, body }, signal)
    this.#earlier.set(key, { name, namespace, firstSeen: at, count })
    const [oldest] = this.#earlier.keys()
    if (this.#earlier.size > MOST_REMEMBERED && oldest !== undefined) this.#earlier.delete(oldest)
  }

  #eventObject({ type, reason, message, about }: ClusterEvent, at: number, count: number) {
    const { nodeName, uidOf } = this.#options
    const uid = uidOf(about)
    // Events of objects without a namespace live in the default one.
    const namespace = about.namespace ?? 'default'
    const ofNamespace = about.namespace === undefined ? {} : { namespace: about.namespace }
    return {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${about.name.slice(0, 200)}.${this.#freeName(at)}`, namespace },
      involvedObject: {
        apiVersion: 'v1',
        kind: about.kind,
        name: about.name,
        ...ofNamespace,
        ...(uid === undefined ? {} : { uid }),
      },
      type,
      reason,
      message: message.slice(0, LONGEST_MESSAGE),
      source: { component: 'sinabro', host: nodeName },
      reportingComponent: 'sinabro',
      reportingInstance: nodeName,
      firstTimestamp: timeOf(at),
      lastTimestamp: timeOf(at),
      count,
    }
  }

  /** As others name theirs: a time in hexadecimal, and here a number against two in one millisecond. */
  #freeName(at: number): string {
    this.#serial = (this.#serial + 1) % 0x10000
    return `${at.toString(16)}${this.#serial.toString(16).padStart(4, '0')}`
  }
}

/** Kubernetes' own condition is bad when true, ours when false. */
function isBad({ type, status }: Condition): boolean {
  return type === 'NetworkUnavailable' ? status !== 'False' : status !== 'True'
}

function keyOf({ type, reason, message, about }: ClusterEvent): string {
  return JSON.stringify([type, reason, message, about])
}

function textOf({ status, reason, message }: Condition): string {
  return JSON.stringify([status, reason, message])
}

/** Kubernetes' times have whole seconds. */
function timeOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}
