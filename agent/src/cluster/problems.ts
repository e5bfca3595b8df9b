// Shows in health that some of the source could not be used: the rest applies, and somebody should look.
import type { Health } from '../runtime/health.ts'
import type { Table } from '../state/table.ts'
import type { ProblemRow } from './rows.ts'

const COMPONENT = 'source'

/** Not everything in a shared directory is for us, and a node may get its range later. */
const HARMLESS: ReadonlySet<ProblemRow['code']> = new Set(['unknown-kind', 'no-pod-cidrs'])

/** Follows until what it returns is called. */
export function followProblems(problems: Table<ProblemRow>, health: Health): () => void {
  const follow = (): void => {
    const bad = problems.values().filter(({ code }) => !HARMLESS.has(code))
    const [first] = bad
    if (first === undefined) {
      health.ok(COMPONENT)
      return
    }
    const others = bad.length > 1 ? ` (and ${bad.length - 1} more)` : ''
    health.degraded(COMPONENT, new Error(`${first.where}: ${first.message}${others}`))
  }
  follow()
  return problems.subscribe(follow)
}
