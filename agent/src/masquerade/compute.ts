// Who is masqueraded and towards whom: pure, from the nodes and the settings to one rule set.
import type { RuleSet } from './rows.ts'

export interface MasqueradeNode {
  readonly name: string
  readonly podCIDRs: readonly string[]
  readonly internalIPs: readonly string[]
}

export interface MasqueradeSettings {
  readonly nodeName: string
  /** Ranges that are the cluster's beside what the nodes say. */
  readonly clusterCIDRs: readonly string[]
  /** Routed networks carry pod addresses between nodes, so there other nodes see them too. */
  readonly keepsTowardsNodes: boolean
  /** Absent without a tunnel. */
  readonly tunnelPort?: number
}

/** Undefined while this node is not known or has no range: then there is nobody to masquerade. */
export function computeRuleSet(
  nodes: readonly MasqueradeNode[],
  settings: MasqueradeSettings,
): RuleSet | undefined {
  const self = nodes.find((node) => node.name === settings.nodeName)
  if (self === undefined || self.podCIDRs.length === 0) return undefined
  const addresses = settings.keepsTowardsNodes ? nodes.flatMap((node) => node.internalIPs) : []
  return {
    pods: sorted(self.podCIDRs),
    keep: sorted([
      ...settings.clusterCIDRs,
      ...nodes.flatMap((node) => node.podCIDRs),
      ...addresses.map((address) => `${address}/${address.includes(':') ? 128 : 32}`),
    ]),
    ...(settings.tunnelPort === undefined ? {} : { tunnelPort: settings.tunnelPort }),
  }
}

function sorted(prefixes: readonly string[]): string[] {
  return [...new Set(prefixes)].sort()
}
