// What is said of a Service whose addresses or endpoints were refused: a problem as long as it lasts, and an event when it begins.
import { problem } from '../cluster/claims.ts'
import type { EndpointSliceRow, ProblemRow, Protocol } from '../cluster/rows.ts'
import type { ClusterEvent } from '../cluster/sink.ts'
import { MOST_OF_SERVICE } from './model-bounds.ts'
import type { Frontend } from './rows.ts'

export type Refusal = {
  readonly frontend: Frontend
  readonly protocol: Protocol
} & (
  | { readonly reason: string }
  /** Key of the Service that has it. */
  | { readonly holder: string }
)

/** Of endpoints that are named one by one. */
const MOST_NAMED = 5

/** @param key of the Service */
export function computeProblems(
  key: string,
  refusals: Iterable<Refusal>,
  slices: readonly EndpointSliceRow[],
): ProblemRow[] {
  const found = new Map<string, ProblemRow>()
  for (const refusal of refusals) {
    const one = problemOf(`Service/${key}`, refusal)
    found.set(one.key, one)
  }
  for (const { namespace, name, refused } of slices) {
    if (refused === undefined) continue
    const where = `EndpointSlice/${namespace}/${name}`
    const message = `endpoints ${listed(refused)} are left out: no packet may be sent there in a Service's name, or not in this family`
    found.set(where, { ...problem('refused', where, message, where), key: where })
  }
  return [...found.values()]
}

/** @param excess what it has too much of */
export function problemOfExcess(key: string, excess: string): ProblemRow {
  const where = `Service/${key}`
  const message = `it is not served: it asks for more than ${MOST_OF_SERVICE} ${excess}; make several Services of it`
  return { ...problem('excess', where, message, where), key: `${where} excess` }
}

export function eventOf(key: string, { code, where, message }: ProblemRow): ClusterEvent {
  const [namespace = '', name = ''] = key.split('/')
  const about = { kind: 'Service', namespace, name } as const
  return { type: 'Warning', reason: reasonOf(code, where), message, about }
}

function reasonOf(code: ProblemRow['code'], where: string): string {
  if (code === 'excess') return 'TooLarge'
  if (code === 'taken') return 'AddressTaken'
  return where.startsWith('EndpointSlice/') ? 'EndpointRefused' : 'AddressRefused'
}

function problemOf(where: string, refusal: Refusal): ProblemRow {
  const { frontend, protocol } = refusal
  const { kind, address, port } = frontend
  if ('reason' in refusal) {
    const message = `${kind} ${address} is not served: ${refusal.reason}`
    return { ...problem('refused', where, message, where), key: `${where} ${address}` }
  }
  const what =
    kind === 'NodePort' ? `node port ${port}/${protocol}` : `${address} port ${port}/${protocol}`
  const message = `${kind === 'NodePort' ? what : `${kind} ${what}`} is not served: Service ${refusal.holder} has it`
  return { ...problem('taken', where, message, where), key: `${where} ${what}` }
}

function listed(addresses: readonly string[]): string {
  const named = addresses.slice(0, MOST_NAMED).join(', ')
  const left = addresses.length - MOST_NAMED
  return left > 0 ? `${named} and ${left} more` : named
}
