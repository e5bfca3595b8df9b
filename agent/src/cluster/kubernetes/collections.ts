// What was last heard of the cluster, and the tables it makes: decoded objects by key, oldest first where two claim one range.
import { isDeepStrictEqual } from 'node:util'
import { numbered, problem, withoutOverlaps } from '../claims.ts'
import type { Cluster } from '../cluster.ts'
import { DecodeError } from '../decode.ts'
import { decodeNode } from '../decode-node.ts'
import { decodePod } from '../decode-pod.ts'
import type { NodeRow, PodRow, ProblemRow } from '../rows.ts'
import type { WatchChange, WatchTarget } from './watcher.ts'

/** What is kept of an object. Without a row it could not be read, and `problem` says why. */
export interface Entry<Row> {
  readonly key: string
  readonly createdAt: string
  readonly row?: Row
  readonly problem?: ProblemRow
}

export class Collection<Row extends object> implements WatchTarget<Entry<Row>> {
  readonly #kind: 'Node' | 'Pod'
  readonly #decode: (object: unknown) => Row
  readonly #onChange: () => void
  #entries = new Map<string, Entry<Row>>()

  constructor(kind: 'Node' | 'Pod', decode: (object: unknown) => Row, onChange: () => void) {
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
    let isChanged = false
    for (const { type, object } of changes) {
      const before = this.#entries.get(object.key)
      if (type === 'delete') this.#entries.delete(object.key)
      else this.#put(object, before)
      isChanged ||= !isDeepStrictEqual(before, this.#entries.get(object.key))
    }
    if (isChanged) this.#onChange()
  }

  /** The oldest first: of two that claim the same, it was there first. The same on every node. */
  oldestFirst(): Entry<Row>[] {
    const order = ({ createdAt, key }: Entry<Row>): string => `${createdAt} ${key}`
    return [...this.#entries.values()].sort((a, b) => (order(a) < order(b) ? -1 : 1))
  }

  /** An object that cannot be read takes nothing away: the row that was last read stays. ADR 0034. */
  #put(entry: Entry<Row>, before: Entry<Row> | undefined): void {
    const isKept = entry.row === undefined && before?.row !== undefined
    this.#entries.set(entry.key, isKept ? { ...entry, row: before.row } : entry)
  }
}

export interface Collections {
  readonly nodes: Collection<NodeRow>
  readonly pods: Collection<PodRow>
}

/** `nodeName`: the pods are those of this node, and come without their spec. */
export function createCollections(cluster: Cluster, nodeName: string): Collections {
  let ofNodes: readonly ProblemRow[] = []
  let ofPods: readonly ProblemRow[] = []
  const nodes = new Collection<NodeRow>('Node', decodeNode, () => {
    const entries = nodes.oldestFirst()
    const problems = problemsOf(entries)
    const claimants = rowsOf(entries).map((row) => ({ row, where: `Node/${row.name}` }))
    const kept = withoutOverlaps(claimants, problems)
    ofNodes = problems
    cluster.problems.replaceAll(numbered([...ofNodes, ...ofPods]))
    cluster.nodes.replaceAll(kept)
  })
  const decodeOwnPod = (pod: unknown): PodRow => ({ ...decodePod(pod), nodeName })
  const pods = new Collection<PodRow>('Pod', decodeOwnPod, () => {
    const entries = pods.oldestFirst()
    ofPods = problemsOf(entries)
    cluster.problems.replaceAll(numbered([...ofNodes, ...ofPods]))
    cluster.pods.replaceAll(rowsOf(entries))
  })
  return { nodes, pods }
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
