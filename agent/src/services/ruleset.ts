// Rules of services that are there whatever they are: answers to packets that nobody serves, and an address of the node for clients outside. Pure
// (ADR 0087).
import { SB_LEND, SB_REFUSE } from '../marks.ts'
import { formatRemoval } from '../masquerade/ruleset.ts'

export interface ServiceRules {
  /** The kernel carries packets to pods of other nodes. */
  readonly isLending: boolean
}

export const REJECT = 'reject with icmpx type port-unreachable'

/**
 * Refused packets are marked by our programs and answered before tracking sees them: nothing of them is remembered. Packets that our
 * programs have given a backend which the kernel leads to go on in this node's name, else their answer would pass us by.
 */
export function formatServiceRules(table: string, { isLending }: ServiceRules): string {
  const isRefused = `meta mark & 0x${SB_REFUSE.toString(16)} != 0`
  const lend = [`meta mark & 0x${SB_LEND.toString(16)} != 0 masquerade`]
  return [
    `${formatRemoval(table)}table inet ${table} {`,
    ...formatChain('refuse', 'filter hook prerouting priority raw', [
      `${isRefused} meta l4proto tcp reject with tcp reset`,
      `${isRefused} ${REJECT}`,
    ]),
    ...(isLending ? formatChain('lend', 'nat hook postrouting priority srcnat', lend) : []),
    '}',
    '',
  ].join('\n')
}

export function formatChain(name: string, type: string, lines: readonly string[]): string[] {
  const head = [`  chain ${name} {`, `    type ${type}; policy accept;`]
  return [...head, ...lines.map((line) => `    ${line}`), '  }']
}
