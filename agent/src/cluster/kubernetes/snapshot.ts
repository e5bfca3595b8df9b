// The last known state of the cluster as a file: a List of Kubernetes objects with only the fields that are read, so that the same decoders take it.
import { type FileHandle, open, rename } from 'node:fs/promises'
import { codeOf, type Log } from '../../runtime/log.ts'
import { writeWhole } from '../../runtime/whole-file.ts'
import type { NamespaceRow, NodeRow, PodRow } from '../rows.ts'
import type { Collections, Entry } from './collections.ts'

/** Grows when an older agent could not make sense of the file. */
const FORMAT = 1
/** Ten thousand nodes with many labels. */
const MOST_BYTES = 64 << 20

export interface Snapshot {
  readonly nodes: readonly unknown[]
  readonly pods: readonly unknown[]
  readonly namespaces: readonly unknown[]
  /** ISO 8601. */
  readonly savedAt: string
}

export interface SnapshotFile {
  readonly folder: string
  readonly name: string
  /** A snapshot of another node has other pods. */
  readonly nodeName: string
}

export function formatSnapshot(
  { nodes, pods, namespaces }: Pick<Collections, 'nodes' | 'pods' | 'namespaces'>,
  nodeName: string,
  savedAt: string,
): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'List',
    format: FORMAT,
    nodeName,
    savedAt,
    items: [
      ...nodes.oldestFirst().flatMap((entry) => objectOfNode(entry)),
      ...pods.oldestFirst().flatMap((entry) => objectOfPod(entry)),
      ...namespaces.oldestFirst().flatMap((entry) => objectOfNamespace(entry)),
    ],
  })
}

/** @throws Error with what is wrong with it */
export function parseSnapshot(text: string, nodeName: string): Snapshot {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null) throw new Error('it is no object')
  const { format, nodeName: ofNode, savedAt, items } = value as Record<string, unknown>
  if (format !== FORMAT) throw new Error(`its format is ${String(format)}, not ${FORMAT}`)
  if (ofNode !== nodeName) throw new Error(`it is of node ${String(ofNode)}`)
  if (!Array.isArray(items) || typeof savedAt !== 'string') throw new Error('parts are missing')
  const ofKind = (kind: string): unknown[] =>
    items.filter((item: unknown) => {
      const isObject = typeof item === 'object' && item !== null && 'kind' in item
      return isObject && item.kind === kind
    })
  return { nodes: ofKind('Node'), pods: ofKind('Pod'), namespaces: ofKind('Namespace'), savedAt }
}

export async function writeSnapshot({ folder, name }: SnapshotFile, text: string): Promise<void> {
  await writeWhole({ folder, name, bytes: Buffer.from(text), mode: 0o600 })
}

/** Undefined when there is none. One that cannot be used is set aside, so that the next is written in its place. */
export async function readSnapshot(
  { folder, name, nodeName }: SnapshotFile,
  log: Log,
): Promise<Snapshot | undefined> {
  const path = `${folder}/${name}`
  try {
    return parseSnapshot(await readBounded(path), nodeName)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    const aside = `${path}.unreadable`
    log.warn({ path, error, aside }, 'the snapshot of the cluster cannot be used; set aside')
    await rename(path, aside).catch(() => undefined)
    return undefined
  }
}

async function readBounded(path: string): Promise<string> {
  let file: FileHandle | undefined
  try {
    file = await open(path, 'r')
    const { size } = await file.stat()
    if (size > MOST_BYTES) throw new Error(`it is larger than ${MOST_BYTES} bytes`)
    return await file.readFile('utf8')
  } finally {
    await file?.close()
  }
}

function objectOfNode({ row, createdAt }: Entry<NodeRow>): object[] {
  if (row === undefined) return []
  const { podCIDRs, internalIPs, externalIPs = [] } = row
  const addresses = [
    ...internalIPs.map((address) => ({ type: 'InternalIP', address })),
    ...externalIPs.map((address) => ({ type: 'ExternalIP', address })),
  ]
  const metadata = metadataOf(row, createdAt)
  return [{ apiVersion: 'v1', kind: 'Node', metadata, spec: { podCIDRs }, status: { addresses } }]
}

function objectOfPod({ row, createdAt }: Entry<PodRow>): object[] {
  if (row === undefined) return []
  const { namespace, nodeName } = row
  const metadata = { namespace, ...metadataOf(row, createdAt) }
  return [{ apiVersion: 'v1', kind: 'Pod', metadata, spec: { nodeName } }]
}

function objectOfNamespace({ row, createdAt }: Entry<NamespaceRow>): object[] {
  if (row === undefined) return []
  return [{ apiVersion: 'v1', kind: 'Namespace', metadata: metadataOf(row, createdAt) }]
}

function metadataOf(
  { name, uid, labels, annotations }: NodeRow | PodRow | NamespaceRow,
  createdAt: string,
): object {
  const uids = uid === undefined ? {} : { uid }
  return { name, ...uids, creationTimestamp: createdAt, labels, annotations }
}
