// The tables that say what the world wants, whatever source fills them.
import { Table } from '../state/table.ts'
import type {
  EndpointSliceRow,
  NamespaceRow,
  NodeRow,
  PodRow,
  ProblemRow,
  ServiceCIDRRow,
  ServiceRow,
} from './rows.ts'

export interface Cluster {
  readonly nodes: Table<NodeRow>
  readonly pods: Table<PodRow>
  /** Never ready where the source was not asked for them, as the three after it. */
  readonly services: Table<ServiceRow>
  readonly endpointSlices: Table<EndpointSliceRow>
  /** Empty where the cluster has no such objects: the ranges are then a setting. */
  readonly serviceCIDRs: Table<ServiceCIDRRow>
  readonly namespaces: Table<NamespaceRow>
  /** What of the source was refused. */
  readonly problems: Table<ProblemRow>
}

export function createCluster(): Cluster {
  return {
    nodes: new Table<NodeRow>('nodes', (node) => node.name),
    pods: new Table<PodRow>('pods', (pod) => `${pod.namespace}/${pod.name}`),
    services: new Table<ServiceRow>(
      'Services',
      (service) => `${service.namespace}/${service.name}`,
    ),
    endpointSlices: new Table<EndpointSliceRow>(
      'EndpointSlices',
      (slice) => `${slice.namespace}/${slice.name}`,
    ),
    serviceCIDRs: new Table<ServiceCIDRRow>('ServiceCIDRs', (range) => range.name),
    namespaces: new Table<NamespaceRow>('Namespaces', (namespace) => namespace.name),
    problems: new Table<ProblemRow>('problems', (problem) => problem.key),
  }
}
