// Ports of the node that lead to pods of it: rows of services made from what is on disk of each pod, unless a Service has the port there.
import { SERVICE_HOST_PORT, type Service, type ServiceKey } from '@sinabro/libbpf-ts/layouts'
import type { Allocation } from '../ipam/allocation.ts'
import type { Change, Table } from '../state/table.ts'
import { isAny, type PortMapping } from './host-port-mappings.ts'
import type { NodeAddresses } from './node-addresses.ts'
import type { Backend, Protocol, ServicePort, ServiceRows } from './rows.ts'

/** Begins the keys of such rows; those of Services begin with a namespace, which has no colon. */
export const HOST_PORT_KEY = 'hostport:'

export type PodWithPorts = Pick<
  Allocation,
  'key' | 'addresses' | 'podNamespace' | 'podName' | 'portMappings'
>

export interface HostPortsOptions {
  readonly ipam: {
    list(): readonly PodWithPorts[]
    subscribe(listener: () => void): () => void
  }
  /** Those of Services are in it too, and only looked at. */
  readonly rows: Table<ServiceRows>
  readonly nodeName: string
  /** No other than these is served, whatever a pod asks for. */
  readonly addresses: Pick<NodeAddresses, 'isReady' | 'list' | 'subscribe'>
}

/** Those of the map; SCTP is for rules of nftables. */
const PROTO: Readonly<Partial<Record<Protocol, number>>> = { TCP: 6, UDP: 17 }

type IsFree = (place: Place) => boolean

interface Place extends Pick<PortMapping, 'hostPort' | 'protocol'> {
  readonly address: string
  readonly family: 4 | 6
}

export class HostPorts {
  readonly #options: HostPortsOptions
  readonly #keys = new Set<string>()
  /** Ports of each Service that has any. */
  readonly #nodePorts = new Map<string, ReadonlySet<string>>()
  /** Single addresses that pods ask for. */
  #asked: ReadonlySet<string> = new Set()
  #problems: readonly string[] = []

