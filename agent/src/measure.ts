// What is measured: the metrics of all rooms, in one place, so that the page that lists them can be held against it (docs/metrics.md).
import { agentPaths } from '@sinabro/cni/wire'
import type { Answered } from './api/server.ts'
import type { Traffic } from './cluster/kubernetes/traffic.ts'
import type { Recorder } from './cluster/recorder.ts'
import type { Datapath } from './datapath/datapath.ts'
import type { Masquerade } from './masquerade/masquerade.ts'
import type { PoolUse } from './masquerade/pools.ts'
import { countFree } from './masquerade/ports.ts'
import { Histogram } from './runtime/histogram.ts'
import type { Metrics, Sample } from './runtime/metrics.ts'
import type { Services } from './services/services.ts'
import type { RowStatus } from './state/row-status.ts'
import { PROTOCOLS } from './tell/flows.ts'
import type { Rooms } from './tell/rooms.ts'

export interface Measured extends Pick<Rooms, 'ipam' | 'cluster'> {
  readonly masquerade: Pick<Masquerade, 'pools' | 'state'>
  readonly services: Pick<Services, 'state' | 'lag' | 'latency' | 'tables'>
  readonly datapath: Pick<Datapath, 'counters' | 'lastSweep' | 'maps'>
  readonly recorder: Pick<Recorder, 'totals' | 'conditions'>
  readonly calls: CniCalls
  /** Only where the source is an API server. */
  readonly traffic?: Traffic
  /** By reconciler. */
  rowStatuses(): ReadonlyMap<string, readonly RowStatus[]>
}

/** How long the runtime's calls took, and how they ended. */
export class CniCalls {
  readonly durations = new Histogram()

  /** Hand it to the server; what is no call of the runtime is passed over. */
  readonly onAnswered = ({ path, status, body, tookMs }: Answered): void => {
    const verb = VERBS.get(path ?? '')
    if (verb === undefined) return
    const code = status === 200 ? '0' : cniCodeOf(body)
    this.durations.observe({ verb, code }, tookMs / 1000)
  }
}

const VERBS = new Map(Object.entries(agentPaths).map(([verb, path]) => [path as string, verb]))

function cniCodeOf(body: unknown): string {
  const code = typeof body === 'object' && body !== null && 'code' in body ? body.code : undefined
  return typeof code === 'number' ? String(code) : 'unknown'
}

export function addRoomMetrics(metrics: Metrics, measured: Measured): void {
  addIpamMetrics(metrics, measured)
  addCallMetrics(metrics, measured)
  addClusterMetrics(metrics, measured)
  addDatapathMetrics(metrics, measured)
  addMasqueradeMetrics(metrics, measured)
  addServiceMetrics(metrics, measured)
  addApiServerMetrics(metrics, measured)
}

/** The first three under kube-proxy's names, so that dashboards made for it go on. */
function addServiceMetrics(metrics: Metrics, { services }: Measured): void {
  metrics.add({
    kind: 'histogram',
    name: 'kubeproxy_sync_proxy_rules_duration_seconds',
    help: 'From a change of Services until the last map was written, by batch of changes.',
    read: () => services.lag.batches.samples(),
  })
  metrics.add({
    kind: 'histogram',
    name: 'kubeproxy_network_programming_duration_seconds',
    help: 'From what happened to an endpoint, as its EndpointSlice says, until the maps of this node say it.',
    read: () => services.latency.histogram.samples(),
  })
  metrics.add({
    kind: 'gauge',
    name: 'kubeproxy_sync_proxy_rules_last_timestamp_seconds',
    help: 'When the maps last were as the cluster says; absent before.',
    read: () => {
      const { lastAt } = services.lag.now
      return lastAt === undefined ? [] : [{ value: lastAt / 1000 }]
    },
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_services',
    help: 'Services and pods with host ports that are served.',
    read: () => [{ value: services.state().services }],
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_services_failed',
    help: 'Those of them that could not be written whole: a map is full, or an address is taken.',
    read: () => [{ value: services.state().failed }],
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_services_active',
    help: 'Whether new connections to Services are translated by our programs: 1, or 0 if by nobody of ours.',
    read: () => [{ value: services.state().isServing ? 1 : 0 }],
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_service_map_entries',
    help: 'Rows in use in the maps of services, by map.',
    labelNames: ['map'],
    read: () => {
      const { headers, slots, backends } = services.state()
      return Object.entries({ sb_services: headers, sb_slots: slots, sb_backends: backends }).map(
        ([map, value]) => ({ labels: { map }, value }),
      )
    },
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_service_tables',
    help: 'Ports of Services whose backends are chosen by consistent hashing, by a table each.',
    read: () => [{ value: services.state().tables }],
  })
  metrics.add({
    kind: 'histogram',
    name: 'sinabro_service_table_build_seconds',
    help: 'How long each of these tables took to make, in a thread of its own.',
    read: () => services.tables.builds.samples(),
  })
  metrics.add({
    kind: 'counter',
    name: 'sinabro_service_map_full_total',
    help: 'Rows of services that found no room, by map, tried again each time; --services-max makes room.',
    labelNames: ['map'],
    read: () => [...services.state().refusals].map(([map, value]) => ({ labels: { map }, value })),
  })
}

