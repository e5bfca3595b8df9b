// Fills the cluster tables from a Kubernetes API server: a watch for each kind that is needed, and a file to live from while no server answers.
import type { Clock } from '../../runtime/clock.ts'
import type { Jobs } from '../../runtime/jobs.ts'
import type { Log } from '../../runtime/log.ts'
import type { Cluster } from '../cluster.ts'
import type { ObjectRef } from '../sink.ts'
import type { ClusterSource } from '../source.ts'
import { KubernetesApi } from './api.ts'
import { type Collections, createCollections } from './collections.ts'
import type { ReadCredentials } from './credentials.ts'
import { KubernetesSink } from './sink.ts'
import { formatSnapshot, readSnapshot, type SnapshotFile, writeSnapshot } from './snapshot.ts'
import { type Watched, Watcher, type WatchTarget } from './watcher.ts'

export interface KubernetesSourceOptions {
  readonly servers: readonly string[]
  readonly credentials: ReadCredentials
  readonly nodeName: string
  /** Where the snapshot is kept. */
  readonly stateDir: string
  readonly userAgent: string
  readonly cluster: Cluster
  /** Which tables somebody reads, beside nodes and pods. */
  readonly needs?: SourceNeeds
  readonly clock: Clock
  readonly log: Log
  /** How long the first lists may take before the snapshot is taken instead. */
  readonly listWithinMs?: number
  /** Changes that come within this are written as one. */
  readonly saveEveryMs?: number
  /** A watch on which nothing came for so long is given up. */
  readonly silentMs?: number
}

export interface SourceNeeds {
  readonly services: boolean
  /** And the ranges of Services. */
  readonly endpointSlices: boolean
  readonly namespaces: boolean
}

export class KubernetesSourceError extends Error {
  override readonly name = 'KubernetesSourceError'
  readonly code = 'source-unreadable'
}

interface Listed {
  markReady(): void
}

/** Those of headless Services, and of Services that somebody else serves, are never asked for. */
const SLICES_TO_SERVE = '!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name'
const SNAPSHOT_NAME = 'cluster.json'
const LIST_WITHIN_MS = 5_000
const SAVE_EVERY_MS = 10_000

export class KubernetesSource implements ClusterSource {
  readonly api: KubernetesApi
  readonly sinks: readonly [KubernetesSink]
  readonly #options: KubernetesSourceOptions
  readonly #collections: Collections
  readonly #file: SnapshotFile
  readonly #failed = Promise.withResolvers<void>()
  readonly #nodesListed = Promise.withResolvers<void>()
  readonly #podsListed = Promise.withResolvers<void>()

  constructor(options: KubernetesSourceOptions) {
    const { cluster, nodeName, stateDir, clock, log } = options
    this.#options = options
    this.api = new KubernetesApi(options)
    this.#collections = createCollections(cluster, nodeName)
    this.#file = { folder: stateDir, name: SNAPSHOT_NAME, nodeName }
    const uidOf = (about: ObjectRef): string | undefined => this.#uidOf(about)
    this.sinks = [new KubernetesSink({ api: this.api, nodeName, clock, log, uidOf })]
  }