  /** The rows of all pods are in the table when it returns. */
  constructor(options: HostPortsOptions) {
    this.#options = options
    for (const row of options.rows.values()) this.#note({ key: row.key, row })
    options.rows.subscribe((changes) => {
      let isOther = false
      for (const change of changes) isOther = this.#note(change) || isOther
      if (isOther) this.#follow()
    })
    options.ipam.subscribe(() => this.#follow())
    options.addresses.subscribe(() => this.#follow())
    this.#follow()
  }

  /** Host ports that are not served, in words. */
  problems(): readonly string[] {
    return this.#problems
  }

  /** Of a pod's ports those that the map does not lead to it, in words. One that is not served at all is none of them. */
  missing(
    pod: PodWithPorts,
    services: { get(key: ServiceKey): Pick<Service, 'flags'> | undefined },
  ): string[] {
    const ports = this.#options.rows.get(rowKeyOf(pod))?.ports ?? []
    return ports.flatMap(({ protocol, frontends }) => {
      const proto = PROTO[protocol]
      if (proto === undefined) return []
      return frontends
        .filter(({ address: addr, port }) => {
          const flags = services.get({ addr, port, proto })?.flags ?? 0
          return (flags & SERVICE_HOST_PORT) === 0
        })
        .map(({ address, port }) => `${address} port ${port}/${protocol}`)
    })
  }

  /** Says whether the Service's NodePorts are others now, or it is where a pod asks to be. */
  #note({ key, row, previous }: Change<ServiceRows>): boolean {
    if (key.startsWith(HOST_PORT_KEY)) return false
    const isAsked = [row, previous].some((one) => placesOf(one, this.#asked).length > 0)
    const before = this.#nodePorts.get(key) ?? new Set()
    const now = nodePortsOf(row)
    if (now.size === before.size && now.isSubsetOf(before)) return isAsked
    if (now.size === 0) this.#nodePorts.delete(key)
    else this.#nodePorts.set(key, now)
    return true
  }

  #follow(): void {
    const { ipam, rows, nodeName } = this.#options
    const pods = ipam.list()
    this.#asked = singleAddressesOf(pods)
    const refusalOf = this.#rules()
    const problems = new Set<string>()
    const wanted = new Map<string, ServiceRows>()
    for (const pod of pods) {
      const row = computeHostPorts(pod, nodeName, (place) => {
        const reason = refusalOf(place)
        if (reason === undefined) return true
        const { hostPort, protocol } = place
        if (reason !== '') {
          problems.add(`host port ${hostPort}/${protocol} of ${nameOf(pod)} ${reason}`)
        }
        return false
      })
      if (row.ports.length > 0) wanted.set(row.key, row)
    }
    this.#problems = [...problems]
    for (const key of this.#keys) {
      if (wanted.has(key)) continue
      this.#keys.delete(key)
      rows.remove(key)
    }
    for (const row of wanted.values()) {
      this.#keys.add(row.key)
      rows.upsert(row)
    }
  }

  /** Why a place is not a pod's, in words; empty: it is not known yet. */
  #rules(): (place: Place) => string | undefined {
    const { rows, addresses } = this.#options
    const nodePorts = new Set([...this.#nodePorts.values()].flatMap((ports) => [...ports]))
    const own = new Set(addresses.list())
    const holders = new Map<string, string>()
    for (const row of this.#asked.size === 0 ? [] : rows.values()) {
      if (row.key.startsWith(HOST_PORT_KEY)) continue
      for (const place of placesOf(row, this.#asked)) holders.set(place, row.key)
    }
    return ({ address, hostPort, protocol, family }) => {
      if (isLoopback(address)) return undefined
      if (!isAny(address)) {
        if (!addresses.isReady) return ''
        if (!own.has(address)) {
          return `is not served: its hostIP ${address} is no address of this node, and the traffic of any other is not the pod's to take; give it one that the node has, or none`
        }
        const holder = holders.get(placeText(address, hostPort, protocol))
        if (holder !== undefined) {
          return `is Service ${holder}'s at ${address}, which keeps it: give the pod another`
        }
      }
      return nodePorts.has(portText(hostPort, protocol, family))
        ? 'is the NodePort of a Service, which keeps it: give the pod another'
        : undefined
    }
  }
}

/** Pure. `isFree`: the pod may have the port there. */
export function computeHostPorts(pod: PodWithPorts, nodeName: string, isFree: IsFree): ServiceRows {
  const key = rowKeyOf(pod)
  // Of two mappings for one place the first counts.
  const places = new Set<string>()
  const ports = pod.addresses.flatMap((podAddress) => {
    const family = podAddress.includes(':') ? 6 : 4
    return (pod.portMappings ?? []).flatMap((mapping): ServicePort[] => {
      const { hostPort, containerPort, protocol } = mapping
      const address = frontendOf(mapping, family)
      if (address === undefined) return []
      if (!isFree({ address, hostPort, protocol, family })) return []
      const place = `${hostPort}/${protocol}/${address}`
      if (places.has(place)) return []
      places.add(place)
      const backend: Backend = {
        address: podAddress,
        port: containerPort,
        isTerminating: false,
        isOnThisNode: true,
        nodeName,
        ...(pod.podName === undefined ? {} : { pod: nameOf(pod) }),
      }
      const list = [backend]
      return [
        {
          key: `${key}/${place}`,
          portName: String(hostPort),
          protocol,
          family,
          frontends: [{ kind: 'HostPort', address, port: hostPort }],
          internal: list,
          external: list,
          isInternalLocal: false,
          isExternalLocal: false,
        },
      ]
    })
  })
  return { key, addresses: [], ports }
}

/** Where the mapping is reached in a family; undefined where it is of the other. */
function frontendOf({ hostIP }: PortMapping, family: 4 | 6): string | undefined {
  if (hostIP === undefined) return family === 4 ? '0.0.0.0' : '::'
  return hostIP.includes(':') === (family === 6) ? hostIP : undefined
}

/** No NodePort answers there. */
function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}

function singleAddressesOf(pods: readonly PodWithPorts[]): Set<string> {
  const all = pods.flatMap(({ portMappings = [] }) => portMappings.map(({ hostIP }) => hostIP))
  return new Set(all.filter((ip) => ip !== undefined).filter((ip) => !isAny(ip) && !isLoopback(ip)))
}

/** Where a Service is at one of these addresses. */
function placesOf(row: ServiceRows | undefined, addresses: ReadonlySet<string>): string[] {
  if (row === undefined || addresses.size === 0) return []
  return row.ports.flatMap(({ frontends, protocol }) =>
    frontends
      .filter(({ address }) => addresses.has(address))
      .map(({ address, port }) => placeText(address, port, protocol)),
  )
}

function nodePortsOf(row: ServiceRows | undefined): ReadonlySet<string> {
  const ports = row?.ports ?? []
  return new Set(
    ports.flatMap(({ frontends, protocol, family }) =>
      frontends
        .filter(({ kind }) => kind === 'NodePort')
        .map(({ port }) => portText(port, protocol, family)),
    ),
  )
}

function placeText(address: string, port: number, protocol: Protocol): string {
  return `${address} ${port}/${protocol}`
}

function portText(port: number, protocol: Protocol, family: 4 | 6): string {
  return `${port}/${protocol}/${family}`
}

/** Key of what is wanted for the pod. */
export function rowKeyOf(pod: PodWithPorts): string {
  return HOST_PORT_KEY + nameOf(pod)
}

/** Runtimes that are not of Kubernetes name no pod. */
export function nameOf({ key, podNamespace, podName }: PodWithPorts): string {
  return podName === undefined ? key.containerId : `${podNamespace ?? ''}/${podName}`
}
