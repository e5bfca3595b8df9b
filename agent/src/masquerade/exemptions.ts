// Which pods of this node keep their address towards the outside: by an annotation of their own, else by that of their namespace.
import type { NamespaceRow, PodRow } from '../cluster/rows.ts'
import type { Source, Table, TableListener } from '../state/table.ts'

export const ANNOTATION = 'sinabro.io/masquerade'

/** As a source it tells only when the answer for some pod changes. */
export class Exemptions implements Source {
  readonly name = 'exempt pods'
  readonly #pods: Table<PodRow>
  readonly #namespaces: Table<NamespaceRow>
  readonly #listeners = new Set<() => void>()
  #exempt: ReadonlySet<string>
  #wasReady = false

  /** For as long as the tables: it is never taken apart. */
  constructor(pods: Table<PodRow>, namespaces: Table<NamespaceRow>) {
    this.#pods = pods
    this.#namespaces = namespaces
    this.#exempt = this.#compute()
    const follow = (): void => this.#follow()
    pods.subscribe(follow)
    namespaces.subscribe(follow)
  }

  get isReady(): boolean {
    return this.#pods.isReady && this.#namespaces.isReady
  }

  /** Undefined as long as that is not known: what an earlier agent knew goes on. */
  of({ podNamespace = '', podName = '' }: PodName): boolean | undefined {
    return this.isReady ? this.#exempt.has(`${podNamespace}/${podName}`) : undefined
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #follow(): void {
    const before = this.#exempt
    this.#exempt = this.#compute()
    const isFirst = this.isReady && !this.#wasReady
    this.#wasReady = this.isReady
    if (!isFirst && before.symmetricDifference(this.#exempt).size === 0) return
    for (const listener of [...this.#listeners]) listener()
  }

  #compute(): Set<string> {
    const exempt = new Set<string>()
    for (const { namespace, name, annotations } of this.#pods.values()) {
      const ofNamespace = this.#namespaces.get(namespace)?.annotations
      if ((annotations[ANNOTATION] ?? ofNamespace?.[ANNOTATION]) === 'false') {
        exempt.add(`${namespace}/${name}`)
      }
    }
    return exempt
  }
}

/** As an allocation has it. */
export interface PodName {
  readonly podNamespace?: string | undefined
  readonly podName?: string | undefined
}

/** Of a living pod. */
export interface LocalPod extends PodName {
  readonly addresses: readonly { readonly address: string }[]
}

/** Addresses of the pods that keep theirs: told of only when such a pod comes or goes, or becomes one. */
export class ExemptAddresses implements Source {
  readonly name = 'exempt addresses'
  readonly isReady = true
  readonly #exemptions: Exemptions
  readonly #live: LivePods
  readonly #endpoints: Endpoints
  readonly #listeners = new Set<() => void>()

  constructor(exemptions: Exemptions, live: LivePods, endpoints: Endpoints) {
    this.#exemptions = exemptions
    this.#live = live
    this.#endpoints = endpoints
    exemptions.subscribe(() => this.#tell())
    live.subscribe((changes) => {
      const pods = changes.flatMap(({ row, previous }) => row ?? previous ?? [])
      if (pods.some((pod) => exemptions.of(pod) !== false)) this.#tell()
    })
  }

  /** As long as nothing is known of a pod, as the maps have it. */
  list(): string[] {
    const { isReady } = this.#exemptions
    const kept = new Map(isReady ? [] : this.#endpoints.podEndpoints())
    return this.#live.values().flatMap((pod) => {
      const isExempt = this.#exemptions.of(pod)
      const addresses = pod.addresses.map(({ address }) => address)
      return addresses.filter((address) => isExempt ?? kept.get(address)?.keepsAddress === true)
    })
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}

interface LivePods {
  values(): readonly LocalPod[]
  subscribe(listener: TableListener<LocalPod>): () => void
}

interface Endpoints {
  podEndpoints(): Iterable<readonly [string, { readonly keepsAddress?: boolean | undefined }]>
}
