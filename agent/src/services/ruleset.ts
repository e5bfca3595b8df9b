// What of services is left to nftables: answers to packets that nobody serves, an address of the node for clients outside, and SCTP. Pure (ADR 0087).

import { SB_LEND, SB_REFUSE } from '../marks.ts'
import { formatRemoval } from '../masquerade/ruleset.ts'
import type { Backend, Frontend, ServicePort, ServiceRows } from './rows.ts'

export interface ServiceRules {
  readonly sctp: readonly SctpRule[]
  /** Ranges of this node's pods. */
  readonly pods: readonly string[]
  /** Of this node, where node ports are served. */
  readonly nodeAddresses: readonly string[]
  /** The kernel carries packets to pods of other nodes. */
  readonly isLending: boolean
}

export interface SctpRule extends Pick<ServicePort, 'family'> {
  readonly kind: Frontend['kind']
  readonly address: string
  readonly port: number
  /** `ADDRESS . PORT` of each backend. */
  readonly internal: readonly string[]
  readonly external: readonly string[]
}

export function computeSctp(rows: Iterable<ServiceRows>): SctpRule[] {
  const rules: SctpRule[] = []
  for (const { ports } of rows) {
    for (const { protocol, family, frontends, ...lists } of ports) {
      if (protocol !== 'SCTP') continue
      const [internal, external] = [lists.internal, lists.external].map(endsOf)
      for (const { kind, address, port } of frontends) {
        const outside = (kind === 'ClusterIP' ? internal : external) ?? []
        rules.push({ kind, address, port, family, internal: internal ?? [], external: outside })
      }
    }
  }
  return rules.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
}

function endsOf(backends: readonly Backend[]): string[] {
  return backends.map(({ address, port }) => `${address} . ${port}`).sort()
}

function nameOf({ address, port }: SctpRule): string {
  return `${address} ${port}`
}

/**
 * Refused packets are marked by our programs and answered before tracking sees them: nothing of them is remembered. SCTP is
 * translated as kube-proxy does it. What comes from outside for a pod elsewhere goes on in this node's name, else its answer would
 * pass us by; and so do what a pod asks of itself, and packets that our programs have given a backend which the kernel leads to.
 */
export function formatServiceRules(table: string, { sctp, ...rest }: ServiceRules): string {
  const isRefused = `meta mark & 0x${SB_REFUSE.toString(16)} != 0`
  const asked = sctp.flatMap((rule) => waysOf(rule, rest))
  const nobody = asked.filter(({ ends }) => ends.length === 0)
  return [
    `${formatRemoval(table)}table inet ${table} {`,
    ...chain('refuse', 'filter hook prerouting priority raw', [
      `${isRefused} meta l4proto tcp reject with tcp reset`,
      `${isRefused} ${REJECT}`,
      ...nobody.map(({ match }) => `${match} ${REJECT}`),
    ]),
    ...(rest.isLending
      ? chain('lend', 'nat hook postrouting priority srcnat', [
          `meta mark & 0x${SB_LEND.toString(16)} != 0 masquerade`,
        ])
      : []),
    ...(sctp.length === 0 ? [] : formatSctp(sctp, asked, rest)),
    '}',
    '',
  ].join('\n')
}

const REJECT = 'reject with icmpx type port-unreachable'

/** Who asks where, and which ends answer; the first that matches counts. */
interface Way {
  readonly match: string
  readonly family: 4 | 6
  readonly ends: readonly string[]
}

function waysOf(rule: SctpRule, { pods, nodeAddresses }: Omit<ServiceRules, 'sctp'>): Way[] {
  const { family, port, internal, external, address } = rule
  const ip = nameOfFamily(family)
  const isOnNode = address === '0.0.0.0' || address === '::'
  const addresses = isOnNode ? ofFamily(nodeAddresses, family) : [address]
  if (addresses.length === 0) return []
  const asked = `${ip} daddr { ${addresses.join(', ')} } sctp dport ${port}`
  const ours = ofFamily(pods, family)
  const all: Way = { match: asked, family, ends: external }
  if (ours.length === 0 || internal.join() === external.join()) return [all]
  const inside = `${ip} saddr { ${ours.join(', ')} } ${asked}`
  return [{ match: inside, family, ends: internal }, all]
}

function formatSctp(
  rules: readonly SctpRule[],
  asked: readonly Way[],
  { pods }: Omit<ServiceRules, 'sctp'>,
): string[] {
  const translated = asked
    .filter(({ ends }) => ends.length > 0)
    .map(({ match, family, ends }) => `${match} ${formatChoice(family, ends)}`)
  const selves = new Set(
    rules.flatMap(({ family, internal }) =>
      internal.map((end) => {
        const [ip, [address]] = [nameOfFamily(family), end.split(' ')]
        return `${ip} saddr ${address} ${ip} daddr ${address}`
      }),
    ),
  )
  const ofOurs = ([4, 6] as const).flatMap((family) => {
    const ours = ofFamily(pods, family)
    const set = `{ ${ours.join(', ')} }`
    const ip = nameOfFamily(family)
    return ours.length === 0 ? [] : [`${ip} saddr ${set} return`, `${ip} daddr ${set} return`]
  })
  const jump = ['jump services']
  return [
    '  chain services {',
    ...translated.map((line) => `    ${line}`),
    '  }',
    ...chain('prerouting', 'nat hook prerouting priority dstnat', jump),
    ...chain('output', 'nat hook output priority -100', jump),
    ...chain('postrouting', 'nat hook postrouting priority srcnat', [
      'meta l4proto != sctp return',
      'ct status & dnat == 0 return',
      ...[...selves].sort().map((self) => `${self} masquerade`),
      ...ofOurs,
      'fib saddr type != local masquerade',
    ]),
  ]
}

function formatChoice(family: 4 | 6, ends: readonly string[]): string {
  const choices = ends.map((end, at) => `${at} : ${end}`).join(', ')
  const ip = nameOfFamily(family)
  return `dnat ${ip} addr . port to numgen random mod ${ends.length} map { ${choices} }`
}

function chain(name: string, type: string, lines: readonly string[]): string[] {
  const head = [`  chain ${name} {`, `    type ${type}; policy accept;`]
  return [...head, ...lines.map((line) => `    ${line}`), '  }']
}

function nameOfFamily(family: 4 | 6): 'ip' | 'ip6' {
  return family === 4 ? 'ip' : 'ip6'
}

function ofFamily(list: readonly string[], family: 4 | 6): string[] {
  return list.filter((one) => one.includes(':') === (family === 6))
}
