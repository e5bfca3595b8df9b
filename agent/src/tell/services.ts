// Services as this node serves them, and who answers for them: what should be, from the rows, and numbers of the maps.
import type {
  BackendRowView,
  BackendsView,
  BackendView,
  PodRef,
  ServicePortView,
  ServicesView,
  ServiceView,
} from '../api/views.ts'
import type { ProblemRow, ServiceRow } from '../cluster/rows.ts'
import { HOST_PORT_KEY } from '../services/host-ports.ts'
import type { ExplainedPort } from '../services/model-explain.ts'
import type { Backend, ServicePort, ServiceRows } from '../services/rows.ts'
import type { Table } from '../state/table.ts'
import { PROTOCOLS } from './flows.ts'

/** The part of the room that is told of. */
export interface ServicesSeen {
  readonly rows: Table<ServiceRows>
  readonly model: {
    readonly problems: Table<ProblemRow>
    explain(key: string): ExplainedPort[] | undefined
    /** Where cluster addresses come from. */
    serviceRanges(): readonly string[]
  }
}

export interface ServicesDeps {
  readonly services: ServicesSeen
  readonly objects: Pick<Table<ServiceRow>, 'get'>
}

/** `name`: 'namespace/name', or a name alone, which several may have. */
export function describeServices(
  { services, objects }: ServicesDeps,
  name: string | undefined,
): ServicesView {
  const said = new Map<string, string[]>()
  for (const { object = '', message } of services.model.problems.values()) {
    const key = object.replace(/^Service\//, '')
    said.set(key, [...(said.get(key) ?? []), message])
  }
  const rows = services.rows
    .values()
    .filter(({ key }) => name === undefined || key === name || key.split('/').at(-1) === name)
  const isHostPort = ({ key }: ServiceRows) => key.startsWith(HOST_PORT_KEY)
  const order = (one: ServiceRows): string => `${isHostPort(one) ? 1 : 0}${one.key}`
  return {
    services: rows
      .sort((a, b) => (order(a) < order(b) ? -1 : 1))
      .map((row) => viewService(row, objects.get(row.key)?.type, said.get(row.key) ?? [])),
  }
}

function viewService(
  row: ServiceRows,
  type: string | undefined,
  problems: readonly string[],
): ServiceView {
  const shownType = row.key.startsWith(HOST_PORT_KEY) ? 'HostPort' : type
  const { healthCheckNodePort } = row
  return {
    name: row.key,
    ...(shownType === undefined ? {} : { type: shownType }),
    clusterIPs: row.addresses,
    ports: row.ports.map(viewPort),
    ...(healthCheckNodePort === undefined ? {} : { healthCheckNodePort }),
    problems,
  }
}

function viewPort(port: ServicePort): ServicePortView {
  const { portName, protocol, frontends, internal, external, affinitySec, sourceRanges } = port
  const isSame = JSON.stringify(internal) === JSON.stringify(external)
  const isOutside = frontends.some(({ kind }) => kind !== 'ClusterIP')
  return {
    name: portName,
    protocol: protocol.toLowerCase(),
    frontends,
    internal: internal.map(viewBackend),
    ...(isSame || !isOutside ? {} : { external: external.map(viewBackend) }),
    internalTrafficPolicy: port.isInternalLocal ? 'Local' : 'Cluster',
    externalTrafficPolicy: port.isExternalLocal ? 'Local' : 'Cluster',
    ...(affinitySec === undefined ? {} : { affinitySec }),
    ...(sourceRanges === undefined ? {} : { sourceRanges }),
  }
}

export function viewBackend({ pod, ...backend }: Backend): BackendView {
  return { ...backend, ...podRef(pod) }
}

/** Of 'namespace/name'. */
export function podRef(pod: string | undefined): { readonly pod?: PodRef } {
  if (pod === undefined) return {}
  const [namespace = '', name = ''] = pod.split('/')
  return { pod: { namespace, name } }
}

export interface BackendRows {
  chunks(): AsyncIterable<
    readonly [
      number,
      {
        readonly addr: string
        readonly port: number
        readonly proto: number
        readonly flags: number
      },
    ][]
  >
}

/** `service`: as for services. */
export async function describeBackends(
  { services }: Pick<ServicesDeps, 'services'>,
  map: BackendRows,
  { service, limit }: { readonly service?: string; readonly limit: number },
  signal: AbortSignal,
): Promise<BackendsView> {
  const known = new Map<string, { readonly backend: Backend; readonly names: Set<string> }>()
  for (const { key, ports } of services.rows.values()) {
    for (const { protocol, internal, external } of ports) {
      for (const backend of internal === external ? internal : [...internal, ...external]) {
        const at = placeOf(backend.address, backend.port, protocol.toLowerCase())
        const there = known.get(at)
        if (there === undefined) known.set(at, { backend, names: new Set([key]) })
        else there.names.add(key)
      }
    }
  }
  const backends: BackendRowView[] = []
  let matched = 0
  for await (const chunk of map.chunks()) {
    signal.throwIfAborted()
    for (const [id, { addr, port, proto, flags }] of chunk) {
      const protocol = PROTOCOLS.get(proto) ?? String(proto)
      const found = known.get(placeOf(addr, port, protocol))
      const names = [...(found?.names ?? [])].sort()
      const isWanted = (name: string) => name === service || name.split('/').at(-1) === service
      if (service !== undefined && !names.some(isWanted)) continue
      matched++
      if (backends.length >= limit) continue
      const { pod, nodeName } = found?.backend ?? {}
      backends.push({
        ...{ id, address: addr, port, protocol, isTerminating: flags !== 0, services: names },
        ...podRef(pod),
        ...(nodeName === undefined ? {} : { nodeName }),
      })
    }
  }
  return { backends: backends.sort((a, b) => a.id - b.id), matched }
}

function placeOf(address: string, port: number, protocol: string): string {
  return `${address} ${port} ${protocol}`
}
