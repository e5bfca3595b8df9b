// Rules that choose the routing table for a packet (`ip rule`), as this package shows them.
import type { UnknownAttribute } from '../codec/attrs.ts'

/** What a rule does with a packet it matches: look into its table, go on at a later rule, go on, or refuse the packet. */
export type RuleAction = 'lookup' | 'goto' | 'nop' | 'blackhole' | 'unreachable' | 'prohibit'

/** Both ends belong to it. */
export interface NumberRange {
  readonly low: number
  readonly high: number
}

/** What a packet must be for the rule to match; absent is anything. */
interface RuleSelector {
  /** Source and destination: '10.0.0.0/8'. */
  readonly src?: string | undefined
  readonly dst?: string | undefined
  readonly inputName?: string | undefined
  readonly outputName?: string | undefined
  /** Of the socket or packet; compared under `markMask`, which is all bits when absent. */
  readonly mark?: number | undefined
  readonly markMask?: number | undefined
  readonly tos?: number | undefined
  /** IPPROTO_*. */
  readonly ipProtocol?: number | undefined
  readonly sourcePorts?: NumberRange | undefined
  readonly destinationPorts?: NumberRange | undefined
  readonly uids?: NumberRange | undefined
}

interface RuleTarget {
  /** Of 'lookup'. */
  readonly table?: number | undefined
  /** Of 'goto': the priority of the rule to go on at. */
  readonly goto?: number | undefined
  /** Routes found with a prefix of this length or shorter do not count: 0 sets default routes aside. */
  readonly suppressPrefixLen?: number | undefined
  /** RTPROT_*, who put the rule there. */
  readonly protocol?: number | undefined
}

export interface RuleSpec extends RuleSelector, RuleTarget {
  /** Needed when neither `src` nor `dst` tells it. */
  readonly family?: 4 | 6 | undefined
  /** Lower is asked first. */
  readonly priority: number
  /** Absent: 'lookup', or 'goto' where that is given. */
  readonly action?: RuleAction | undefined
  /** Matches what does not match (`ip rule add not …`). */
  readonly isInverted?: boolean | undefined
}

/** What to delete: what is given must match, what is absent matches anything. A listed Rule is one. */
export interface RuleKey extends RuleSelector, RuleTarget {
  readonly family?: 4 | 6 | undefined
  readonly priority: number
  readonly action?: RuleAction | number | undefined
}

export interface Rule {
  readonly family: 4 | 6
  readonly priority: number
  readonly action: RuleAction | number
  readonly isInverted: boolean
  readonly src?: string
  readonly dst?: string
  readonly inputName?: string
  readonly outputName?: string
  readonly mark?: number
  readonly markMask?: number
  readonly tos: number
  readonly ipProtocol?: number
  readonly sourcePorts?: NumberRange
  readonly destinationPorts?: NumberRange
  readonly uids?: NumberRange
  readonly table?: number
  readonly goto?: number
  readonly suppressPrefixLen?: number
  readonly protocol: number
  readonly unknown: readonly UnknownAttribute[]
}

export interface RuleFilter {
  readonly family?: 4 | 6 | undefined
  readonly priority?: number | undefined
  readonly table?: number | undefined
  readonly protocol?: number | undefined
}
