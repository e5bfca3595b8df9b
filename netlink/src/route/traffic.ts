// Queueing disciplines, their classes and filters (tc) as this package shows them.
import type { UnknownAttribute } from '../codec/attrs.ts'
import type {
  HtbClassOptions,
  HtbOptions,
  HtbSpec,
  TbfOptions,
  TbfSpec,
  TrafficStatistics,
} from './shaping.ts'

export interface Qdisc {
  readonly index: number
  readonly kind: string
  readonly handle: number
  readonly parent: number
  readonly tbf?: TbfOptions
  readonly htb?: HtbOptions
  readonly statistics?: TrafficStatistics
  /** TCA_OPTIONS of a kind not described here. */
  readonly options?: Uint8Array
  readonly unknown: readonly UnknownAttribute[]
}

/**
 * They queue nothing: clsact is where filters hang on the way in and on the way out, ingress its elder that has the way in only.
 * A device has one of them at most.
 */
export interface HookSpec {
  readonly index: number
  readonly kind: 'clsact' | 'ingress'
}

export type QdiscSpec = HookSpec | TbfSpec | HtbSpec

/** What to delete; a spec is one. */
export interface QdiscKey {
  readonly index: number
  readonly kind: QdiscSpec['kind']
  /** Of those that queue. Absent: the root of the device. */
  readonly parent?: number | undefined
}

export interface TrafficClass {
  readonly index: number
  readonly kind: string
  readonly handle: number
  readonly parent: number
  readonly htb?: HtbClassOptions
  readonly statistics?: TrafficStatistics
  /** TCA_OPTIONS of a kind not described here. */
  readonly options?: Uint8Array
  readonly unknown: readonly UnknownAttribute[]
}

export interface TrafficClassFilter {
  readonly index: number
  readonly parent?: number | undefined
}

/** Where a filter hangs on the clsact qdisc of its device ('ingress' also on that of this name). */
export type FilterParent = 'ingress' | 'egress'

export interface FilterKey {
  readonly index: number
  /** A number is the handle of a qdisc with classes. */
  readonly parent: FilterParent | number
  /** 1 to 65535; lower runs first. */
  readonly priority: number
  readonly handle: number
}

export interface BpfFilterSpec extends FilterKey {
  /** The program chooses among the classes of the qdisc by what it returns: 0 none, -1 this one, else the class itself. */
  readonly classId?: number | undefined
  /** Of a loaded program of type sched_cls; may be closed afterwards. */
  readonly fd: number
  /** Shown by `tc filter show`. */
  readonly name: string
}

/** Every packet, moved over to another device as if it left there: to an ifb, which has a queue where the way in has none. */
export interface RedirectSpec extends FilterKey {
  readonly toIndex: number
}

export interface Filter {
  readonly index: number
  readonly parent: FilterParent | number
  readonly priority: number
  readonly handle: number
  /** ETH_P_*; 3 is all. */
  readonly protocol: number
  /** Chain 0 unless someone made chains. */
  readonly chain: number
  readonly kind: string
  readonly bpf?: BpfFilter
  /** Where an action of the filter sends what it matches. */
  readonly toIndex?: number
  /** TCA_OPTIONS of a kind not described here. */
  readonly options?: Uint8Array
  readonly unknown: readonly UnknownAttribute[]
}

export interface BpfFilter {
  readonly name?: string
  readonly programId?: number
  /** Eight bytes, in hexadecimal. */
  readonly tag?: string
  /** The program's return value is the verdict, without an action behind it. */
  readonly isDirectAction: boolean
}

export interface FilterList {
  readonly index: number
  readonly parent: FilterParent | number
}

export interface QdiscFilter {
  readonly index?: number | undefined
}
