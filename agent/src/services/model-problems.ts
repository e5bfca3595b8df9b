// What is said of a Service whose addresses or endpoints were refused: a problem as long as it lasts, and an event when it begins.
import { problem } from '../cluster/claims.ts'
import type { EndpointSliceRow, ProblemRow, Protocol } from '../cluster/rows.ts'
import type { ClusterEvent } from '../cluster/sink.ts'
import type { Frontend } from './rows.ts'

export type Refusal = {
  readonly frontend: Frontend
  readonly protocol: Protocol
} & (
  | { readonly reason: string }
  /** Key of the Service that has it. */
  | { readonly holder: string }
)

/** Of addresses that are named one by one. */
const MOST_NAMED = 5

/** @param key of the Service; `unread`: what of its addresses is none, in words */
export function computeProblems(
  key: string,
  unread: readonly string[],
  refusals: Iterable<Refusal>,
  slices: readonly EndpointSliceRow[],
): ProblemRow[] {
  const where = `Service/${key}`
  // One for all of them: there may be tens of thousands, and each problem is an event.
  const texts = { refused: new Set<string>(unread), taken: new Set<string>() }
  for (const refusal of refusals) {
    texts['reason' in refusal ? 'refused' : 'taken'].add(textOf(refusal))
  }
  const found: ProblemRow[] = []
  for (const code of ['refused', 'taken'] as const) {
    if (texts[code].size === 0) continue
    found.push(problem(code, where, listed([...texts[code]], '; '), where))
  }
  for (const { namespace, name, refused } of slices) {
    if (refused === undefined) continue
    const slice = `EndpointSlice/${namespace}/${name}`
    const message = `endpoints ${listed(refused, ', ')} are left out: no packet may be sent there in a Service's name, or not in this family`
    found.push(problem('refused', slice, message, slice))
  }
  return found
}

/** @param excess what it has too much of, and how many it may have */
export function problemOfExcess(key: string, excess: string): ProblemRow {
  const where = `Service/${key}`
  const message = `it is not served: it asks for more than ${excess}; make several Services of it`
  return problem('excess', where, message, where)
}

/** @param shortage why it has no tables, in words */
export function problemOfTables(key: string, shortage: string): ProblemRow {
  const where = `Service/${key}`
  const message = `its backends are chosen by chance: ${shortage}`
  return problem('tables', where, message, where)
}

export function eventOf(key: string, { code, where, message }: ProblemRow): ClusterEvent {
  const [namespace = '', name = ''] = key.split('/')
  const about = { kind: 'Service', namespace, name } as const
  return { type: 'Warning', reason: reasonOf(code, where), message, about }
}

function reasonOf(code: ProblemRow['code'], where: string): string {
  if (code === 'excess') return 'TooLarge'
  if (code === 'taken') return 'AddressTaken'
  if (code === 'tables') return 'NoRoomForTables'
  return where.startsWith('EndpointSlice/') ? 'EndpointRefused' : 'AddressRefused'
}

function textOf(refusal: Refusal): string {
  const { frontend, protocol } = refusal
  const { kind, address, port } = frontend
  if ('reason' in refusal) return `${kind} ${address} is not served: ${refusal.reason}`
  const where = `port ${port}/${protocol}`
  const what = kind === 'NodePort' ? `node ${where}` : `${kind} ${address} ${where}`
  return `${what} is not served: Service ${refusal.holder} has it`
}

function listed(texts: readonly string[], separator: string): string {
  const named = texts.slice(0, MOST_NAMED).join(separator)
  const left = texts.length - MOST_NAMED
  return left > 0 ? `${named} and ${left} more` : named
}
