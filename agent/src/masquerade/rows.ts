// What should be true of masquerading on this node: one rule set, or none.

/** Prefixes in canonical text, each list sorted and without doubles. */
export interface RuleSet {
  /** This node's pod ranges: who is masqueraded. */
  readonly pods: readonly string[]
  /** Destinations that see the pod's own address. */
  readonly keep: readonly string[]
  /** Outer UDP port of the tunnel, which no pod may use in this node's name. */
  readonly tunnelPort?: number
}

/** The table as it lies in the kernel: nft's own text of it, to see whether somebody changed it. */
export interface ActualRuleSet {
  readonly text: string
}
