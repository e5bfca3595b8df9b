// What a new connection to an address and port meets, and why: asked of the maps in the order in which the programs ask them.
import {
  ANY_NODE_IPV4,
  ANY_NODE_IPV6,
  CLIENT_ADDRESS,
  CLIENT_NETNS,
  IPCACHE_SERVICES,
  NODE_ADDR_HOST_PORTS,
  NODE_ADDR_NODE_PORTS,
  SERVICE_ADDRESS,
  SERVICE_AFFINITY,
  SERVICE_EXTERNAL_LOCAL,
  SERVICE_HOST_PORT,
  SERVICE_INTERNAL_LOCAL,
  SERVICE_NOT_NODE,
  type Service,
} from '@sinabro/libbpf-ts/layouts'
import { formatIp, parseIp, parsePrefix, prefixContains } from '@sinabro/node-netlink'
import type { ChanceView, ExplainedFrom, ExplanationView, OtherView } from '../api/views.ts'
import type { DatapathMaps } from '../datapath/maps.ts'
import { parseKey } from '../overlay/prefix.ts'
import { type ExplainedPort, inWords } from '../services/model-explain.ts'
import type { Frontend, ServicePort, ServiceRows } from '../services/rows.ts'
import { type ForwardingMaps, forwardingOf } from './explain-forwarding.ts'
import { hashedBackend } from './explain-hashed.ts'
import { podRef, type ServicesSeen } from './services.ts'

export interface Asked {
  /** Canonical. */
  readonly address: string
  readonly port: number
  readonly protocol: 'tcp' | 'udp'
  readonly from: Caller
}

export interface Caller extends ExplainedFrom {
  /** Of the pod's namespace, or of the node's. */
  readonly netnsCookie?: bigint
}

export interface ExplainDeps {
  readonly services: Pick<ServicesSeen, 'rows' | 'model'>
  readonly maps: Pick<
    DatapathMaps,
    'services' | 'slots' | 'backends' | 'nodeAddrs' | 'affinity' | 'ipcache' | 'maglev'
  > &
    ForwardingMaps
}

const PROTO = { tcp: 6, udp: 17 } as const

type Said = Pick<ExplanationView, 'outcome' | 'why'> & Partial<ExplanationView>

export function explainService(deps: ExplainDeps, asked: Asked): ExplanationView {
  const { netnsCookie: _, ...from } = asked.from
  const { address, port, protocol } = asked
  const common = { address, port, protocol, from, backends: [], others: [] }
  return { ...common, ...judge(deps, asked) }
}

function judge(deps: ExplainDeps, asked: Asked): Said {
  const { address, port, from } = asked
  const found = find(deps, asked)
  if (found === undefined) {
    const range = deps.services.model
      .serviceRanges()
      .find((one) => prefixContains(parsePrefix(one), parseIp(address)))
    const hasRow = (one: string) =>
      ((deps.maps.ipcache.get(parseKey(one))?.flags ?? 0) & IPCACHE_SERVICES) !== 0
    if (range === undefined || !hasRow(range)) {
      return {
        outcome: 'none',
        why: 'it is no address and port of a service: packets go on as they are',
      }
    }
    const why = `it is an address of the service range ${range} that no Service has (DROP_SERVICE_ADDRESS)`
    return { outcome: 'dropped', why }
  }
  if ((found.row.flags & SERVICE_ADDRESS) !== 0) {
    const owner = deps.services.rows.values().find(({ addresses }) => addresses.includes(address))
    const why = `it is an address of ${owner?.key ?? 'a Service'}, which has no port ${port}/${asked.protocol}`
    return { outcome: 'refused', why, ...(owner === undefined ? {} : { service: owner.key }) }
  }
  return judgeFound(deps, asked, found, from)
}

interface Found {
  readonly row: Service
  /** Address of the row: that of all the node's own is all zero. */
  readonly at: string
}

