// Tells other nodes, by an annotation of the Node, whether this one takes what they are asked and send on as it is (ADR 0093).
import type { NodeRow } from '../cluster/rows.ts'
import type { ClusterSink } from '../cluster/sink.ts'
import type { Source, Table } from '../state/table.ts'
import { DSR_ANNOTATION, DSR_TAKEN } from './compute.ts'

export interface AnnounceDsrOptions {
  readonly nodes: Table<NodeRow>
  readonly nodeName: string
  readonly sink: Pick<ClusterSink, 'annotation'>
  /** Changes with `takesDsr`. */
  readonly standing: Source
  takesDsr(): boolean
}

/** Follows until what it returns is called. Only what the Node says otherwise is told. */
export function announceDsr(options: AnnounceDsrOptions): () => void {
  const { nodes, nodeName, sink, standing, takesDsr } = options
  let told: string | undefined
  const look = (): void => {
    const known = nodes.get(nodeName)
    if (known === undefined || !standing.isReady) return
    const value = takesDsr() ? DSR_TAKEN : undefined
    const found = known.annotations[DSR_ANNOTATION]
    const news = found === value ? undefined : `${found} ${value}`
    const isTold = news === told
    told = news
    if (news === undefined || isTold) return
    sink.annotation({ name: DSR_ANNOTATION, ...(value === undefined ? {} : { value }) })
  }
  const ends = [nodes.subscribe(look), standing.subscribe(look)]
  look()
  return () => {
    for (const end of ends) end()
  }
}
