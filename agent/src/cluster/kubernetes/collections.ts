// What was last heard of the cluster, and the tables it makes: decoded objects by key, oldest first where two claim one range.
import { isDeepStrictEqual } from 'node:util'
import type { Table } from '../../state/table.ts'
import { numbered, problem, withoutOverlaps } from '../claims.ts'
import type { Cluster } from '../cluster.ts'
import { DecodeError } from '../decode.ts'
import { decodeEndpointSlice } from '../decode-endpoint-slice.ts'
import { decodeNamespace } from '../decode-namespace.ts'
import { decodeNode } from '../decode-node.ts'
import { decodePod } from '../decode-pod.ts'
import { decodeService } from '../decode-service.ts'
import { decodeServiceCIDR } from '../decode-service-cidr.ts'
import type {
  EndpointSliceRow,
  NamespaceRow,
  NodeRow,
  PodRow,
  ProblemRow,
  ServiceCIDRRow,
  ServiceRow,
} from '../rows.ts'
import { Interned } from './interned.ts'
import type { WatchChange, WatchTarget } from './watcher.ts'

/** What is kept of an object. Without a row it could not be read, and `problem` says why. */
export interface Entry<Row> {
  readonly key: string
  readonly createdAt: string
  readonly row?: Row
  readonly problem?: ProblemRow
}

type Kind = 'Node' | 'Pod' | 'Service' | 'EndpointSlice' | 'ServiceCIDR' | 'Namespace'

/** What was known under a key, and what is now. */
export interface Changed<Row> {
  readonly before: Entry<Row> | undefined
  readonly after: Entry<Row> | undefined
}

export class Collection<Row extends object> implements WatchTarget<Entry<Row>> {
  readonly #kind: Kind
  readonly #decode: (object: unknown) => Row
  readonly #onChange: (changed?: readonly Changed<Row>[]) => void
  #entries = new Map<string, Entry<Row>>()

  /** @param onChange without an argument: all may have changed */
  constructor(
    kind: Kind,
    decode: (object: unknown) => Row,
    onChange: (changed?: readonly Changed<Row>[]) => void,
  ) {
    this.#kind = kind
    this.#decode = decode
    this.#onChange = onChange
  }

  read(object: unknown): Entry<Row> {
    const { name = '', namespace, creationTimestamp = '' } = metadataOf(object)
    const key = namespace === undefined ? name : `${namespace}/${name}`
    try {
      return { key, createdAt: creationTimestamp, row: this.#decode(object) }
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      const label = `${this.#kind}/${key}`
      return {
        key,
        createdAt: creationTimestamp,
        problem: problem('invalid', label, error.message, label),
      }
    }
  }

  replace(entries: readonly Entry<Row>[]): void {
    const before = this.#entries
    this.#entries = new Map()
    for (const entry of entries) this.#put(entry, before.get(entry.key))
    this.#onChange()
  }

  /** Most events say nothing new to us: a kubelet reports its node every few minutes. */
  apply(changes: readonly WatchChange<Entry<Row>>[]): void {
    const changed: Changed<Row>[] = []
    for (const { type, object } of changes) {
      const before = this.#entries.get(object.key)
      if (type === 'delete') this.#entries.delete(object.key)
      else this.#put(object, before)
      const after = this.#entries.get(object.key)
      if (before !== after) changed.push({ before, after })
    }
    if (changed.length > 0) this.#onChange(changed)
  }

  /** The oldest first: of two that claim the same, it was there first. The same on every node. */
  oldestFirst(): Entry<Row>[] {
    return [...this.#entries.values()].sort((a, b) => {
      if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1
      return a.key < b.key ? -1 : 1
    })
  }

  /** An object that cannot be read takes nothing away: the row that was last read stays. ADR 0034. */
  #put(entry: Entry<Row>, before: Entry<Row> | undefined): void {
    const isKept = entry.row === undefined && before?.row !== undefined
    const next = isKept ? { ...entry, row: before.row } : entry
    // What says the same stays the same object, which is the table's: no second copy of a cluster after it was listed again.
    const isSame = before !== undefined && isDeepStrictEqual(before, next)
    this.#entries.set(entry.key, isSame ? before : next)
  }
}