/** Destinations are whoever pods talk to: so many series, and no more. */
const MOST_POOLS = 10

function addMasqueradeMetrics(metrics: Metrics, { masquerade, datapath }: Measured): void {
  const ofFullest = (read: (pool: PoolUse) => number): Sample[] =>
    masquerade.pools.fullest.slice(0, MOST_POOLS).map((pool) => ({
      labels: {
        address: pool.address,
        to: pool.to,
        port: String(pool.port),
        protocol: PROTOCOLS.get(pool.proto) ?? String(pool.proto),
      },
      value: read(pool),
    }))
  const labelNames = ['address', 'to', 'port', 'protocol']
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_masquerade_ports_used',
    help: 'Ports in use as of the latest sweep, for the ten fullest destinations.',
    labelNames,
    read: () => ofFullest(({ used }) => used),
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_masquerade_ports_failed',
    help: 'New flows that got no port, for the same destinations, since each was first seen.',
    labelNames,
    read: () => ofFullest(({ failed }) => failed),
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_masquerade_ports_capacity',
    help: 'Ports that can be in use towards one destination.',
    read: () => {
      const { ports, reserved } = masquerade.state()
      return [{ value: countFree(ports, reserved) }]
    },
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_masquerade_active',
    help: 'Whether our programs translate new flows: 1, or 0 if nftables or nobody does.',
    read: () => [{ value: masquerade.state().isTranslating ? 1 : 0 }],
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_masquerade_flow_rows',
    help: 'Rows of translated flows as of the latest sweep; a flow has two.',
    read: () => {
      const { lastSweep } = datapath
      return lastSweep === undefined ? [] : [{ value: lastSweep.translated }]
    },
  })
}

function addIpamMetrics(metrics: Metrics, { ipam }: Measured): void {
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_ipam_addresses_used',
    help: 'Addresses given to pods, by range.',
    labelNames: ['range'],
    read: () => ipam.usage().map(({ range, used }) => ({ labels: { range }, value: used })),
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_ipam_addresses_capacity',
    help: 'Addresses that can be given, by range.',
    labelNames: ['range'],
    read: () => ipam.usage().map(({ range, capacity }) => ({ labels: { range }, value: capacity })),
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_ipam_attachments',
    help: 'Attachments that hold addresses: interfaces of pods.',
    read: () => [{ value: ipam.list().length }],
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_ipam_records_set_aside',
    help: 'Allocation records that could not be read.',
    read: () => [{ value: ipam.quarantined().length }],
  })
}

function addCallMetrics(metrics: Metrics, { calls }: Measured): void {
  metrics.add({
    kind: 'histogram',
    name: 'sinabro_cni_call_duration_seconds',
    help: 'Calls of the container runtime, by verb and CNI error code; 0 is success.',
    labelNames: ['verb', 'code'],
    read: () => calls.durations.samples(),
  })
}

