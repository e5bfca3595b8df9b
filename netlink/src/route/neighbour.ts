// Neighbour entries (ARP and IPv6 neighbour discovery) as this package shows them.
import type { UnknownAttribute } from '../codec/attrs.ts'

export type NeighbourState =
  | 'none'
  | 'incomplete'
  | 'reachable'
  | 'stale'
  | 'delay'
  | 'probe'
  | 'failed'
  | 'noarp'
  | 'permanent'

export type NeighbourFlag =
  | 'use'
  | 'self'
  | 'master'
  | 'proxy'
  | 'extern-learn'
  | 'offloaded'
  | 'router'

export interface NeighbourKey {
  readonly index: number
  readonly address: string
  /** Proxy entries are a table of their own. */
  readonly flags?: readonly NeighbourFlag[] | undefined
}

export interface NeighbourSpec extends NeighbourKey {
  /** Absent only on proxy entries. */
  readonly mac?: string | undefined
  /** Absent: 'permanent'. */
  readonly state?: NeighbourState | undefined
  /** RTPROT_*, who put the entry there. Linux 5.0 and newer. */
  readonly protocol?: number | undefined
}

export interface Neighbour {
  readonly index: number
  readonly address: string
  readonly family: 4 | 6
  readonly mac?: string
  readonly state: NeighbourState | number
  readonly flags: readonly NeighbourFlag[]
  readonly protocol?: number
  readonly unknown: readonly UnknownAttribute[]
}

export interface NeighbourFilter {
  readonly index?: number | undefined
  readonly family?: 4 | 6 | undefined
  /** The proxy table instead of the learned one. */
  readonly isProxy?: boolean | undefined
}
