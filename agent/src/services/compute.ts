// What the maps must say of one Service: headers and lists of its TCP and UDP ports. Pure; SCTP is for the rules (sctp-ruleset.ts).
import {
  SERVICE_ADDRESS,
  SERVICE_AFFINITY,
  SERVICE_EXTERNAL_LOCAL,
  SERVICE_HOST_PORT,
  SERVICE_INTERNAL_LOCAL,
  SERVICE_MAGLEV,
  SERVICE_NOT_NODE,
  SERVICE_SOURCE_RANGES,
  type ServiceKey,
} from '@sinabro/libbpf-ts/layouts'
import type { Backend, Frontend, Protocol, ServicePort, ServiceRows } from './rows.ts'

/** IP protocol numbers. */
export const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132 } as const satisfies Record<Protocol, number>

export interface WantedPort {
  readonly key: string
  readonly proto: number
  readonly affinitySec: number
  /** Somebody asks whether a backend is in its lists: clients with affinity, UDP sockets that keep theirs, and who has it of a table. */
  readonly hasMembers: boolean
  /** Its backends for those outside have a table. */
  readonly isHashed: boolean
  readonly internal: readonly Backend[]
  /** Absent: nobody outside can ask for others than `internal`. */
  readonly external?: readonly Backend[]
  readonly sourceRanges: readonly string[]
  readonly headers: readonly WantedHeader[]
}

export interface WantedHeader {
  readonly name: string
  readonly key: ServiceKey
  readonly flags: number
  /** A cluster address is the cluster's own affair, whoever asks. */
  readonly isInternal: boolean
}

/** As text, one for each key of sb_services. */
export function nameOf({ addr, port, proto }: ServiceKey): string {
  return `${addr} ${port} ${proto}`
}

export function computePorts({ ports }: ServiceRows): WantedPort[] {
  return ports.filter(({ protocol }) => protocol !== 'SCTP').map(computePort)
}

function computePort(port: ServicePort): WantedPort {
  const { key, internal, external, affinitySec = 0, sourceRanges = [], frontends } = port
  const proto = PROTOCOLS[port.protocol]
  const isSeenOutside = frontends.some(({ kind }) => kind !== 'ClusterIP')
  const isHashed = port.isHashed === true && isSeenOutside
  return {
    ...{ key, proto, affinitySec, isHashed, internal, sourceRanges },
    hasMembers: affinitySec > 0 || port.protocol === 'UDP' || isHashed,
    ...(isSeenOutside && external !== internal ? { external } : {}),
    headers: frontends.map((frontend) => computeHeader(port, frontend, proto)),
  }
}

function computeHeader(of: ServicePort, { kind, address, port }: Frontend, proto: number) {
  const isInternal = kind === 'ClusterIP'
  const isLocalOutside = isInternal ? of.isInternalLocal : of.isExternalLocal
  const hasRanges = kind === 'LoadBalancer' && of.sourceRanges !== undefined
  const flags =
    (of.affinitySec === undefined ? 0 : SERVICE_AFFINITY) |
    (hasRanges ? SERVICE_SOURCE_RANGES : 0) |
    (hasRanges && of.isNodeRefused === true ? SERVICE_NOT_NODE : 0) |
    (of.isInternalLocal ? SERVICE_INTERNAL_LOCAL : 0) |
    (isLocalOutside ? SERVICE_EXTERNAL_LOCAL : 0) |
    (kind === 'HostPort' ? SERVICE_HOST_PORT : 0) |
    (of.isHashed === true && !isInternal ? SERVICE_MAGLEV : 0)
  const key = { addr: address, port, proto }
  return { name: nameOf(key), key, flags, isInternal }
}

/** Other ports of a Service's addresses: known, and nobody's. */
export function computeAddresses({ addresses }: ServiceRows): WantedHeader[] {
  return addresses.map((addr) => {
    const key = { addr, port: 0, proto: 0 }
    return { name: nameOf(key), key, flags: SERVICE_ADDRESS, isInternal: true }
  })
}
