// What the agent tells of itself over the socket: shapes of the answers, and the routes that give them.
import type { RecordedCondition, RecordedEvent } from '../cluster/recorder.ts'
import type { FeatureView } from '../features/features.ts'
import type { Allocation } from '../ipam/allocation.ts'
import type { RangeUsage } from '../ipam/ipam.ts'
import type { Quarantined } from '../ipam/quarantine.ts'
import type { ComponentHealth, Health } from '../runtime/health.ts'
import type { Log } from '../runtime/log.ts'
import type { Metrics } from '../runtime/metrics.ts'
import type { Api } from './routes.ts'

export interface Status {
  readonly version: string
  readonly node: string
  readonly pid: number
  /** ISO 8601. */
  readonly startedAt: string
  readonly ready: boolean
  readonly healthy: boolean
  readonly source: string
  readonly nodeCount: number
  readonly podCount: number
  readonly ranges: readonly RangeUsage[]
  /** Facts that rooms add, in their words: how programs are attached, the MTU. */
  readonly facts: Readonly<Record<string, string>>
  /** What the kernel has, and what is done where it lacks something; an older agent does not say. */
  readonly features?: readonly FeatureView[]
  readonly components: readonly ComponentHealth[]
  /** As the cluster is told of this node. */
  readonly conditions: readonly RecordedCondition[]
  /** The latest last. */
  readonly events: readonly RecordedEvent[]
  /** What of the source, and which records on disk, could not be used. */
  readonly problems: readonly StatusProblem[]
}

export interface StatusProblem {
  readonly where: string
  readonly object?: string
  readonly message: string
}

export interface PodView {
  readonly namespace: string
  readonly name: string
  readonly addresses: readonly string[]
  readonly network: string
  readonly ifname: string
  readonly containerId: string
  readonly hostDevice: string
  readonly endpointId: number
  readonly incarnation: number
  readonly netns: string
  readonly createdAt: string
  /** What became of its wiring, if the agent has looked at it: pending, done or error. */
  readonly state?: string
  readonly message?: string
}

export interface StatusOptions {
  readonly api: Api
  readonly health: Health
  readonly metrics: Metrics
  readonly log: Log
  status(): Omit<Status, 'ready' | 'healthy' | 'components'>
  pods(): readonly PodView[]
}

export function registerStatus({ api, health, metrics, log, status, pods }: StatusOptions): void {
  const readHealth = (): Pick<Status, 'ready' | 'healthy' | 'components'> => {
    const { isReady, isHealthy, components } = health.snapshot()
    return { ready: isReady, healthy: isHealthy, components }
  }
  api.route('GET', '/v1/status', () => ({
    status: 200,
    body: { ...status(), ...readHealth() } satisfies Status,
  }))
  api.route('GET', '/v1/pods', () => ({ status: 200, body: { pods: pods() } }))
  api.route('GET', '/v1/health', () => ({ status: 200, body: readHealth() }))
  registerProbes({ api, health, metrics, log }, '/v1')
}

export type ProbeOptions = Pick<StatusOptions, 'api' | 'health' | 'metrics' | 'log'>

/** For probes and Prometheus: alive is who answers; ready is who has finished the first pass of everything, whatever degraded later. */
export function registerProbes({ api, health, metrics, log }: ProbeOptions, prefix: string): void {
  api.route('GET', `${prefix}/healthz`, () => text(200, 'ok'))
  api.route('GET', `${prefix}/readyz`, () => {
    const { isReady, components } = health.snapshot()
    const waiting = components.filter(({ state }) => state === 'starting')
    const reasons = waiting.map(({ component, message }) => `${component}: ${message}`)
    return isReady ? text(200, 'ok') : text(503, reasons.join('\n'))
  })
  api.route('GET', `${prefix}/metrics`, async () => ({
    status: 200,
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    body: await metrics.text((name, error) => log.warn({ name, error }, 'metric not readable')),
  }))
}

export function viewPod(allocation: Allocation): PodView {
  const { key, podNamespace, podName, addresses, hostDevice } = allocation
  const { endpointId, incarnation, netns, createdAt } = allocation
  return {
    namespace: podNamespace ?? '',
    name: podName ?? '',
    addresses,
    ...key,
    hostDevice,
    endpointId,
    incarnation,
    netns,
    createdAt,
  }
}

export function viewQuarantined({ file, reason, addresses }: Quarantined): StatusProblem {
  const kept = addresses.length === 0 ? '' : `; kept out of use: ${addresses.join(', ')}`
  return { where: `quarantine/${file}`, message: `record set aside: ${reason}${kept}` }
}

function text(status: number, body: string): { status: number; body: string; contentType: string } {
  return { status, body: `${body}\n`, contentType: 'text/plain; charset=utf-8' }
}