function find({ maps }: ExplainDeps, { address, port, protocol }: Asked): Found | undefined {
  const proto = PROTO[protocol]
  const exact = maps.services.get({ addr: address, port, proto })
  if (exact !== undefined) return { row: exact, at: address }
  const own = maps.nodeAddrs.get(address)
  if (own === undefined) {
    const row = maps.services.get({ addr: address, port: 0, proto: 0 })
    return row && { row, at: address }
  }
  const at = address.includes(':') ? ANY_NODE_IPV6 : ANY_NODE_IPV4
  const row = maps.services.get({ addr: at, port, proto })
  if (row === undefined) return undefined
  const isHostPort = (row.flags & SERVICE_HOST_PORT) !== 0
  return (own & (isHostPort ? NODE_ADDR_HOST_PORTS : NODE_ADDR_NODE_PORTS)) === 0
    ? undefined
    : { row, at }
}

function judgeFound(deps: ExplainDeps, asked: Asked, { row, at }: Found, from: Caller): Said {
  const { services, maps } = deps
  const owner = ownerOf(services.rows.values(), at, asked)
  const list = from.kind === 'outside' ? 'external' : 'internal'
  const known = {
    list,
    ...(owner === undefined
      ? {}
      : {
          service: owner.key,
          portName: owner.port.portName,
          frontend: owner.frontend,
        }),
  } as const
  const isLoadBalancer = owner?.frontend.kind === 'LoadBalancer'
  const ranges = isLoadBalancer ? owner?.port.sourceRanges : undefined
  const source = from.address
  if (from.kind !== 'node' && ranges !== undefined && source !== undefined) {
    const isAdmitted = ranges.some((one) => prefixContains(parsePrefix(one), parseIp(source)))
    if (!isAdmitted) {
      const why = `${source} is in none of loadBalancerSourceRanges, ${ranges.join(', ') || 'which are of the other family'} (DROP_SOURCE_RANGE)`
      return { outcome: 'dropped', why, ...known }
    }
  }
  if (from.kind === 'node' && (row.flags & SERVICE_NOT_NODE) !== 0) {
    const why = `this node's own addresses are in none of loadBalancerSourceRanges, ${ranges?.join(', ') || 'which are of the other family'}`
    return { outcome: 'refused', why, ...known }
  }
  const ids = readList(maps, list === 'external' ? row.external : row.internal)
  const kept = readAffinity(maps, row, from)
  const hashed =
    list === 'external' && source !== undefined
      ? hashedBackend(maps.maglev, row, {
          ...{ address: source, servicePort: asked.port, proto: PROTO[asked.protocol] },
          ...(from.port === undefined ? {} : { port: from.port }),
        })
      : undefined
  const isHashed = typeof hashed === 'number' && ids.includes(hashed)
  const backends = viewBackends(deps, owner?.port, ids, {
    kept: ids.includes(kept) ? kept : 0,
    hashed: isHashed ? hashed : 0,
    ...(from.kind === 'outside' && source !== undefined ? { client: source } : {}),
  })
  const others = owner === undefined ? [] : viewOthers(deps, owner, list, backends)
  const isLocal =
    (row.flags & (list === 'external' ? SERVICE_EXTERNAL_LOCAL : SERVICE_INTERNAL_LOCAL)) !== 0
  const policy = `${list === 'external' ? 'externalTrafficPolicy' : 'internalTrafficPolicy'}: Local`
  if (ids.length > 0) {
    const how = hashed === 'by port' ? 'as its port says (--from ADDRESS:PORT)' : 'by chance'
    const count = ids.length === 1 ? 'the only one' : `one of ${ids.length}, ${how}`
    const first = isHashed ? `the one of ${ids.length} that all nodes have for this caller` : count
    const why = ids.includes(kept) ? 'the one that this caller had before' : first
    return {
      outcome: 'chosen',
      why: isLocal ? `${why} (${policy})` : why,
      ...known,
      backends,
      others,
    }
  }
  if (isLocal && list === 'external') {
    const why = `no backend on this node, and ${policy} (DROP_NO_LOCAL_BACKEND)`
    return { outcome: 'dropped', why, ...known, others }
  }
  const why = isLocal ? `no backend on this node, and ${policy}` : 'no backend is left'
  return { outcome: 'refused', why, ...known, others }
}

