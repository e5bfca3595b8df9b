// The rules that kube-proxy has left in a node's kernel: found in each of its modes, and removed as `kube-proxy --cleanup` does.
import { NFT_NAT_TABLE } from '../marks.ts'
import {
  countLegacy,
  IPTABLES_TABLES,
  LEGACY,
  legacyTables,
  listChains,
  type NetfilterWorld,
  removeLegacy,
  unlinkChains,
} from './netfilter-chains.ts'

/** Of one table of one kind; `chains` of kube-proxy's, or virtual servers. */
export interface ProxyRules {
  readonly kind: 'nftables' | 'iptables-nft' | 'iptables-legacy' | 'ipvs'
  readonly family: 4 | 6
  readonly table: string
  readonly chains: number
}

export interface ProxyFindings {
  readonly found: readonly ProxyRules[]
  /** What could not be looked at, and why. */
  readonly unseen: readonly string[]
}

/** Of the kubelet, which would make them again. */
const KUBELETS = new Set([
  'KUBE-FIREWALL',
  'KUBE-KUBELET-CANARY',
  'KUBE-IPTABLES-HINT',
  'KUBE-MARK-DROP',
])
const NFT_TABLE = 'kube-proxy'

export async function findProxyRules(world: NetfilterWorld): Promise<ProxyFindings> {
  const unseen: string[] = []
  const found = [...findIpvs(world)]
  const look = async (run: () => Promise<readonly ProxyRules[]>): Promise<void> => {
    try {
      found.push(...(await run()))
    } catch (error) {
      unseen.push(error instanceof Error ? error.message : String(error))
    }
  }
  await look(async () => {
    const chains = await listChains(world, [NFT_TABLE, ...IPTABLES_TABLES])
    const counts = new Map<string, ProxyRules>()
    for (const { family, table, name } of chains) {
      const kind = table === NFT_TABLE ? 'nftables' : 'iptables-nft'
      if (kind === 'iptables-nft' && !isProxyChain(table, name)) continue
      const key = `${family} ${table}`
      const chains = (counts.get(key)?.chains ?? 0) + 1
      counts.set(key, { kind, family: family === 'ip' ? 4 : 6, table, chains })
    }
    return [...counts.values()]
  })
  for (const { family, program, names } of LEGACY) {
    for (const table of legacyTables(world, names)) {
      await look(async () => {
        const chains = await countLegacy(world, program, table, isProxyChain)
        return chains === 0 ? [] : [{ kind: 'iptables-legacy' as const, family, table, chains }]
      })
    }
  }
  return { found, unseen }
}

/**
 * Removes all that is found but IPVS; says what it was. What the kernel translates for connections that there are stays.
 * @throws Error with what a tool or the kernel refused; each tool's tables go whole or not at all
 */
export async function removeProxyRules(world: NetfilterWorld): Promise<ProxyFindings> {
  const { found, unseen } = await findProxyRules(world)
  const script: string[] = []
  const own = found.filter(({ kind }) => kind === 'nftables')
  if (own.length > 0) {
    // With the last chain of type nat the kernel would stop to translate, and with the last rule that asks for it to track
    // connections: those that there are would break.
    const chain = `inet ${NFT_NAT_TABLE} nat`
    script.push(`add table inet ${NFT_NAT_TABLE}`)
    script.push(`add chain ${chain} { type nat hook prerouting priority dstnat; }`)
    script.push(`flush chain ${chain}`, `add rule ${chain} ct state new accept`)
    script.push(...own.map(({ family }) => `delete table ${familyName(family)} ${NFT_TABLE}`))
  }
  if (found.some(({ kind }) => kind === 'iptables-nft'))
    script.push(...(await unlinkChains(world, isProxyChain)))
  if (script.length > 0) await world.run('nft', ['-f', '-'], `${script.join('\n')}\n`)
  for (const { family, program } of LEGACY) {
    const tables = found.filter((one) => one.kind === 'iptables-legacy' && one.family === family)
    for (const { table } of tables) {
      await removeLegacy(world, program, table, isProxyChain)
    }
  }
  return { found, unseen }
}

/** 'nftables table ip kube-proxy (614 chains)' */
export function formatProxyRules({ kind, family, table, chains }: ProxyRules): string {
  if (kind === 'ipvs') return `IPVS (${chains} virtual servers)`
  return `${kind} table ${familyName(family)} ${table} (${chains} chains)`
}

/** What iptables allows in names is wider; what goes into a script is not. */
export function isProxyChain(table: string, name: string): boolean {
  return IPTABLES_TABLES.includes(table) && /^KUBE-[\w-]+$/.test(name) && !KUBELETS.has(name)
}

function findIpvs({ procNet }: NetfilterWorld): ProxyRules[] {
  const servers = (procNet('ip_vs') ?? '').match(/^(?:TCP|UDP|SCTP) /gm)?.length ?? 0
  return servers === 0 ? [] : [{ kind: 'ipvs', family: 4, table: 'ip_vs', chains: servers }]
}

function familyName(family: 4 | 6): 'ip' | 'ip6' {
  return family === 4 ? 'ip' : 'ip6'
}
