// What should be true of masquerading on this node: rules for what takes the kernel's stack, rows for what our programs translate.

/** Who translates new flows: our programs (and the rules what these leave to the stack), the rules alone, or nobody. */
export type MasqueradeMode = 'ebpf' | 'nftables' | 'none'

/** Both ends are in it. */
export interface PortRange {
  readonly first: number
  readonly last: number
}

/** Prefixes in canonical text, each list sorted and without doubles. */
export interface RuleSet {
  /** This node's pod ranges: who is masqueraded. */
  readonly pods: readonly string[]
  /** Addresses of pods that are not. */
  readonly exempt: readonly string[]
  /** Destinations that see the pod's own address. */
  readonly keep: readonly string[]
  /** Outer UDP port of the tunnel, which no pod may use in this node's name. */
  readonly tunnelPort?: number
}

/** The table as it lies in the kernel: nft's own text of it, to see whether somebody changed it. */
export interface ActualRuleSet {
  readonly text: string
}

/** What a packet that leaves by an uplink has to know of it. */
export interface UplinkMapRow {
  readonly index: number
  /** '::' where the node has none. */
  readonly source4: string
  readonly source6: string
  readonly mtu: number
  readonly isL3: boolean
}

/** A destination that our programs leave to the kernel: it sees pods' own addresses, or somebody else translates. */
export interface KeepRow {
  readonly prefix: string
}
