// Lists one kind of object and then watches it: resumes after a gap, lists again only when it must. Retrying is the job's.
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import type { ApiRequest, KubernetesApi } from './api.ts'
import { errorOfStatus, KubernetesApiError } from './error.ts'
import { LineSplitter } from './lines.ts'

export interface Watched {
  /** `nodes`. */
  readonly resource: string
  /** `/api/v1/nodes`. */
  readonly path: string
  readonly fieldSelector?: string
  readonly labelSelector?: string
  /** Labels and annotations are enough: the server leaves the rest out. */
  readonly isMetadataOnly: boolean
  /** Older API servers do not know such objects: then there are none. */
  readonly isOptional?: boolean
}

export interface WatchChange<T> {
  readonly type: 'put' | 'delete'
  readonly object: T
}

export interface WatchTarget<T> {
  /** What is kept of an object: called for each as it comes, so that a list never stands in memory in full. */
  read(object: unknown): T
  /** A complete list: what is not in it is gone. */
  replace(objects: readonly T[]): void
  apply(changes: readonly WatchChange<T>[]): void
}

export interface WatcherOptions<T> {
  readonly api: KubernetesApi
  readonly watched: Watched
  readonly target: WatchTarget<T>
  readonly clock: Clock
  readonly log: Log
  readonly random?: () => number
  /** Bookmarks come about every minute, so silence of this length means that something is wrong. */
  readonly silentMs?: number
  /** Before it is tried again: someone may want to know that it did not work at the first try. */
  onFailure?(): void
}

const SILENT_MS = 150_000
/** Servers close a watch after this and half as much again, spread so that not all agents come back at once. */
const WATCH_SEC = 300
/** Few enough that a page of large Nodes is small, so many that a thousand nodes are ten requests. */
const PAGE = 100
/** An event of an object at etcd's limit of 1.5 MiB, as JSON. */
const MOST_EVENT_BYTES = 8 << 20
const SHORT_MS = 1000
/** An API server that does not know a kind may be upgraded. */
const UNKNOWN_MS = 600_000
const LONGEST_RETRY_AFTER_MS = 60_000

export class Watcher<T> {
  readonly #options: WatcherOptions<T>
  /** Where a watch may go on; absent: list first. */
  #version: string | undefined
  /** The last watch broke off: the store behind the server may have been put back to an older state. */
  #isDoubtful = false

  constructor(options: WatcherOptions<T>) {
    this.#options = options
  }

  /** Works until the signal is aborted: hand it to a job, which waits and calls again after an error. */
  async run(signal: AbortSignal, alive: () => void): Promise<void> {
    const { clock } = this.#options
    while (!signal.aborted) {
      try {
        if (this.#isDoubtful) await this.#checkHistory(signal)
        if (this.#version === undefined) await this.#list(signal)
        alive()
        const startedAt = clock.monotonicMs()
        await this.#watch(this.#version ?? '', signal, alive)
        // A server that ends watches as soon as they begin is not asked in a circle.
        if (clock.monotonicMs() - startedAt < SHORT_MS) await this.#pause(signal)
      } catch (error) {
        if (signal.aborted) return
        if (this.#isUnknownKind(error)) await this.#withoutObjects(signal, alive)
        else await this.#afterFailure(error, signal)
      }
    }
  }

  #isUnknownKind(error: unknown): boolean {
    const isNotFound = error instanceof KubernetesApiError && error.code === 'not-found'
    return isNotFound && this.#options.watched.isOptional === true
  }

  async #withoutObjects(signal: AbortSignal, alive: () => void): Promise<void> {
    const { log, watched, target, clock } = this.#options
    log.info({ resource: watched.resource }, 'the API server does not know such objects')
    this.#version = undefined
    target.replace([])
    alive()
    await clock.sleep(UNKNOWN_MS, signal).catch(() => undefined)
  }

  async #afterFailure(error: unknown, signal: AbortSignal): Promise<void> {
    const { log, watched, clock, onFailure } = this.#options
    const code = error instanceof KubernetesApiError ? error.code : undefined
    if (code === 'gone') {
      log.info({ resource: watched.resource }, 'too much has happened meanwhile: listing again')
      this.#version = undefined
      // Not at once: every agent may have been told the same at the same moment.
      await this.#pause(signal)
      return
    }
    if (code === 'silent') this.#version = undefined
    this.#isDoubtful = this.#version !== undefined
    onFailure?.()
    if (error instanceof KubernetesApiError && error.retryAfterMs !== undefined) {
      const waitMs = Math.min(error.retryAfterMs, LONGEST_RETRY_AFTER_MS)
      await clock.sleep(waitMs, signal).catch(() => undefined)
    }
    throw error
  }

