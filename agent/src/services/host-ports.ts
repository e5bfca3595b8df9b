// Ports of the node that lead to pods of it: rows of services made from what is on disk of each pod, unless a NodePort has the port.
import { SERVICE_HOST_PORT, type Service, type ServiceKey } from '@sinabro/libbpf-ts/layouts'
import type { Allocation } from '../ipam/allocation.ts'
import type { Change, Table } from '../state/table.ts'
import type { PortMapping } from './host-port-mappings.ts'
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
}

/** Those of the map; SCTP is for rules of nftables. */
const PROTO: Readonly<Partial<Record<Protocol, number>>> = { TCP: 6, UDP: 17 }

type IsFree = (port: number, protocol: Protocol, family: 4 | 6) => boolean

export class HostPorts {
  readonly #options: HostPortsOptions
  readonly #keys = new Set<string>()
  /** Ports of each Service that has any. */
  readonly #nodePorts = new Map<string, ReadonlySet<string>>()
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
    this.#follow()
  }

  /** Host ports that a NodePort has, in words. */
  problems(): readonly string[] {
    return this.#problems
  }

  /** Of a pod's ports those that the map does not lead to it, in words. A port that a NodePort has is none of them. */
  missing(
    pod: PodWithPorts,
    services: { get(key: ServiceKey): Pick<Service, 'flags'> | undefined },
  ): string[] {
    const ports = this.#options.rows.get(HOST_PORT_KEY + nameOf(pod))?.ports ?? []
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

  /** Says whether the Service's NodePorts are others now. */
  #note({ key, row }: Change<ServiceRows>): boolean {
    if (key.startsWith(HOST_PORT_KEY)) return false
    const before = this.#nodePorts.get(key) ?? new Set()
    const now = nodePortsOf(row)
    if (now.size === before.size && now.isSubsetOf(before)) return false
    if (now.size === 0) this.#nodePorts.delete(key)
    else this.#nodePorts.set(key, now)
    return true
  }

  #follow(): void {
    const { ipam, rows, nodeName } = this.#options
    const taken = new Set([...this.#nodePorts.values()].flatMap((ports) => [...ports]))
    const problems = new Set<string>()
    const wanted = new Map<string, ServiceRows>()
    for (const pod of ipam.list()) {
      const row = computeHostPorts(pod, nodeName, (port, protocol, family) => {
        if (!taken.has(portText(port, protocol, family))) return true
        problems.add(
          `host port ${port}/${protocol} of ${nameOf(pod)} is the NodePort of a Service, which keeps it: give the pod another`,
        )
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
}

/** Pure. `isFree`: no Service has the port on the node's addresses. */
export function computeHostPorts(pod: PodWithPorts, nodeName: string, isFree: IsFree): ServiceRows {
  const key = HOST_PORT_KEY + nameOf(pod)
  // Of two mappings for one place the first counts.
  const places = new Set<string>()
  const ports = pod.addresses.flatMap((podAddress) => {
    const family = podAddress.includes(':') ? 6 : 4
    return (pod.portMappings ?? []).flatMap((mapping): ServicePort[] => {
      const { hostPort, containerPort, protocol } = mapping
      const address = frontendOf(mapping, family)
      if (address === undefined) return []
      if (!isLoopback(address) && !isFree(hostPort, protocol, family)) return []
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

function portText(port: number, protocol: Protocol, family: 4 | 6): string {
  return `${port}/${protocol}/${family}`
}

/** Runtimes that are not of Kubernetes name no pod. */
export function nameOf({ key, podNamespace, podName }: PodWithPorts): string {
  return podName === undefined ? key.containerId : `${podNamespace ?? ''}/${podName}`
}
