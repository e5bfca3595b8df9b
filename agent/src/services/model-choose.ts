// Who of the endpoints of one port is asked, in each of the two scopes that the traffic policies know. Pure. The rules are Kubernetes'
// own: ready ones first, terminating ones that still serve when none is; hints only where all ready ones have them.
import type {
  EndpointCondition,
  EndpointRow,
  EndpointSliceRow,
  ServicePortRow,
} from '../cluster/rows.ts'

/** What of this node counts. */
export interface Place {
  readonly nodeName: string
  /** Its label `topology.kubernetes.io/zone`. */
  readonly zone?: string
  /** Its InternalIPs, as they were known last. */
  readonly addresses?: readonly string[]
}

/** An endpoint with the number that its slice gives the port. */
export interface Candidate {
  readonly endpoint: EndpointRow
  readonly port: number
  readonly slice: EndpointSliceRow
}

export interface Scope {
  readonly policy: 'Cluster' | 'Local'
  /** Hints that count. */
  readonly topology?: 'PreferSameNode' | 'PreferSameZone'
  readonly isAnyReady: boolean
}

/** `Asked`, or why not. */
export type Verdict =
  | 'Asked'
  | 'NotReady'
  | 'Terminating'
  /** It could still be asked, but others are ready. */
  | 'OthersReady'
  /** The policy is Local. */
  | 'OnOtherNode'
  /** By its hints it is for another node or zone, and there are some for ours. */
  | 'ForOtherNode'
  | 'ForOtherZone'

const RANK: Readonly<Record<EndpointCondition, number>> = {
  Ready: 0,
  ServingTerminating: 1,
  Terminating: 2,
  NotReady: 3,
}

/** Each address and port once: slices may overlap while endpoints move between them. Of two the one that can be asked counts. */
export function candidatesOf(
  { name, protocol }: Pick<ServicePortRow, 'name' | 'protocol'>,
  family: 4 | 6,
  slices: readonly EndpointSliceRow[],
): Candidate[] {
  const addressType = family === 4 ? 'IPv4' : 'IPv6'
  const found = new Map<string, Candidate>()
  let usual: number | undefined
  for (const slice of slices) {
    if (slice.addressType !== addressType) continue
    const one = slice.ports.find((port) => port.name === name && port.protocol === protocol)
    if (one === undefined) continue
    const { port } = one
    usual ??= port
    for (const endpoint of slice.endpoints) {
      const { address } = endpoint
      // Slices of one Service nearly always have one number: then no text is put together.
      const key = port === usual ? address : `${address} ${port}`
      const other = found.get(key)
      const isBetter =
        other === undefined || RANK[endpoint.condition] < RANK[other.endpoint.condition]
      if (isBetter) found.set(key, { endpoint, port, slice })
    }
  }
  return [...found.values()]
}

export function clusterScope(candidates: readonly Candidate[], place: Place): Scope {
  const topology = topologyOf(candidates, place)
  const isAnyReady = candidates.some(isReady)
  return { policy: 'Cluster', isAnyReady, ...(topology === undefined ? {} : { topology }) }
}

export function localScope(candidates: readonly Candidate[], { nodeName }: Place): Scope {
  const isAnyReady = candidates.some((one) => isReady(one) && one.endpoint.nodeName === nodeName)
  return { policy: 'Local', isAnyReady }
}

export function judge({ endpoint }: Candidate, scope: Scope, place: Place): Verdict {
  const { condition, nodeName, forNodes, forZones } = endpoint
  if (scope.policy === 'Local' && nodeName !== place.nodeName) return 'OnOtherNode'
  if (condition === 'ServingTerminating') return scope.isAnyReady ? 'OthersReady' : 'Asked'
  if (condition !== 'Ready') return condition
  if (scope.topology === 'PreferSameNode' && !isFor(forNodes, place.nodeName)) return 'ForOtherNode'
  if (scope.topology === 'PreferSameZone' && !isFor(forZones, place.zone)) return 'ForOtherZone'
  return 'Asked'
}

/** Hints of nodes before those of zones; neither counts if a ready endpoint has none or none is for us. */
function topologyOf(candidates: readonly Candidate[], place: Place): Scope['topology'] {
  let isForNode = false
  let isForZone = false
  let haveNodes = true
  let haveZones = true
  for (const { endpoint } of candidates) {
    if (endpoint.condition !== 'Ready') continue
    const { forNodes, forZones } = endpoint
    haveNodes &&= forNodes !== undefined
    haveZones &&= forZones !== undefined
    if (!haveNodes && !haveZones) return undefined
    isForNode ||= isFor(forNodes, place.nodeName)
    isForZone ||= isFor(forZones, place.zone)
  }
  if (haveNodes && isForNode) return 'PreferSameNode'
  return haveZones && isForZone ? 'PreferSameZone' : undefined
}

function isReady({ endpoint }: Candidate): boolean {
  return endpoint.condition === 'Ready'
}

function isFor(hints: readonly string[] | undefined, name: string | undefined): boolean {
  return name !== undefined && hints?.includes(name) === true
}
