// Firewalls that drop what is passed on: chains at the forward hook whose policy is drop, in nftables and in the old iptables.
import { type Check, type Finding, Skip } from '../finding.ts'
import type { World } from '../world.ts'

interface Chain {
  readonly family: string
  readonly table: string
  readonly name: string
  readonly hook?: string
  readonly policy?: string
}

/** The part of `nft -j list ruleset` that is read here. */
interface RuleSet {
  readonly nftables: readonly { readonly chain?: Chain; readonly rule?: Rule }[]
}

interface Rule {
  readonly family: string
  readonly table: string
  readonly chain: string
  readonly expr: readonly unknown[]
}

/** Chains at the forward hook that drop what no rule of theirs accepts, and do not accept ours. Pure. */
export function droppingChains(rules: RuleSet): Chain[] {
  const chains = rules.nftables.flatMap(({ chain }) => (chain === undefined ? [] : [chain]))
  const all = rules.nftables.flatMap(({ rule }) => (rule === undefined ? [] : [rule]))
  return chains
    .filter(({ hook, policy }) => hook === 'forward' && policy === 'drop')
    .filter((chain) => !reaches(chain, all).some(acceptsOurs))
}

/** Rules of the chain and of those it jumps to. */
function reaches(chain: Pick<Chain, 'family' | 'table' | 'name'>, all: readonly Rule[]): Rule[] {
  const found: Rule[] = []
  const seen = new Set<string>()
  const names = [chain.name]
  for (let name = names.pop(); name !== undefined; name = names.pop()) {
    if (seen.has(name)) continue
    seen.add(name)
    for (const rule of all) {
      if (rule.family !== chain.family || rule.table !== chain.table || rule.chain !== name)
        continue
      found.push(rule)
      for (const target of jumpsOf(rule)) names.push(target)
    }
  }
  return found
}

function jumpsOf({ expr }: Rule): string[] {
  return expr.flatMap((one) => {
    if (typeof one !== 'object' || one === null) return []
    const { jump, goto } = one as { jump?: { target: string }; goto?: { target: string } }
    return [jump?.target, goto?.target].filter((target) => target !== undefined)
  })
}

/** A rule that accepts everything, or one that names our devices. */
function acceptsOurs({ expr }: Rule): boolean {
  const text = JSON.stringify(expr)
  if (!text.includes('"accept"')) return false
  const conditions = expr.filter((one) => {
    return typeof one === 'object' && one !== null && ('match' in one || 'xt' in one)
  })
  return conditions.length === 0 || /"sb[*+a-z0-9-]*"/.test(text)
}

const MEANS =
  'packets between pods and the outside, and to services, are dropped here; pods among themselves take the short way past it. An accept in another table does not help: every chain at the hook must accept'

export const forwardPolicy: Check<World> = {
  name: 'forward policy',
  async run(world) {
    const findings: Finding[] = []
    let skipped: unknown
    try {
      const rules = JSON.parse(await world.command('nft', '-j', 'list', 'ruleset')) as RuleSet
      for (const { family, table, name } of droppingChains(rules)) {
        findings.push({
          level: 'error',
          found: `nftables: chain ${name} of table ${family} ${table} drops what is forwarded unless a rule accepts it, and none names our devices`,
          means: MEANS,
          do: `let whoever made it accept devices "sb*" both ways, or: nft insert rule ${family} ${table} ${name} iifname "sb*" accept; nft insert rule ${family} ${table} ${name} oifname "sb*" accept`,
        })
      }
    } catch (error) {
      skipped = error
    }
    findings.push(...(await legacyFindings(world)))
    // What could be looked at comes first; only if nothing was found does it matter that the rest could not.
    if (findings.length === 0 && skipped !== undefined) throw skipped
    return findings
  },
}

/** The old iptables are another firewall beside nftables: both must let a packet pass. */
async function legacyFindings(world: World): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const [program, tables] of [
    ['iptables-legacy', 'ip_tables_names'],
    ['ip6tables-legacy', 'ip6_tables_names'],
  ] as const) {
    // Asking iptables-legacy would make the table: only where it is there already.
    if (!readTables(world, tables).includes('filter')) continue
    const rules = await listLegacy(world, program)
    if (rules === undefined || !/^-P FORWARD DROP$/m.test(rules) || acceptsOursLegacy(rules)) {
      continue
    }
    findings.push({
      level: 'error',
      found: `${program}: the policy of FORWARD is DROP, and no rule accepts our devices`,
      means: MEANS,
      do: `${program} -I FORWARD -i sb+ -j ACCEPT; ${program} -I FORWARD -o sb+ -j ACCEPT`,
    })
  }
  return findings
}

export function acceptsOursLegacy(rules: string): boolean {
  return rules
    .split('\n')
    .filter((rule) => rule.startsWith('-A FORWARD ') && rule.endsWith('-j ACCEPT'))
    .some((rule) => rule === '-A FORWARD -j ACCEPT' || / -[io] sb\S*/.test(rule))
}

async function listLegacy(world: World, program: string): Promise<string | undefined> {
  try {
    return await world.command(program, '-S', 'FORWARD')
  } catch (error) {
    if (error instanceof Skip) return undefined
    throw error
  }
}

function readTables(world: World, name: string): string[] {
  try {
    return world.procNet(name).split('\n')
  } catch {
    // A kernel without it has no such firewall.
    return []
  }
}
