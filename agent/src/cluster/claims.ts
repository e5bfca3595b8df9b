// Which node keeps a pod range that two of them claim, and what is said of the other; whatever source the nodes come from.
import { findOverlaps } from './overlap.ts'
import type { NodeRow, ProblemRow } from './rows.ts'

/** A node and the place it was read from. */
export interface Claimant {
  readonly row: NodeRow
  readonly where: string
}

/** `nodes` in the order that decides who wins: the first of two with one range keeps it. */
export function withoutOverlaps(nodes: readonly Claimant[], problems: ProblemRow[]): NodeRow[] {
  const claims = nodes.flatMap(({ row }) =>
    row.podCIDRs.map((range) => ({ owner: row.name, range })),
  )
  const refused = new Map(findOverlaps(claims).map((overlap) => [overlap.refused, overlap.holder]))
  let next = 0
  return nodes.map(({ row, where }) => {
    const own = claims.slice(next, next + row.podCIDRs.length)
    next += own.length
    for (const claim of own) {
      const holder = refused.get(claim)
      if (holder === undefined) continue
      const message = `podCIDR ${claim.range} overlaps ${holder.range} of Node/${holder.owner}, which keeps it`
      problems.push(problem('overlap', where, message, `Node/${row.name}`))
    }
    if (own.length === 0) {
      const message = 'spec.podCIDRs is empty: this node can run no pods of the pod network'
      problems.push(problem('no-pod-cidrs', where, message, `Node/${row.name}`))
    }
    const podCIDRs = own.filter((claim) => !refused.has(claim)).map(({ range }) => range)
    return podCIDRs.length === own.length ? row : { ...row, podCIDRs }
  })
}

export function problem(
  code: ProblemRow['code'],
  where: string,
  message: string,
  object?: string,
): ProblemRow {
  return {
    key: `${where} ${code}`,
    code,
    where,
    message,
    ...(object === undefined ? {} : { object }),
  }
}

/** Two problems of one kind at one place keep apart. */
export function numbered(problems: readonly ProblemRow[]): ProblemRow[] {
  const seen = new Map<string, number>()
  return problems.map((row) => {
    const count = (seen.get(row.key) ?? 0) + 1
    seen.set(row.key, count)
    return count === 1 ? row : { ...row, key: `${row.key} ${count}` }
  })
}
