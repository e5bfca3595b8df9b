// Next hop objects (`ip nexthop`): ways that many routes share by number, alone or in groups, as this package shows them.
import type { UnknownAttribute } from '../codec/attrs.ts'

/** One member of a group. */
export interface NexthopMember {
  readonly id: number
  /** 1 to 256; absent means 1. */
  readonly weight?: number | undefined
}

/** Options of a resilient group, whose flows stay where they are when members come and go. */
export interface ResilientOptions {
  readonly buckets?: number | undefined
  /** A bucket unused for so long may move at once. */
  readonly idleCs?: number | undefined
  /** After so long out of balance buckets move though they are used; 0 never. */
  readonly unbalancedCs?: number | undefined
}

interface NexthopIdentity {
  /** 1 and up, chosen by whoever makes it; routes name it as `nextHopId`. */
  readonly id: number
  /** RTPROT_*, who put it there. Absent: 0, as `ip nexthop` does. */
  readonly protocol?: number | undefined
}

/** A gateway, or just a device. */
export interface NexthopWay extends NexthopIdentity {
  readonly index: number
  readonly via?: string | undefined
  /** Of IPv4 routes without a gateway it is 4, which is meant when absent. */
  readonly family?: 4 | 6 | undefined
  readonly onlink?: boolean | undefined
}

export interface NexthopBlackhole extends NexthopIdentity {
  readonly blackhole: true
  /** Absent: 4. */
  readonly family?: 4 | 6 | undefined
}

export interface NexthopGroup extends NexthopIdentity {
  readonly group: readonly NexthopMember[]
  readonly resilient?: ResilientOptions | undefined
}

/** For entries of a vxlan FDB and not for routes: an outer address, or a group of them. */
export interface NexthopFdb extends NexthopIdentity {
  readonly fdb: true
  readonly via: string
}

export interface NexthopFdbGroup extends NexthopIdentity {
  readonly fdb: true
  readonly group: readonly NexthopMember[]
}

export type NexthopSpec =
  | NexthopWay
  | NexthopBlackhole
  | NexthopGroup
  | NexthopFdb
  | NexthopFdbGroup

export interface Nexthop {
  readonly id: number
  /** Absent of groups. */
  readonly family?: 4 | 6
  readonly protocol: number
  readonly index?: number
  readonly via?: string
  readonly isBlackhole: boolean
  readonly isFdb: boolean
  readonly onlink: boolean
  readonly group?: readonly NexthopMember[]
  readonly resilient?: ResilientOptions
  /** RTNH_F_* bits as they came. */
  readonly flags: number
  readonly unknown: readonly UnknownAttribute[]
}

export interface NexthopFilter {
  readonly index?: number | undefined
  readonly protocol?: number | undefined
  readonly isGroup?: boolean | undefined
  readonly isFdb?: boolean | undefined
}