interface Owner {
  readonly key: string
  readonly port: ServicePort
  readonly frontend: Frontend
}

function ownerOf(rows: readonly ServiceRows[], at: string, asked: Asked): Owner | undefined {
  for (const { key, ports } of rows) {
    for (const port of ports) {
      if (port.protocol.toLowerCase() !== asked.protocol) continue
      const frontend = port.frontends.find((one) => one.address === at && one.port === asked.port)
      if (frontend !== undefined) return { key, port, frontend }
    }
  }
  return undefined
}

/** A list that shrinks meanwhile is read to where it ends. */
function readList({ slots }: ExplainDeps['maps'], list: number): number[] {
  const count = list === 0 ? 0 : (slots.get({ list, slot: 0 })?.backend ?? 0)
  const ids: number[] = []
  for (let slot = 1; slot <= count; slot++) {
    const id = slots.get({ list, slot })?.backend
    if (id === undefined) break
    ids.push(id)
  }
  return ids
}

/** Id of the backend that the caller had, as packets of it are told apart or as its sockets are; 0: none. It may be too old by now. */
function readAffinity({ affinity }: ExplainDeps['maps'], row: Service, from: Caller): number {
  if ((row.flags & SERVICE_AFFINITY) === 0) return 0
  const { address, netnsCookie } = from
  const bySocket =
    netnsCookie === undefined
      ? undefined
      : affinity.get({ client: cookieAddress(netnsCookie), kind: CLIENT_NETNS, service: row.id })
  const byAddress =
    address === undefined
      ? undefined
      : affinity.get({ client: address, kind: CLIENT_ADDRESS, service: row.id })
  return (bySocket ?? byAddress)?.backend ?? 0
}

/** Its first 8 bytes are the cookie. */
export function cookieAddress(cookie: bigint): string {
  const bytes = Buffer.alloc(16)
  bytes.writeBigUInt64LE(cookie)
  return formatIp(bytes)
}

function viewBackends(
  { maps }: ExplainDeps,
  port: ServicePort | undefined,
  ids: readonly number[],
  {
    kept,
    hashed,
    client,
  }: { readonly kept: number; readonly hashed: number; readonly client?: string },
): ChanceView[] {
  const known = new Map(
    [...(port?.internal ?? []), ...(port?.external ?? [])].map((one) => [
      `${one.address} ${one.port}`,
      one,
    ]),
  )
  return ids.flatMap((id) => {
    const row = maps.backends.get(id)
    if (row === undefined) return []
    const { pod, nodeName } = known.get(`${row.addr} ${row.port}`) ?? {}
    const isKept = id === kept
    const sure = kept || hashed
    const chance = sure === 0 ? 1 / ids.length : id === sure ? 1 : 0
    return [
      {
        ...{
          id,
          address: row.addr,
          port: row.port,
          isTerminating: row.flags !== 0,
          chance,
          isKept,
        },
        ...podRef(pod),
        ...(nodeName === undefined ? {} : { nodeName }),
        ...(client === undefined
          ? {}
          : { forwarding: forwardingOf(maps, row.addr, client, ids.length) }),
      },
    ]
  })
}

function viewOthers(
  { services }: ExplainDeps,
  { key, port }: Owner,
  list: 'internal' | 'external',
  backends: readonly ChanceView[],
): OtherView[] {
  const isOfPort = (one: ExplainedPort) =>
    one.portName === port.portName && one.protocol === port.protocol && one.family === port.family
  const endpoints = services.model.explain(key)?.find(isOfPort)?.endpoints ?? []
  const isChosen = new Set(backends.map((one) => `${one.address} ${one.port}`))
  return endpoints
    .filter((one) => !isChosen.has(`${one.address} ${one.port}`))
    .map((one) => ({
      address: one.address,
      port: one.port,
      ...podRef(one.pod),
      ...(one.nodeName === undefined ? {} : { nodeName: one.nodeName }),
      why: one[list] === 'Asked' ? 'is not in the map yet' : inWords(one[list]),
    }))
}
