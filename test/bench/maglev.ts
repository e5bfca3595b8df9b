// Consistent hashing: whose entries move when one of many backends goes, how alike they share, and what a table costs to make.
import { buildTable, sizeFor, type TableBackend } from '@sinabro/agent/services/maglev/table.ts'
import type { Bench } from './bench.ts'
import { compare } from './row.ts'

const SIZES = [100, 1_000]
/** Each goes once, evenly over all: the mean and the worst of them. */
const REMOVALS = 20

const METRICS = Object.fromEntries(
  SIZES.flatMap((count) =>
    (
      [
        [`moved, mean, 1 of ${count}`, '% of others'],
        [`moved, worst, 1 of ${count}`, '% of others'],
        [`imbalance, ${count}`, '% above the mean'],
        [`build, ${count}`, 'ms'],
      ] as const
    ).map(([metric, unit]) => [metric, { unit, better: 'lower' }] as const),
  ),
)

export const maglev: Bench = {
  name: 'maglev',
  async run({ runs, say }) {
    for (const count of SIZES) say(`${count} backends: ${sizeFor(count)} entries`)
    const measure = async () => Object.assign({}, ...SIZES.map(figuresOf))
    return await compare('maglev', METRICS, { ours: { name: 'sinabro', measure } }, runs)
  },
}

function figuresOf(count: number): Record<string, number> {
  const all: TableBackend[] = Array.from({ length: count }, (_, n) => ({
    name: `10.244.${n >> 8}.${n & 255} 8080`,
  }))
  const startedAt = performance.now()
  const table = buildTable(all)
  const buildMs = performance.now() - startedAt
  const moved = Array.from({ length: REMOVALS }, (_, n) =>
    movedBy(all, table, Math.floor((n * count) / REMOVALS)),
  )
  const each = new Uint32Array(count)
  for (const index of table) each[index] = (each[index] ?? 0) + 1
  return {
    [`moved, mean, 1 of ${count}`]: (100 * moved.reduce((sum, one) => sum + one)) / moved.length,
    [`moved, worst, 1 of ${count}`]: 100 * Math.max(...moved),
    [`imbalance, ${count}`]: 100 * (Math.max(...each) / (table.length / count) - 1),
    [`build, ${count}`]: buildMs,
  }
}

/** Share of the entries of others that are another's once that one is gone. */
function movedBy(all: readonly TableBackend[], before: Uint32Array, gone: number): number {
  const left = all.filter((_, index) => index !== gone)
  const after = buildTable(left, before.length)
  let kept = 0
  let moved = 0
  for (const [at, index] of before.entries()) {
    if (index === gone) continue
    kept++
    if (left[after[at] ?? 0] !== all[index]) moved++
  }
  return moved / kept
}
