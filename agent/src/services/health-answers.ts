// What kube-proxy answers to load balancers that ask whether this node serves, in its words: pure.
import type { ServiceRows } from './rows.ts'

/** How far the maps are behind what the cluster wants. */
export interface Sync {
  /** How long the oldest change has waited to be written; absent: all are. */
  readonly waitingMs?: number
  /** When the latest was written, milliseconds since 1970. */
  readonly lastAt?: number
}

export interface HealthAnswer {
  readonly status: 200 | 503
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Longer than this a change must not wait: twice the sync period of kube-proxy. */
const LATE_MS = 60_000

export function isInTime({ waitingMs = 0 }: Sync): boolean {
  return waitingMs < LATE_MS
}

/** `/healthz`: 503 also when the node is about to leave, so that nothing new comes while what runs goes on. */
export function answerHealthz(sync: Sync, isLeaving: boolean, now: number): HealthAnswer {
  const isHealthy = isInTime(sync) && !isLeaving
  return answer(isHealthy, `{${times(sync, isHealthy, now)}, "nodeEligible": ${!isLeaving}}`)
}

/** `/livez`: about this program alone. */
export function answerLivez(sync: Sync, now: number): HealthAnswer {
  const isHealthy = isInTime(sync)
  return answer(isHealthy, `{${times(sync, isHealthy, now)}}`)
}

/**
 * Of a Service with `externalTrafficPolicy: Local`: whether this node has an endpoint of it that may be asked. Those that only finish
 * what they have do not count (KEP-1669), nor does it matter whether the node is about to leave (ADR 0088).
 */
export function answerService(
  name: string,
  row: ServiceRows | undefined,
  sync: Sync,
): HealthAnswer {
  return answerEndpoints(name, countLocal(row), sync)
}

/** The same, where only their number is known. */
export function answerEndpoints(name: string, localEndpoints: number, sync: Sync): HealthAnswer {
  const serviceProxyHealthy = isInTime(sync)
  const [namespace = '', service = ''] = name.split('/')
  const body = JSON.stringify({
    service: { namespace, name: service },
    localEndpoints,
    serviceProxyHealthy,
  })
  const { status, headers } = answer(localEndpoints > 0 && serviceProxyHealthy, '')
  const weight = { 'x-load-balancing-endpoint-weight': String(localEndpoints) }
  return { status, headers: { ...headers, ...weight }, body }
}

/** Each once, though it may serve several ports. */
export function countLocal(row: ServiceRows | undefined): number {
  const backends = (row?.ports ?? [])
    .filter(({ isExternalLocal }) => isExternalLocal)
    .flatMap(({ external }) => external)
    .filter(({ isOnThisNode, isTerminating }) => isOnThisNode && !isTerminating)
  return new Set(backends.map(({ pod, address }) => pod ?? address)).size
}

/** While all is well the time of the last update is now, as it always was there. */
function times({ lastAt }: Sync, isHealthy: boolean, now: number): string {
  const updated = formatTime(isHealthy ? now : lastAt)
  return `"lastUpdated": "${updated}","currentTime": "${formatTime(now)}"`
}

/** As Go writes times; its zero is the year 1. */
function formatTime(at: number | undefined): string {
  if (at === undefined) return '0001-01-01 00:00:00 +0000 UTC'
  return `${new Date(at).toISOString().replace('T', ' ').replace('Z', '')} +0000 UTC`
}

function answer(isHealthy: boolean, body: string): HealthAnswer {
  return {
    status: isHealthy ? 200 : 503,
    headers: { 'content-type': 'application/json', 'x-content-type-options': 'nosniff' },
    body,
  }
}