export interface Collections {
  readonly nodes: Collection<NodeRow>
  readonly pods: Collection<PodRow>
  readonly services: Collection<ServiceRow>
  readonly endpointSlices: Collection<EndpointSliceRow>
  readonly serviceCIDRs: Collection<ServiceCIDRRow>
  readonly namespaces: Collection<NamespaceRow>
}

/** `nodeName`: the pods are those of this node, and come without their spec. */
export function createCollections(cluster: Cluster, nodeName: string): Collections {
  const problems = new Map<Kind, readonly ProblemRow[]>()
  const tellProblems = (kind: Kind, ofKind: readonly ProblemRow[]): void => {
    if (ofKind.length === 0 && !problems.has(kind)) return
    problems.set(kind, ofKind)
    cluster.problems.replaceAll(numbered([...problems.values()].flat()))
  }
  const nodes = new Collection<NodeRow>('Node', decodeNode, (changed) => {
    // Labels, annotations and addresses change all the time; who keeps which range is a question of all nodes.
    if (changed?.every(claimsTheSame) === true) {
      for (const { after } of changed) {
        if (after?.row === undefined) continue
        const podCIDRs = cluster.nodes.get(after.key)?.podCIDRs ?? []
        const isAll = podCIDRs.length === after.row.podCIDRs.length
        cluster.nodes.upsert(isAll ? after.row : { ...after.row, podCIDRs })
      }
      return
    }
    const entries = nodes.oldestFirst()
    const ofNodes = problemsOf(entries)
    const claimants = rowsOf(entries).map((row) => ({ row, where: `Node/${row.name}` }))
    const kept = withoutOverlaps(claimants, ofNodes)
    tellProblems('Node', ofNodes)
    cluster.nodes.replaceAll(kept)
  })
  /** Of a kind whose objects have nothing to do with each other: a change costs what changed. */
  const each = <Row extends object>(
    kind: Kind,
    decode: (object: unknown) => Row,
    table: Table<Row>,
  ): Collection<Row> => {
    const collection = new Collection<Row>(kind, decode, (changed) => {
      const isBad = ({ before, after }: Changed<Row>): boolean =>
        before?.problem !== undefined || after?.problem !== undefined
      if (changed === undefined || changed.some(isBad)) {
        const entries = collection.oldestFirst()
        tellProblems(kind, problemsOf(entries))
        table.replaceAll(rowsOf(entries))
        return
      }
      for (const { before, after } of changed) {
        if (after?.row !== undefined) table.upsert(after.row)
        else if (before !== undefined) table.remove(before.key)
      }
    })
    return collection
  }
  const interned = new Interned()
  const decodeSlice = (slice: unknown): EndpointSliceRow =>
    decodeEndpointSlice(slice, (text) => interned.one(text))
  return {
    nodes,
    pods: each('Pod', (pod): PodRow => ({ ...decodePod(pod), nodeName }), cluster.pods),
    services: each('Service', decodeService, cluster.services),
    endpointSlices: each('EndpointSlice', decodeSlice, cluster.endpointSlices),
    serviceCIDRs: each('ServiceCIDR', decodeServiceCIDR, cluster.serviceCIDRs),
    namespaces: each('Namespace', decodeNamespace, cluster.namespaces),
  }
}

function claimsTheSame({ before, after }: Changed<NodeRow>): boolean {
  if (before?.row === undefined || after?.row === undefined) return false
  if (before.problem !== undefined || after.problem !== undefined) return false
  const isAsOld = before.createdAt === after.createdAt
  return isAsOld && isDeepStrictEqual(before.row.podCIDRs, after.row.podCIDRs)
}

function rowsOf<Row>(entries: readonly Entry<Row>[]): Row[] {
  return entries.flatMap(({ row }) => (row === undefined ? [] : [row]))
}

function problemsOf(entries: readonly Entry<object>[]): ProblemRow[] {
  return entries.flatMap((entry) => (entry.problem === undefined ? [] : [entry.problem]))
}

function metadataOf(object: unknown): Readonly<Record<string, string | undefined>> {
  if (typeof object !== 'object' || object === null || !('metadata' in object)) return {}
  const { metadata } = object
  if (typeof metadata !== 'object' || metadata === null) return {}
  const texts = Object.entries(metadata).filter(([, value]) => typeof value === 'string')
  return Object.fromEntries(texts) as Record<string, string>
}
