// Which addresses from outside a Service may have: none that is a node's, a pod's or of the service ranges, and external ones only where
// the operator allows them. Who may write Services could else take any address's traffic (CVE-2020-8554). ADR 0084.
import { formatPrefix, networkOf, parseIp, parsePrefix } from '@sinabro/node-netlink'
import type { NodeRow } from '../cluster/rows.ts'
import { isGlobalUnicast } from '../cluster/unicast.ts'
import { familyOf } from './model-frontends.ts'
import type { Frontend } from './rows.ts'

export interface AddressSettings {
  /** What `spec.externalIPs` may be from. */
  readonly externalIPCIDRs: readonly string[]
  /** Pod ranges beyond those of the nodes. */
  readonly clusterCIDRs: readonly string[]
}

/** Of a node, what counts here. */
type Claiming = Pick<NodeRow, 'internalIPs' | 'externalIPs' | 'podCIDRs'>

export class AddressRules {
  readonly #allowed = new Prefixes()
  readonly #nodes = new Prefixes()
  readonly #pods = new Prefixes()
  #services = new Prefixes()

  constructor({ externalIPCIDRs, clusterCIDRs }: AddressSettings) {
    for (const range of externalIPCIDRs) this.#allowed.add(range)
    for (const range of clusterCIDRs) this.#pods.add(range)
  }

  setServiceRanges(ranges: readonly string[]): void {
    this.#services = new Prefixes()
    for (const range of ranges) this.#services.add(range)
  }

  /** @returns ranges for which the answer may be another now */
  changeNode(before: Claiming | undefined, after: Claiming | undefined): string[] {
    const gone = claimsOf(before)
    const come = claimsOf(after)
    const changed = gone.symmetricDifference(come)
    for (const range of changed) {
      const ranges = before?.podCIDRs.includes(range) || after?.podCIDRs.includes(range)
      const prefixes = ranges ? this.#pods : this.#nodes
      if (come.has(range)) prefixes.add(range)
      else prefixes.delete(range)
    }
    return [...changed]
  }

  /** Why not, in words; undefined if it may. */
  refusal({ kind, address }: Frontend): string | undefined {
    if (!isGlobalUnicast(parseIp(address).bytes)) return 'it is no address that a host could have'
    if (kind === 'ExternalIP' && this.#allowed.around(address) === undefined) {
      return 'it is outside of what --external-ip-cidrs allows'
    }
    if (this.#nodes.around(address) !== undefined) return 'it is an address of a node'
    const pods = this.#pods.around(address)
    if (pods !== undefined) return `it is in the pod range ${pods}`
    const services = this.#services.around(address)
    return services === undefined ? undefined : `it is in the service range ${services}`
  }
}

function claimsOf(node: Claiming | undefined): Set<string> {
  const { internalIPs = [], externalIPs = [], podCIDRs = [] } = node ?? {}
  return new Set([
    ...[...internalIPs, ...externalIPs].map(
      (address) => `${address}/${familyOf(address) === 4 ? 32 : 128}`,
    ),
    ...podCIDRs,
  ])
}

/** Ranges, each as often as it was added, looked up by the lengths that occur. */
class Prefixes {
  readonly #counts = new Map<string, number>()
  readonly #lengths = { 4: new Map<number, number>(), 6: new Map<number, number>() }

  /** In canonical text. */
  add(range: string): void {
    this.#count(range, 1)
  }

  delete(range: string): void {
    this.#count(range, -1)
  }

  /** One that holds the address. */
  around(address: string): string | undefined {
    const ip = parseIp(address)
    for (const prefixLen of this.#lengths[ip.family].keys()) {
      const range = formatPrefix(networkOf({ ...ip, prefixLen }))
      if (this.#counts.has(range)) return range
    }
    return undefined
  }

  #count(range: string, more: number): void {
    const { family, prefixLen } = parsePrefix(range)
    bump(this.#counts, range, more)
    bump(this.#lengths[family], prefixLen, more)
  }
}

function bump<Key>(counts: Map<Key, number>, key: Key, more: number): void {
  const count = (counts.get(key) ?? 0) + more
  if (count > 0) counts.set(key, count)
  else counts.delete(key)
}
