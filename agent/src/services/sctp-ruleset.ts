// SCTP Services in nftables, in a table of their own, as our programs do not translate SCTP. Pure (ADR 0087).
import { parsePrefix, prefixContains } from '@sinabro/node-netlink'
import { formatRemoval } from '../masquerade/ruleset.ts'
import type { Backend, Frontend, ServicePort, ServiceRows } from './rows.ts'
import { formatChain, REJECT } from './ruleset.ts'

export interface SctpRules {
  readonly sctp: readonly SctpRule[]
  /** Ranges of this node's pods. */
  readonly pods: readonly string[]
  /** Of this node, where node ports are served. */
  readonly nodeAddresses: readonly string[]
}

export interface SctpRule extends Pick<ServicePort, 'family'> {
  readonly kind: Frontend['kind']
  readonly address: string
  readonly port: number
  /** `ADDRESS . PORT` of each backend. */
  readonly internal: readonly string[]
  readonly external: readonly string[]
  /** Who may ask; absent: everybody. */
  readonly sourceRanges?: readonly string[]
}

export function computeSctp(rows: Iterable<ServiceRows>): SctpRule[] {
  const rules: SctpRule[] = []
  for (const { ports } of rows) {
    for (const { protocol, family, frontends, sourceRanges, ...lists } of ports) {
      if (protocol !== 'SCTP') continue
      const [internal, external] = [lists.internal, lists.external].map(endsOf)
      for (const { kind, address, port } of frontends) {
        const outside = (kind === 'ClusterIP' ? internal : external) ?? []
        const asks = kind === 'LoadBalancer' && sourceRanges !== undefined
        rules.push({
          ...{ kind, address, port, family, internal: internal ?? [], external: outside },
          ...(asks ? { sourceRanges } : {}),
        })
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
 * Translated as kube-proxy does it. What comes from outside for a pod elsewhere goes on in this node's name, else its answer would
 * pass us by; and so does what a pod asks of itself. Who is in none of the source ranges is dropped before, whoever asks.
 */
export function formatSctpRules(table: string, { sctp, ...rest }: SctpRules): string {
  const asked = sctp.flatMap((rule) => waysOf(rule, rest))
  const nobody = asked.filter(({ ends }) => ends.length === 0)
  const refused = nobody.map(({ match }) => `${match} ${REJECT}`)
  const admission = sctp.flatMap(admissionOf)
  return [
    `${formatRemoval(table)}table inet ${table} {`,
    ...formatChain('refuse', 'filter hook prerouting priority raw', refused),
    ...formatChain('admit', 'filter hook prerouting priority dstnat - 10', admission),
    ...formatChain('admit-own', 'filter hook output priority -110', admission),
    ...formatSctp(sctp, asked, rest),
    '}',
    '',
  ].join('\n')
}

/** A connection that there is goes on, as with kube-proxy. */
function admissionOf({ family, address, port, sourceRanges }: SctpRule): string[] {
  if (sourceRanges === undefined) return []
  const ip = nameOfFamily(family)
  const ranges = widest(sourceRanges)
  const others = ranges.length === 0 ? '' : `${ip} saddr != { ${ranges.join(', ')} } `
  return [`ct state new ${ip} daddr ${address} sctp dport ${port} ${others}drop`]
}

/** Those within no other: a set takes none twice. */
function widest(ranges: readonly string[]): string[] {
  const prefixes = [...new Set(ranges)].map((text) => ({ text, prefix: parsePrefix(text) }))
  return prefixes
    .filter(({ text, prefix }) =>
      prefixes.every(
        (other) =>
          other.text === text ||
          other.prefix.prefixLen > prefix.prefixLen ||
          !prefixContains(other.prefix, prefix),
      ),
    )
    .map(({ text }) => text)
    .sort()
}

/** Who asks where, and which ends answer; the first that matches counts. */
interface Way {
  readonly match: string
  readonly family: 4 | 6
  readonly ends: readonly string[]
}

function waysOf(rule: SctpRule, { pods, nodeAddresses }: Omit<SctpRules, 'sctp'>): Way[] {
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
  { pods }: Omit<SctpRules, 'sctp'>,
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
    ...formatChain('prerouting', 'nat hook prerouting priority dstnat', jump),
    ...formatChain('output', 'nat hook output priority -100', jump),
    ...formatChain('postrouting', 'nat hook postrouting priority srcnat', [
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

function nameOfFamily(family: 4 | 6): 'ip' | 'ip6' {
  return family === 4 ? 'ip' : 'ip6'
}

function ofFamily(list: readonly string[], family: 4 | 6): string[] {
  return list.filter((one) => one.includes(':') === (family === 6))
}