  /** Credentials must be there; an API server that is away keeps nobody from starting. @throws KubernetesSourceError */
  async prepare(): Promise<void> {
    await this.#options.credentials().catch((error: unknown) => {
      throw new KubernetesSourceError(
        `the API server cannot be asked: ${error instanceof Error ? error.message : String(error)}. ` +
          'Name a folder with token and ca.crt (--service-account-dir) or a kubeconfig (--kubeconfig)',
        { cause: error },
      )
    })
  }

  start(jobs: Jobs): void {
    const { nodes, pods } = this.#collections
    const { cluster, nodeName } = this.#options
    const nodeWatcher = this.#watcher(
      { resource: 'nodes', path: '/api/v1/nodes', isMetadataOnly: false },
      withListed(nodes, () => {
        cluster.nodes.markReady()
        this.#nodesListed.resolve()
      }),
    )
    const podWatcher = this.#watcher(
      {
        resource: 'pods',
        path: '/api/v1/pods',
        fieldSelector: `spec.nodeName=${nodeName}`,
        isMetadataOnly: true,
      },
      withListed(pods, () => {
        cluster.pods.markReady()
        this.#podsListed.resolve()
      }),
    )
    jobs.start('watch nodes', (signal, alive) => nodeWatcher.run(signal, alive))
    jobs.start('watch pods', (signal, alive) => podWatcher.run(signal, alive))
    this.#startNeeded(jobs)
    jobs.start('cluster snapshot', (signal) => this.#keepSnapshot(signal))
    for (const sink of this.sinks) {
      jobs.start('tell the cluster', (signal, alive) => sink.run(signal, alive))
    }
  }

  /** Without the rows of these the agent works too: an API server that refuses them degrades its own job only. */
  #startNeeded(jobs: Jobs): void {
    const { cluster, needs } = this.#options
    const { services, endpointSlices, serviceCIDRs, namespaces } = this.#collections
    if (needs?.services === true) {
      const watched = { resource: 'services', path: '/api/v1/services', isMetadataOnly: false }
      this.#startWatch(jobs, watched, services, cluster.services)
    }
    if (needs?.endpointSlices === true) {
      const path = '/apis/discovery.k8s.io/v1/endpointslices'
      const labelSelector = SLICES_TO_SERVE
      const slices = { resource: 'endpointslices', path, labelSelector, isMetadataOnly: false }
      this.#startWatch(jobs, slices, endpointSlices, cluster.endpointSlices)
      const ranges = '/apis/networking.k8s.io/v1/servicecidrs'
      const cidrs = { resource: 'servicecidrs', path: ranges, isMetadataOnly: false }
      // Since Kubernetes 1.33.
      this.#startWatch(jobs, { ...cidrs, isOptional: true }, serviceCIDRs, cluster.serviceCIDRs)
    }
    if (needs?.namespaces !== true) return
    const watched = { resource: 'namespaces', path: '/api/v1/namespaces', isMetadataOnly: true }
    this.#startWatch(jobs, watched, namespaces, cluster.namespaces)
  }

  #startWatch<T>(jobs: Jobs, watched: Watched, target: WatchTarget<T>, table: Listed): void {
    const watcher = this.#watcher(
      watched,
      withListed(target, () => table.markReady()),
    )
    jobs.start(`watch ${watched.resource}`, (signal, alive) => watcher.run(signal, alive))
  }

  #watcher<T>(watched: Watched, target: WatchTarget<T>): Watcher<T> {
    const { clock, log, silentMs } = this.#options
    const onFailure = (): void => this.#failed.resolve()
    const patience = silentMs === undefined ? {} : { silentMs }
    return new Watcher({ api: this.api, watched, target, clock, log, onFailure, ...patience })
  }

  /** The file is written only after real lists: what came out of it must not look newer than it is. */
  async #keepSnapshot(signal: AbortSignal): Promise<void> {
    const { cluster, clock, log, nodeName, saveEveryMs = SAVE_EVERY_MS } = this.#options
    const bothListed = Promise.all([this.#nodesListed.promise, this.#podsListed.promise])
    await this.#firstOf(bothListed, signal)
    if (!cluster.nodes.isReady && !signal.aborted) await this.#useSnapshot()
    await Promise.race([bothListed, aborted(signal)])
    while (!signal.aborted) {
      const { nodes, pods, namespaces } = cluster
      const saved = [nodes, pods, namespaces].map((table) => ({ table, at: table.revision }))
      const savedAt = new Date(clock.now()).toISOString()
      await writeSnapshot(this.#file, formatSnapshot(this.#collections, nodeName, savedAt))
      log.debug({ nodes: nodes.size, pods: pods.size }, 'saved the state of the cluster')
      await clock.sleep(saveEveryMs, signal).catch(() => undefined)
      const round = new AbortController()
      const either = AbortSignal.any([signal, round.signal])
      const changes = saved.map(({ table, at }) => table.changed(at, either))
      await Promise.race(changes).catch(() => undefined)
      round.abort()
    }
  }

  /** The lists, a failure to get one, or the end of patience. */
  async #firstOf(lists: Promise<unknown>, signal: AbortSignal): Promise<void> {
    const { clock, listWithinMs = LIST_WITHIN_MS } = this.#options
    const enough = new AbortController()
    const patience = clock.sleep(listWithinMs, AbortSignal.any([signal, enough.signal]))
    await Promise.race([lists, this.#failed.promise, patience]).catch(() => undefined)
    enough.abort()
    await patience.catch(() => undefined)
  }

  async #useSnapshot(): Promise<void> {
    const { cluster, log } = this.#options
    const snapshot = await readSnapshot(this.#file, log)
    // A list may have come while the file was read.
    if (snapshot === undefined || cluster.nodes.isReady) return
    const { nodes, pods, namespaces } = this.#collections
    nodes.replace(snapshot.nodes.map((node) => nodes.read(node)))
    if (!cluster.namespaces.isReady) {
      namespaces.replace(snapshot.namespaces.map((one) => namespaces.read(one)))
    }
    if (!cluster.pods.isReady) pods.replace(snapshot.pods.map((pod) => pods.read(pod)))
    for (const table of [cluster.nodes, cluster.namespaces, cluster.pods]) table.markReady()
    const { savedAt } = snapshot
    log.warn(
      { savedAt },
      'the API server did not list the cluster; going on from its last known state',
    )
  }

  #uidOf({ kind, namespace = '', name }: ObjectRef): string | undefined {
    const { nodes, pods, services } = this.#options.cluster
    if (kind === 'Node') return nodes.get(name)?.uid
    return (kind === 'Pod' ? pods : services).get(`${namespace}/${name}`)?.uid
  }
}

/** The same target, which also tells that a complete list came. */
function withListed<T>(target: WatchTarget<T>, onListed: () => void): WatchTarget<T> {
  return {
    read: (object) => target.read(object),
    apply: (changes) => target.apply(changes),
    replace: (objects) => {
      target.replace(objects)
      onListed()
    },
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
