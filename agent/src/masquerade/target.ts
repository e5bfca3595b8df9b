// A table of rules in nftables, ours whole: replaced in one transaction, repaired when somebody changed it; and that of masquerading.
import type { Target } from '../state/target.ts'
import { type Nft, NftError } from './nft.ts'
import type { ActualRuleSet, RuleSet } from './rows.ts'
import { formatRemoval, formatRuleSet } from './ruleset.ts'

/** There is at most one row, so it needs no name of its own. */
const KEY = 'rules'

export interface NftTableOptions<Rules> {
  /** Of the target. */
  readonly name: string
  /** In family inet. */
  readonly table: string
  readonly nft: Nft
  /** A script that makes the table exactly this. */
  format(table: string, rules: Rules): string
}

/**
 * nft prints sets merged and reordered, so wanted text and listed text do not compare. What was listed right after we wrote it does:
 * a later listing that differs was changed by somebody. After a restart the rules are written once more, which moves no
 * connection: the kernel keeps translations of flows, rules are for their first packets.
 */
export class NftTableTarget<Rules> implements Target<Rules, ActualRuleSet> {
  readonly name: string
  readonly #options: NftTableOptions<Rules>
  #written: { readonly wanted: string; readonly listed: string } | undefined

  constructor(options: NftTableOptions<Rules>) {
    this.name = options.name
    this.#options = options
  }

  key(): string {
    return KEY
  }

  keyOf(): string {
    return KEY
  }

  isEqual(row: Rules, actual: ActualRuleSet): boolean {
    const wanted = this.#options.format(this.#options.table, row)
    return this.#written?.wanted === wanted && this.#written.listed === actual.text
  }

  async list(signal: AbortSignal): Promise<readonly ActualRuleSet[]> {
    const { nft, table } = this.#options
    const tables = await listTables(nft, signal)
    if (!hasTable(tables, table)) return []
    return [{ text: await this.#listTable(signal) }]
  }

  async update(row: Rules, signal: AbortSignal): Promise<void> {
    const { nft, table, format } = this.#options
    const wanted = format(table, row)
    await nft(['-f', '-'], wanted, signal)
    this.#written = { wanted, listed: await this.#listTable(signal) }
  }

  async remove(_actual: ActualRuleSet, signal: AbortSignal): Promise<void> {
    const { nft, table } = this.#options
    await nft(['-f', '-'], formatRemoval(table), signal)
    this.#written = undefined
  }

  /** Without counters, which move by themselves. */
  #listTable(signal: AbortSignal): Promise<string> {
    const { nft, table } = this.#options
    return nft(['-s', 'list', 'table', 'inet', table], '', signal)
  }
}

export class MasqueradeTarget extends NftTableTarget<RuleSet> {
  constructor(table: string, nft: Nft) {
    super({ name: 'masquerade', table, nft, format: formatRuleSet })
  }
}

/** For `uninstall`, with or without an agent; says whether there were any. A machine without nft has no rules of ours. */
export async function removeRules(table: string, nft: Nft, signal: AbortSignal): Promise<boolean> {
  if (!hasTable(await listTables(nft, signal), table)) return false
  await nft(['-f', '-'], formatRemoval(table), signal)
  return true
}

/** Without nft there is nothing of ours, and a rule set to write says so when it is tried. */
async function listTables(nft: Nft, signal: AbortSignal): Promise<string> {
  try {
    return await nft(['-j', 'list', 'tables', 'inet'], '', signal)
  } catch (error) {
    if (error instanceof NftError && error.code === 'missing') return '{}'
    throw error
  }
}

function hasTable(json: string, name: string): boolean {
  const listed = JSON.parse(json) as { nftables?: readonly { table?: { name?: string } }[] }
  return (listed.nftables ?? []).some((entry) => entry.table?.name === name)
}
