// Queueing disciplines and filters (tc) as this package shows them.
import type { UnknownAttribute } from '../codec/attrs.ts'

export interface Qdisc {
  readonly index: number
  readonly kind: string
  readonly handle: number
  readonly parent: number
  /** TCA_OPTIONS of a kind not described here. */
  readonly options?: Uint8Array
  readonly unknown: readonly UnknownAttribute[]
}

/** clsact queues nothing: it is where filters hang on the way in and on the way out. */
export interface QdiscSpec {
  readonly index: number
  readonly kind: 'clsact'
}

/** Where a filter hangs: on the clsact qdisc of its device, or at another parent by number. */
export type FilterParent = 'ingress' | 'egress'

export interface FilterKey {
  readonly index: number
  readonly parent: FilterParent
  /** 1 to 65535; lower runs first. */
  readonly priority: number
  readonly handle: number
}

export interface BpfFilterSpec extends FilterKey {
  /** Of a loaded program of type sched_cls; may be closed afterwards. */
  readonly fd: number
  /** Shown by `tc filter show`. */
  readonly name: string
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
  readonly parent: FilterParent
}

export interface QdiscFilter {
  readonly index?: number | undefined
}
