// What masquerading adds to an established flow's packet on the node, beside a packet between pods of two nodes in the same build.
import { type Cost, measureCosts } from '../../bpf/tests/cost.ts'
import { costCases } from '../../bpf/tests/cost-cases.ts'
import type { Bench } from './bench.ts'
import { sumByPath } from './packet-cost.ts'
import { compare, type Side } from './row.ts'

const REPEAT = 100_000

/** By what a packet of a masqueraded flow does: the like of it between pods of two nodes. */
export const PEERS = {
  'pod to outside, masqueraded': 'pod to another node',
  'outside to pod, masqueraded': 'another node to pod',
} as const

export const masqueradeCost: Bench = {
  name: 'masquerade-cost',
  async run({ runs, say }) {
    const paths = [...Object.keys(PEERS), ...Object.values(PEERS)]
    const cases = costCases.filter(({ path }) => paths.includes(path))
    const measured = (repeat: number): Promise<Cost[]> => measureCosts(cases, repeat)
    // Each measurement holds both sides, taken in turn: the second to ask gets what the first has measured.
    let pending: readonly Cost[] | undefined
    const side = (name: string, figures: (sums: Sums) => Sums): Side => ({
      name,
      measure: async () => {
        const costs = pending ?? (await measured(REPEAT))
        pending = pending === undefined ? costs : undefined
        return figures(sumByPath(costs))
      },
    })
    const metrics = Object.fromEntries(
      Object.keys(ours(sumByPath(await measured(1)))).map((metric) => [
        metric,
        { unit: 'ns', better: 'lower' as const },
      ]),
    )
    say('above the empty program; goals: 160 ns, and 40 more than the peer')
    return await compare(
      'masquerade-cost',
      metrics,
      { ours: side('masqueraded', ours), peer: side('between pods of two nodes', peers) },
      runs,
    )
  },
}

type Sums = Readonly<Record<string, number>>

export function ours(sums: Sums): Sums {
  return Object.fromEntries(Object.entries(sums).filter(([metric]) => pathOf(metric) in PEERS))
}

/** Under the names of what they are compared with. */
export function peers(sums: Sums): Sums {
  return Object.fromEntries(
    Object.keys(ours(sums)).map((metric) => {
      const path = pathOf(metric)
      const peer = PEERS[path as keyof typeof PEERS]
      return [metric, sums[metric.replace(path, peer)] ?? Number.NaN]
    }),
  )
}

function pathOf(metric: string): string {
  return metric.replace(/, IPv[46]$/, '')
}
