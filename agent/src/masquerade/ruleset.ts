// The rule set as nftables text: one table, replaced whole in one transaction.
import { SB_DONE, SB_TO_TRANSLATE } from '../marks.ts'
import type { PortRange, RuleSet } from './rows.ts'

/** Our programs choose from ports above: while both translate, neither takes one of the other's (ADR 0072). */
export const RULES_PORTS: PortRange = { first: 1024, last: 29_999 }

/**
 * Postrouting, just after the place where others translate sources. `fib daddr type unicast` leaves out the node's own addresses,
 * broadcast and multicast. Ports are chosen at random so that many pods behind one address do not meet.
 *
 * Translated, a pod speaks in the node's name, and the tunnel believes nodes. So nothing of a pod's is translated towards the
 * tunnel's port, whoever turned it there (`forward` comes after all that change destinations). What the kernel's tracking makes
 * nothing of is not translated, and would leave with the pod's own address. And the tunnel's own packets are not
 * tracked: else the answer that some pod's translated flow waits for could be a tunnel packet for another pod.
 *
 * Marked packets were translated by our programs, or will be where they leave: tracking knows nothing of their flow and must not
 * learn half of it.
 */
export function formatRuleSet(table: string, rules: RuleSet): string {
  const set = (name: string, type: string, prefixes: readonly string[]): string => {
    const elements = prefixes.length === 0 ? '' : ` elements = { ${prefixes.join(', ')} };`
    return `  set ${name} { type ${type}; flags interval; auto-merge;${elements} }`
  }
  const v4 = (prefixes: readonly string[]): string[] => prefixes.filter((one) => !one.includes(':'))
  const v6 = (prefixes: readonly string[]): string[] => prefixes.filter((one) => one.includes(':'))
  const { tunnelPort } = rules
  const tunnel = (ends: readonly string[]): string[] =>
    tunnelPort === undefined ? [] : ends.map((end) => `    udp dport ${tunnelPort} ${end}`)
  const leaves4 = 'ip saddr @pods4 ip saddr != @exempt4 ip daddr != @keep4'
  const leaves6 = 'ip6 saddr @pods6 ip6 saddr != @exempt6 ip6 daddr != @keep6'
  const masquerade = (leaves: string, icmp: string): string[] => {
    const translated = `    ${leaves} fib daddr type unicast`
    const { first, last } = RULES_PORTS
    return [
      `${translated} meta l4proto { tcp, udp } masquerade to :${first}-${last} fully-random`,
      `${translated} meta l4proto ${icmp} masquerade to :0-${last} fully-random`,
      `${translated} masquerade fully-random`,
    ]
  }
  return [
    formatRemoval(table),
    `table inet ${table} {`,
    set('pods4', 'ipv4_addr', v4(rules.pods)),
    set('pods6', 'ipv6_addr', v6(rules.pods)),
    set('exempt4', 'ipv4_addr', v4(rules.exempt)),
    set('exempt6', 'ipv6_addr', v6(rules.exempt)),
    set('keep4', 'ipv4_addr', v4(rules.keep)),
    set('keep6', 'ipv6_addr', v6(rules.keep)),
    '  chain forward {',
    '    type filter hook forward priority filter + 5; policy accept;',
    ...tunnel([
      `ip saddr @pods4 ip daddr != @keep4 drop`,
      `ip6 saddr @pods6 ip6 daddr != @keep6 drop`,
    ]),
    `    ct state invalid ${leaves4} drop`,
    `    ct state invalid ${leaves6} drop`,
    '  }',
    '  chain prerouting {',
    '    type filter hook prerouting priority raw; policy accept;',
    `    meta mark & 0x${(SB_DONE | SB_TO_TRANSLATE).toString(16)} != 0 notrack`,
    ...tunnel(['fib daddr type local notrack']),
    '  }',
    '  chain output {',
    '    type filter hook output priority raw; policy accept;',
    ...tunnel(['notrack']),
    '  }',
    '  chain postrouting {',
    '    type nat hook postrouting priority srcnat + 5; policy accept;',
    ...masquerade(leaves4, 'icmp'),
    ...masquerade(leaves6, 'icmpv6'),
    '  }',
    '}',
    '',
  ].join('\n')
}

/** Declaring before deleting makes the removal of an absent table a success. */
export function formatRemoval(table: string): string {
  return `table inet ${table}\ndelete table inet ${table}\n`
}
