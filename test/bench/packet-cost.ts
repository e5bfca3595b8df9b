// What our programs add to an established flow's packet on one node, summed over those it meets there, beside the empty program.
import { type Cost, measureCosts } from '../../bpf/tests/cost.ts'
import { costCases } from '../../bpf/tests/cost-cases.ts'
import type { Bench } from './bench.ts'
import { compare, median, type Side } from './row.ts'

const REPEAT = 100_000

export const packetCost = costBench('packet-cost', (repeat) => measureCosts(costCases, repeat))

/** A row for what `measured` has of each path and family. */
export function costBench(
  name: string,
  measured: (repeat: number) => Promise<readonly Cost[]>,
): Bench {
  return {
    name,
    async run({ runs, say }) {
      const lookups: number[] = []
      // Each measurement holds both sides, taken in turn: the second to ask gets what the first has measured.
      let pending: readonly Cost[] | undefined
      const side = (of: string, figures: (costs: readonly Cost[]) => Sums): Side => ({
        name: of,
        measure: async () => {
          const costs = pending ?? (await measured(REPEAT))
          pending = pending === undefined ? costs : undefined
          return figures(costs)
        },
      })
      const ours = side('sinabro', (costs) => {
        lookups.push(...costs.flatMap(({ lookupNs }) => lookupNs ?? []))
        return sumByPath(costs)
      })
      const empty = side('empty program', emptyByPath)
      const metrics = Object.fromEntries(
        Object.keys(sumByPath(await measured(1))).map((metric) => [
          metric,
          { unit: 'ns', better: 'lower' as const },
        ]),
      )
      const rows = await compare(name, metrics, { ours, peer: empty }, runs)
      say(
        `above the empty program; one hash lookup by a flow's key takes ${median(lookups)} ns here now`,
      )
      return rows
    },
  }
}

type Sums = Record<string, number>

/** By what the packet does on the node and its family. */
export function sumByPath(costs: readonly Cost[]): Sums {
  const sums: Sums = {}
  for (const cost of costs) sums[metricOf(cost)] = (sums[metricOf(cost)] ?? 0) + cost.ns
  return sums
}

export function emptyByPath(costs: readonly Cost[]): Sums {
  return Object.fromEntries(costs.map((cost) => [metricOf(cost), cost.emptyNs]))
}

function metricOf({ path, family }: Cost): string {
  return `${path}, IPv${family}`
}
