// Writes the rule set into nftables: one table of ours, replaced whole in one transaction, repaired when somebody changed it.
import type { Target } from '../state/target.ts'
import { type Nft, NftError } from './nft.ts'
import type { ActualRuleSet, RuleSet } from './rows.ts'
import { formatRemoval, formatRuleSet } from './ruleset.ts'

/** There is at most one row, so it needs no name of its own. */
const KEY = 'rules'

/**
 * nft prints sets merged and reordered, so wanted text and listed text do not compare. What was listed right after we wrote it does:
 * a later listing that differs was changed by somebody. After a restart the rules are written once more, which moves no
 * connection: the kernel keeps translations of flows, rules are for their first packets.
 */
export class MasqueradeTarget implements Target<RuleSet, ActualRuleSet> {
  readonly name = 'masquerade'
  readonly #table: string
  #written: { readonly wanted: string; readonly listed: string } | undefined

  readonly #nft: Nft

  constructor(table: string, nft: Nft) {
    this.#table = table
    this.#nft = nft
  }

  key(): string {
    return KEY
  }

  keyOf(): string {
    return KEY
  }

  isEqual(row: RuleSet, actual: ActualRuleSet): boolean {
    const wanted = formatRuleSet(this.#table, row)
    return this.#written?.wanted === wanted && this.#written.listed === actual.text
  }

  async list(signal: AbortSignal): Promise<readonly ActualRuleSet[]> {
    const tables = await listTables(this.#nft, signal)
    if (!hasTable(tables, this.#table)) return []
    return [{ text: await this.#listTable(signal) }]
  }

  async update(row: RuleSet, signal: AbortSignal): Promise<void> {
    const wanted = formatRuleSet(this.#table, row)
    await this.#nft(['-f', '-'], wanted, signal)
    this.#written = { wanted, listed: await this.#listTable(signal) }
  }

  async remove(_actual: ActualRuleSet, signal: AbortSignal): Promise<void> {
    await this.#nft(['-f', '-'], formatRemoval(this.#table), signal)
    this.#written = undefined
  }

  /** Without counters, which move by themselves. */
  #listTable(signal: AbortSignal): Promise<string> {
    return this.#nft(['-s', 'list', 'table', 'inet', this.#table], '', signal)
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