function addClusterMetrics(metrics: Metrics, measured: Measured): void {
  const { cluster, recorder, rowStatuses } = measured
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_source_problems',
    help: 'Objects of the source that were refused, by code.',
    labelNames: ['code'],
    read: () => countBy(cluster.problems.values(), ({ code }) => ({ code })),
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_cluster_nodes',
    help: 'Node objects known, this node included.',
    read: () => [{ value: cluster.nodes.size }],
  })
  metrics.add({
    kind: 'counter',
    name: 'sinabro_events_total',
    help: 'Events since the start, by reason; how many of them are told to the cluster and logged is bounded.',
    labelNames: ['reason'],
    read: () => [...recorder.totals()].map(([reason, value]) => ({ labels: { reason }, value })),
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_condition',
    help: 'Conditions of this node: 1 for the status that holds.',
    labelNames: ['type', 'status'],
    read: () =>
      recorder.conditions().flatMap(({ type, status }) =>
        ['True', 'False', 'Unknown'].map((one) => ({
          labels: { type, status: one },
          value: one === status ? 1 : 0,
        })),
      ),
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_reconcile_rows',
    help: 'Things that should be in the kernel, by reconciler and state: pending, done or error.',
    labelNames: ['reconciler', 'state'],
    read: () =>
      [...rowStatuses()].flatMap(([reconciler, rows]) => [
        ...['pending', 'done', 'error'].map((state) => ({
          labels: { reconciler, state },
          value: rows.filter((row) => row.state === state).length,
        })),
      ]),
  })
}

function addApiServerMetrics(metrics: Metrics, { traffic }: Measured): void {
  metrics.add({
    kind: 'counter',
    name: 'sinabro_kubernetes_requests_total',
    help: 'Requests to the API server, by verb, resource and HTTP status; 0 when no server answered.',
    labelNames: ['verb', 'resource', 'code'],
    read: () =>
      (traffic?.requests() ?? []).map(({ verb, resource, code, count }) => ({
        labels: { verb, resource, code: String(code) },
        value: count,
      })),
  })
  metrics.add({
    kind: 'counter',
    name: 'sinabro_kubernetes_received_bytes_total',
    help: 'Bytes of answers of the API server as they came, by verb and resource.',
    labelNames: ['verb', 'resource'],
    read: () =>
      (traffic?.bytes() ?? []).map(({ verb, resource, bytes }) => ({
        labels: { verb, resource },
        value: bytes,
      })),
  })
}

function addDatapathMetrics(metrics: Metrics, { datapath }: Measured): void {
  for (const unit of ['packets', 'bytes'] as const) {
    metrics.add({
      kind: 'counter',
      name: `sinabro_datapath_${unit}_total`,
      help: `What became of ${unit}, by program and outcome; verdict is forward, drop, or noise: drops that are part of every pod's life.`,
      labelNames: ['place', 'outcome', 'verdict'],
      read: () =>
        datapath.counters().map(({ place, outcome, isDrop, ...row }) => ({
          labels: {
            place: String(place),
            outcome: outcome.name,
            verdict: !isDrop ? 'forward' : outcome.isQuiet ? 'noise' : 'drop',
          },
          value: Number(row[unit]),
        })),
    })
  }
  const { endpoints, nodeIds, ipcache, flows } = datapath.maps
  const counted = [endpoints, nodeIds, ipcache]
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_map_entries',
    help: 'Rows in use, by map. Flows: as of the latest sweep, at most half a minute ago.',
    labelNames: ['map'],
    read: () => {
      const sweep = datapath.lastSweep
      const rows = counted.map(({ map }) => ({
        labels: { map: map.info.name },
        value: [...map.keys()].length,
      }))
      if (sweep === undefined) return rows
      return [...rows, { labels: { map: flows.map.info.name }, value: sweep.rows - sweep.removed }]
    },
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_map_capacity',
    help: 'Rows there is room for, by map.',
    labelNames: ['map'],
    read: () =>
      [...counted, flows].map(({ map }) => ({
        labels: { map: map.info.name },
        value: map.info.maxEntries,
      })),
  })
}

function countBy<Row>(
  rows: Iterable<Row>,
  labelsOf: (row: Row) => Readonly<Record<string, string>>,
): Sample[] {
  const samples = new Map<string, { labels: Readonly<Record<string, string>>; value: number }>()
  for (const row of rows) {
    const labels = labelsOf(row)
    const key = JSON.stringify(labels)
    const sample = samples.get(key) ?? { labels, value: 0 }
    sample.value++
    samples.set(key, sample)
  }
  return [...samples.values()]
}
