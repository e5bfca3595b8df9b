// The room's door: keeps the rule set in step with the nodes; when switched off it runs once, to take old rules away.
import type { NodeRow } from '../cluster/rows.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Health } from '../runtime/health.ts'
import type { Log } from '../runtime/log.ts'
import { Reconciler } from '../state/reconcile.ts'
import type { Table } from '../state/table.ts'
import { computeRuleSet, type MasqueradeSettings } from './compute.ts'
import { createNft } from './nft.ts'
import type { ActualRuleSet, RuleSet } from './rows.ts'
import { MasqueradeTarget } from './target.ts'

export interface MasqueradeOptions extends MasqueradeSettings {
  readonly mode: 'nftables' | 'none'
  /** Name of our table in family inet. */
  readonly table: string
  readonly nodes: Table<NodeRow>
  readonly log: Log
  readonly clock: Clock
  readonly health: Health
}

export function createMasquerade(options: MasqueradeOptions): Reconciler<RuleSet, ActualRuleSet> {
  const { mode, nodes, table, log, clock, health } = options
  return new Reconciler({
    target: new MasqueradeTarget(table, createNft()),
    desired: () => {
      const rules = mode === 'none' ? undefined : computeRuleSet(nodes.values(), options)
      return rules === undefined ? [] : [rules]
    },
    sources: [nodes],
    log,
    clock,
    health,
  })
}
