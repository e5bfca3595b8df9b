// Who is masqueraded and towards whom: pure, from the nodes, services and settings to the rule set and the rows.
import { formatPrefix, networkOf, parseIp, parsePrefix } from '@sinabro/node-netlink'
import type { KeepRow, RuleSet } from './rows.ts'

export interface MasqueradeNode {
  readonly name: string
  readonly podCIDRs: readonly string[]
  readonly internalIPs: readonly string[]
}

export interface MasqueradeSettings {
  readonly nodeName: string
  /** Ranges that are the cluster's beside what the nodes say. */
  readonly clusterCIDRs: readonly string[]
  /** Others that have a way back to pods. */
  readonly nonMasqueradeCIDRs: readonly string[]
  /** Where addresses of Services come from. */
  readonly serviceCIDRs: readonly string[]
  /** Routed networks carry pod addresses between nodes, so there other nodes see them too. */
  readonly keepsTowardsNodes: boolean
  /** Absent without a tunnel. */
  readonly tunnelPort?: number
}

/**
 * Undefined while this node is not known or has no range: then there is nobody to masquerade.
 * @param exempt addresses of pods that keep theirs
 */
export function computeRuleSet(
  nodes: readonly MasqueradeNode[],
  settings: MasqueradeSettings,
  exempt: readonly string[] = [],
): RuleSet | undefined {
  const self = nodes.find((node) => node.name === settings.nodeName)
  if (self === undefined || self.podCIDRs.length === 0) return undefined
  const addresses = settings.keepsTowardsNodes ? nodes.flatMap((node) => node.internalIPs) : []
  return {
    pods: sorted(self.podCIDRs),
    exempt: sorted(exempt),
    keep: sorted([
      ...settings.clusterCIDRs,
      ...settings.nonMasqueradeCIDRs,
      ...nodes.flatMap((node) => node.podCIDRs),
      ...addresses.map(asPrefix),
    ]),
    ...(settings.tunnelPort === undefined ? {} : { tunnelPort: settings.tunnelPort }),
  }
}

/**
 * What our programs leave to the kernel. Nothing inside a pod range: those rows say which node has it, and whose address a Service
 * claims there is the pod's all the same.
 * @param serviceAddresses of all Services: where somebody else translates
 */
export function computeKeeps(
  nodes: readonly MasqueradeNode[],
  serviceAddresses: Iterable<string>,
  { clusterCIDRs, nonMasqueradeCIDRs, serviceCIDRs }: MasqueradeSettings,
): KeepRow[] {
  const ranges = nodes.flatMap(({ podCIDRs }) => podCIDRs).map(parsePrefix)
  const names = new Set(ranges.map(formatPrefix))
  const lengths = [...new Set(ranges.map(({ prefixLen }) => prefixLen))]
  const isPods = (text: string): boolean => {
    const prefix = parsePrefix(text)
    return lengths.some((prefixLen) => {
      if (prefixLen > prefix.prefixLen) return false
      return names.has(formatPrefix(networkOf({ ...prefix, prefixLen })))
    })
  }
  const wanted = sorted([
    ...clusterCIDRs,
    ...nonMasqueradeCIDRs.flatMap(besideIpv4),
    ...serviceCIDRs,
    ...Array.from(serviceAddresses, asPrefix),
  ])
  return wanted.filter((prefix) => !isPods(prefix)).map((prefix) => ({ prefix }))
}

/** In the map IPv4 lies inside ::/96, so a range around that is taken as those that are in use. */
function besideIpv4(range: string): string[] {
  const { family, bytes, prefixLen } = parsePrefix(range)
  const isAround = family === 6 && prefixLen <= 96 && bytes.every((byte) => byte === 0)
  if (!isAround) return [range]
  return [...(prefixLen < 3 ? ['2000::/3'] : []), ...(prefixLen === 0 ? ['fc00::/7'] : [])]
}

function asPrefix(address: string): string {
  return `${address}/${parseIp(address).bytes.length * 8}`
}

function sorted(prefixes: readonly string[]): string[] {
  return [...new Set(prefixes)].sort()
}
