// Services and their EndpointSlices as a cluster's controllers would have written them. Pure.
import type { KubernetesObject } from './manifests.ts'

export interface ServicePortObject {
  readonly name?: string
  readonly port: number
  readonly targetPort: number
  readonly protocol?: 'TCP' | 'UDP' | 'SCTP'
  readonly nodePort?: number
}

/** One who serves, in all of its families. */
export interface EndpointObject {
  readonly addresses: readonly string[]
  readonly nodeName: string
  /** Serving and terminating, as of a pod that shall end. */
  readonly isTerminating?: boolean
}

export interface ServiceOptions {
  readonly clusterIPs: readonly string[]
  readonly ports: readonly ServicePortObject[]
  readonly endpoints: readonly EndpointObject[]
  readonly annotations?: Readonly<Record<string, string>>
  /** More of its `spec`. */
  readonly spec?: object
  readonly status?: object
}

const NAMESPACE = 'default'

/** The Service, and a slice for each family that it has. */
export function serviceObjects(name: string, options: ServiceOptions): KubernetesObject[] {
  const { clusterIPs, ports, endpoints, annotations, spec, status } = options
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: NAMESPACE, ...(annotations && { annotations }) },
    spec: {
      type: 'ClusterIP',
      clusterIP: clusterIPs[0],
      clusterIPs,
      ipFamilies: clusterIPs.map((address) => (address.includes(':') ? 'IPv6' : 'IPv4')),
      ports: ports.map((port) => ({ protocol: 'TCP', ...port })),
      ...spec,
    },
    ...(status === undefined ? {} : { status }),
  }
  const slices = clusterIPs.map((clusterIP) => sliceObject(name, clusterIP, ports, endpoints))
  return [service as KubernetesObject, ...slices]
}

function sliceObject(
  service: string,
  clusterIP: string,
  ports: readonly ServicePortObject[],
  endpoints: readonly EndpointObject[],
): KubernetesObject {
  const isOfFamily = (address: string) => address.includes(':') === clusterIP.includes(':')
  const addressType = clusterIP.includes(':') ? 'IPv6' : 'IPv4'
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service}-${addressType.toLowerCase()}`,
      namespace: NAMESPACE,
      labels: { 'kubernetes.io/service-name': service },
    },
    addressType,
    ports: ports.map(({ name = '', targetPort, protocol = 'TCP' }) => {
      return { name, port: targetPort, protocol }
    }),
    endpoints: endpoints.map(({ addresses, nodeName, isTerminating = false }) => ({
      addresses: addresses.filter(isOfFamily),
      nodeName,
      conditions: { ready: !isTerminating, serving: true, terminating: isTerminating },
    })),
  } as KubernetesObject
}
