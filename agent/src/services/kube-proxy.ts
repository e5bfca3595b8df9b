// The rules that kube-proxy has left in a node's kernel: found in each of its modes, and removed as `kube-proxy --cleanup` does.
import { NFT_NAT_TABLE } from '../marks.ts'

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

export interface ProxyWorld {
  /** Runs it in the node's namespace. @throws Error if it is missing or fails */
  run(program: string, args: readonly string[], script?: string): Promise<string>
  /** A file of /proc/net; undefined when there is none. */
  procNet(name: string): string | undefined
}

/** Of the kubelet, which would make them again. */
const KUBELETS = new Set([
  'KUBE-FIREWALL',
  'KUBE-KUBELET-CANARY',
  'KUBE-IPTABLES-HINT',
  'KUBE-MARK-DROP',
])
const IPTABLES_TABLES = ['filter', 'nat', 'mangle']
const NFT_TABLE = 'kube-proxy'
const LEGACY = [
  { family: 4, program: 'iptables-legacy', names: 'ip_tables_names' },
  { family: 6, program: 'ip6tables-legacy', names: 'ip6_tables_names' },
] as const

interface Chain {
  readonly family: 'ip' | 'ip6'
  readonly table: string
  readonly name: string
  readonly hook?: string
}

export async function findProxyRules(world: ProxyWorld): Promise<ProxyFindings> {
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
    const chains = await listChains(world)
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
        const chains = parseSaved(await world.run(`${program}-save`, ['-t', table])).chains.length
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
export async function removeProxyRules(world: ProxyWorld): Promise<ProxyFindings> {
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
  if (found.some(({ kind }) => kind === 'iptables-nft')) script.push(...(await unlinkChains(world)))
  if (script.length > 0) await world.run('nft', ['-f', '-'], `${script.join('\n')}\n`)
  for (const { family, program } of LEGACY) {
    const tables = found.filter((one) => one.kind === 'iptables-legacy' && one.family === family)
    for (const { table } of tables) {
      const saved = parseSaved(await world.run(`${program}-save`, ['-t', table]))
      const restore = formatRemoval(table, saved)
      await world.run(`${program}-restore`, ['--noflush'], restore)
    }
  }
  return { found, unseen }
}

/** 'nftables table ip kube-proxy (614 chains)' */
export function formatProxyRules({ kind, family, table, chains }: ProxyRules): string {
  if (kind === 'ipvs') return `IPVS (${chains} virtual servers)`
  return `${kind} table ${familyName(family)} ${table} (${chains} chains)`
}

/** Jumps of the chains at hooks first, then what the chains say, then the chains: as one transaction. */
async function unlinkChains(world: ProxyWorld): Promise<string[]> {
  const chains = await listChains(world)
  const ours = chains.filter(({ table, name }) => table !== NFT_TABLE && isProxyChain(table, name))
  const places = new Set(ours.map(({ family, table }) => `${family} ${table}`))
  const lines: string[] = []
  for (const { family, table, name, hook } of chains) {
    if (hook === undefined || !places.has(`${family} ${table}`)) continue
    const rules = parseNft(await world.run('nft', ['-j', 'list', 'chain', family, table, name]))
    for (const { rule } of rules) {
      const isJump = rule?.expr.some((one) => isProxyChain(table, targetOf(one)))
      if (isJump) lines.push(`delete rule ${family} ${table} ${name} handle ${rule?.handle}`)
    }
  }
  const texts = ours.map(({ family, table, name }) => `chain ${family} ${table} ${name}`)
  return [...lines, ...texts.map((one) => `flush ${one}`), ...texts.map((one) => `delete ${one}`)]
}

interface NftEntry {
  readonly chain?: Chain
  readonly rule?: { readonly handle: number; readonly expr: readonly unknown[] }
}

function parseNft(text: string): readonly NftEntry[] {
  return (JSON.parse(text) as { readonly nftables: readonly NftEntry[] }).nftables
}

/** Of the tables that kube-proxy writes to. */
async function listChains({ run }: ProxyWorld): Promise<Chain[]> {
  const tables = new Set([NFT_TABLE, ...IPTABLES_TABLES])
  const entries = parseNft(await run('nft', ['-j', 'list', 'chains']))
  return entries.flatMap(({ chain }) => {
    if (chain === undefined || !tables.has(chain.table)) return []
    return chain.family === 'ip' || chain.family === 'ip6' ? [chain] : []
  })
}

function targetOf(expression: unknown): string {
  if (typeof expression !== 'object' || expression === null) return ''
  const { jump, goto } = expression as { jump?: { target: string }; goto?: { target: string } }
  return jump?.target ?? goto?.target ?? ''
}

/** What iptables allows in names is wider; what goes into a script is not. */
function isProxyChain(table: string, name: string): boolean {
  return IPTABLES_TABLES.includes(table) && /^KUBE-[\w-]+$/.test(name) && !KUBELETS.has(name)
}

interface Saved {
  readonly chains: readonly string[]
  /** Of other chains, as `iptables-save` writes them, that lead into those. */
  readonly jumps: readonly string[]
}

/** Of what `iptables-save -t TABLE` prints. */
export function parseSaved(text: string): Saved {
  const lines = text.split('\n')
  const [, table = ''] = /^\*(\w+)$/m.exec(text) ?? []
  const chains = lines.flatMap((line) => {
    const [, name = ''] = /^:(\S+) /.exec(line) ?? []
    return isProxyChain(table, name) ? [name] : []
  })
  const isOurs = new Set(chains)
  const jumps = lines.filter((line) => {
    const bare = line.replace(/"(?:[^"\\]|\\.)*"/g, '')
    const [, from = ''] = /^-A (\S+) /.exec(bare) ?? []
    const [, to = ''] = / -[jg] (\S+)/.exec(bare) ?? []
    return from !== '' && !isOurs.has(from) && isOurs.has(to)
  })
  return { chains, jumps }
}

/** For `iptables-restore --noflush`, to which naming a chain means to empty it. */
function formatRemoval(table: string, { chains, jumps }: Saved): string {
  return [
    `*${table}`,
    ...chains.map((name) => `:${name} - [0:0]`),
    ...jumps.map((line) => line.replace(/^-A/, '-D')),
    ...chains.map((name) => `-X ${name}`),
    'COMMIT',
    '',
  ].join('\n')
}

/** Asking for a table of the old iptables would make it: only those that are there. */
function legacyTables({ procNet }: ProxyWorld, names: string): string[] {
  const there = (procNet(names) ?? '').split('\n')
  return IPTABLES_TABLES.filter((table) => there.includes(table))
}

function findIpvs({ procNet }: ProxyWorld): ProxyRules[] {
  const servers = (procNet('ip_vs') ?? '').match(/^(?:TCP|UDP|SCTP) /gm)?.length ?? 0
  return servers === 0 ? [] : [{ kind: 'ipvs', family: 4, table: 'ip_vs', chains: servers }]
}

function familyName(family: 4 | 6): 'ip' | 'ip6' {
  return family === 4 ? 'ip' : 'ip6'
}
