// Chains that others have left in the tables of iptables, on nftables or the old ones: found by name, and removed with what leads to them.

export interface NetfilterWorld {
  /** Runs it in the node's namespace. @throws Error if it is missing or fails */
  run(program: string, args: readonly string[], script?: string): Promise<string>
  /** A file of /proc/net; undefined when there is none. */
  procNet(name: string): string | undefined
}

export type IsOurs = (table: string, chain: string) => boolean

export interface Chain {
  readonly family: 'ip' | 'ip6'
  readonly table: string
  readonly name: string
  readonly hook?: string
}

export const IPTABLES_TABLES: readonly string[] = ['filter', 'nat', 'mangle']

/** The old ones, each with the file that says which tables there are. */
export const LEGACY = [
  { family: 4, program: 'iptables-legacy', names: 'ip_tables_names' },
  { family: 6, program: 'ip6tables-legacy', names: 'ip6_tables_names' },
] as const

/** Of these tables of families ip and ip6. */
export async function listChains(
  { run }: NetfilterWorld,
  tables: readonly string[],
): Promise<Chain[]> {
  const entries = parseNft(await run('nft', ['-j', 'list', 'chains']))
  return entries.flatMap(({ chain }) => {
    if (chain === undefined || !tables.includes(chain.table)) return []
    return chain.family === 'ip' || chain.family === 'ip6' ? [chain] : []
  })
}

/**
 * Script for nft: jumps of the chains at hooks, and of those named, then what the chains say, then the chains. What goes into it are names that
 * `isOurs` has judged.
 */
export async function unlinkChains(
  world: NetfilterWorld,
  isOurs: IsOurs,
  parents: readonly string[] = [],
): Promise<string[]> {
  const chains = await listChains(world, IPTABLES_TABLES)
  const ours = chains.filter(({ table, name }) => isOurs(table, name))
  const places = new Set(ours.map(({ family, table }) => `${family} ${table}`))
  const lines: string[] = []
  for (const { family, table, name, hook } of chains) {
    if (!places.has(`${family} ${table}`) || isOurs(table, name)) continue
    if (hook === undefined && !parents.includes(name)) continue
    const rules = parseNft(await world.run('nft', ['-j', 'list', 'chain', family, table, name]))
    for (const { rule } of rules) {
      const isJump = rule?.expr.some((one) => isOurs(table, targetOf(one)))
      if (isJump) lines.push(`delete rule ${family} ${table} ${name} handle ${rule?.handle}`)
    }
  }
  const texts = ours.map(({ family, table, name }) => `chain ${family} ${table} ${name}`)
  return [...lines, ...texts.map((one) => `flush ${one}`), ...texts.map((one) => `delete ${one}`)]
}

/** Asking for a table of the old iptables would make it: only those that are there. */
export function legacyTables({ procNet }: NetfilterWorld, names: string): string[] {
  const there = (procNet(names) ?? '').split('\n')
  return IPTABLES_TABLES.filter((table) => there.includes(table))
}

/** How many chains of the table are ours. */
export async function countLegacy(
  { run }: NetfilterWorld,
  program: string,
  table: string,
  isOurs: IsOurs,
): Promise<number> {
  return parseSaved(await run(`${program}-save`, ['-t', table]), isOurs).chains.length
}

export async function removeLegacy(
  { run }: NetfilterWorld,
  program: string,
  table: string,
  isOurs: IsOurs,
): Promise<void> {
  const saved = parseSaved(await run(`${program}-save`, ['-t', table]), isOurs)
  if (saved.chains.length === 0) return
  await run(`${program}-restore`, ['--noflush'], formatRemoval(table, saved))
}

interface Saved {
  readonly chains: readonly string[]
  /** Of other chains, as `iptables-save` writes them, that lead into those. */
  readonly jumps: readonly string[]
}

/** Of what `iptables-save -t TABLE` prints. */
export function parseSaved(text: string, isOurs: IsOurs): Saved {
  const lines = text.split('\n')
  const [, table = ''] = /^\*(\w+)$/m.exec(text) ?? []
  const chains = lines.flatMap((line) => {
    const [, name = ''] = /^:(\S+) /.exec(line) ?? []
    return isOurs(table, name) ? [name] : []
  })
  const ours = new Set(chains)
  const jumps = lines.filter((line) => {
    const bare = line.replace(/"(?:[^"\\]|\\.)*"/g, '')
    const [, from = ''] = /^-A (\S+) /.exec(bare) ?? []
    const [, to = ''] = / -[jg] (\S+)/.exec(bare) ?? []
    return from !== '' && !ours.has(from) && ours.has(to)
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

interface NftEntry {
  readonly chain?: Chain
  readonly rule?: { readonly handle: number; readonly expr: readonly unknown[] }
}

function parseNft(text: string): readonly NftEntry[] {
  return (JSON.parse(text) as { readonly nftables: readonly NftEntry[] }).nftables
}

function targetOf(expression: unknown): string {
  if (typeof expression !== 'object' || expression === null) return ''
  const { jump, goto } = expression as { jump?: { target: string }; goto?: { target: string } }
  return jump?.target ?? goto?.target ?? ''
}