  /** A store that was restored counts on from an older number, and a watch from a later one would wait in silence. */
  async #checkHistory(signal: AbortSignal): Promise<void> {
    const page = await this.#options.api.json(this.#listRequest({ limit: '1' }), signal)
    if (isBefore(versionOf(page), this.#version)) {
      this.#options.log.warn({ was: this.#version }, 'the cluster went back in time: listing again')
      this.#version = undefined
    }
    this.#isDoubtful = false
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { api, target } = this.#options
    const objects: T[] = []
    let version: string | undefined
    for (let token: string | undefined = ''; token !== undefined; ) {
      const query = { limit: String(PAGE), ...(token === '' ? {} : { continue: token }) }
      const page = await api.json(this.#listRequest(query), signal)
      for (const item of itemsOf(page)) objects.push(target.read(item))
      version = versionOf(page)
      token = continueOf(page)
    }
    target.replace(objects)
    this.#version = version
  }

  async #watch(from: string, signal: AbortSignal, alive: () => void): Promise<void> {
    const { api, watched, target, silentMs = SILENT_MS } = this.#options
    const lines = new LineSplitter(MOST_EVENT_BYTES)
    let version = from
    const request: ApiRequest = {
      verb: 'watch',
      resource: watched.resource,
      path: watched.path,
      accept: acceptOf(watched, 'PartialObjectMetadata'),
      query: {
        ...this.#selector(),
        watch: 'true',
        allowWatchBookmarks: 'true',
        resourceVersion: from,
        timeoutSeconds: String(Math.round(WATCH_SEC * (1 + this.#random() / 2))),
      },
    }
    await api.stream(request, {
      signal,
      silentMs,
      onOpen: alive,
      onChunk: (chunk) => {
        const changes: WatchChange<T>[] = []
        for (const line of lines.push(chunk)) {
          const { type, object } = parseEvent(line, watched.resource)
          if (type === 'ERROR') throw errorOfEvent(object, watched.resource)
          version = versionOf(object) ?? version
          if (type === 'BOOKMARK') continue
          changes.push({ type: type === 'DELETED' ? 'delete' : 'put', object: target.read(object) })
        }
        if (changes.length > 0) target.apply(changes)
        this.#version = version
      },
    })
  }

  #listRequest(query: Readonly<Record<string, string>>): ApiRequest {
    const { watched } = this.#options
    return {
      verb: 'list',
      resource: watched.resource,
      path: watched.path,
      accept: acceptOf(watched, 'PartialObjectMetadataList'),
      query: { ...this.#selector(), ...query },
    }
  }

  #selector(): Readonly<Record<string, string>> {
    const { fieldSelector, labelSelector } = this.#options.watched
    return {
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
      ...(labelSelector === undefined ? {} : { labelSelector }),
    }
  }

  async #pause(signal: AbortSignal): Promise<void> {
    await this.#options.clock.sleep(this.#random() * SHORT_MS, signal).catch(() => undefined)
  }

  #random(): number {
    return (this.#options.random ?? Math.random)()
  }
}

function acceptOf({ isMetadataOnly }: Watched, kind: string): string {
  return isMetadataOnly ? `application/json;as=${kind};g=meta.k8s.io;v=v1` : 'application/json'
}

/** @throws KubernetesApiError bad-answer */
export function parseEvent(line: string, resource: string): { type: string; object: unknown } {
  let event: unknown
  try {
    event = JSON.parse(line)
  } catch (error) {
    throw new KubernetesApiError('bad-answer', `watch ${resource}: no JSON came`, { cause: error })
  }
  const type = memberOf(event, 'type')
  if (typeof type !== 'string') {
    throw new KubernetesApiError('bad-answer', `watch ${resource}: an event without a type`)
  }
  return { type, object: memberOf(event, 'object') }
}

function errorOfEvent(status: unknown, resource: string): KubernetesApiError {
  const code = memberOf(status, 'code')
  return errorOfStatus(typeof code === 'number' ? code : 500, status, `watch ${resource}`)
}

/** Versions are decimal numbers that grow; where they are not, nothing can be said. */
export function isBefore(version: string | undefined, other: string | undefined): boolean {
  const isNumber = (text: string | undefined): text is string => /^\d{1,20}$/.test(text ?? '')
  return isNumber(version) && isNumber(other) && BigInt(version) < BigInt(other)
}

function itemsOf(page: unknown): unknown[] {
  const items = memberOf(page, 'items')
  if (items === null) return []
  if (!Array.isArray(items)) throw new KubernetesApiError('bad-answer', 'a list without items')
  return items
}

function versionOf(object: unknown): string | undefined {
  const version = memberOf(memberOf(object, 'metadata'), 'resourceVersion')
  return typeof version === 'string' && version !== '' ? version : undefined
}

function continueOf(page: unknown): string | undefined {
  const token = memberOf(memberOf(page, 'metadata'), 'continue')
  return typeof token === 'string' && token !== '' ? token : undefined
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? (value as Record<string, unknown>)[name]
    : undefined
}
