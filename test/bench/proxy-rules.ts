// The rules of a real kube-proxy in nftables mode, captured once: what they cost a packet that is for no service. Every packet meets
// their chains, and connection tracking is switched on by them.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const PROXY_RULES_OF = 'kube-proxy 1.34.4, 100 services of three endpoints'

/** For `nft -f -`. How it came about is said at its top. */
export function proxyRules(): string {
  return readFileSync(join(import.meta.dirname, 'testdata/kube-proxy-1.34.4.nft'), 'utf8')
}

export interface RulesSize {
  readonly chains: number
  readonly rules: number
}

/** Of the list that `nft -j list ruleset` prints. */
export function sizeOfRules(listed: unknown): RulesSize {
  const entries =
    typeof listed === 'object' && listed !== null && 'nftables' in listed ? listed.nftables : []
  const count = (what: string) =>
    (Array.isArray(entries) ? entries : []).filter((entry: object) => what in entry).length
  return { chains: count('chain'), rules: count('rule') }
}
