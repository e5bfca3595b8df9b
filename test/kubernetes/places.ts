// Where a test cluster keeps what it knows, and its addresses. Pure.
import { join } from 'node:path'
import { type Families, hostAddresses, nodePlan, OUTSIDE_HOST } from '../lab/plan.ts'

/** On the disk, not in /run: it holds the images of every node. One cluster at a time. */
export const CLUSTER_DIR = '/var/cache/sinabro-kubernetes'
export const LOGS = join(CLUSTER_DIR, 'logs')
export const PKI = join(CLUSTER_DIR, 'pki')
export const ADMIN_CONFIG = join(PKI, 'admin.conf')

/** The node that has the control plane, as kubeadm would do it. */
export const CONTROL_NODE = 1

export interface NetworkPlan {
  readonly families: Families
  /** Of the API server, primary family first. */
  readonly controlAddresses: readonly string[]
  readonly outsideAddresses: readonly string[]
  readonly podRanges: readonly string[]
  readonly serviceRanges: readonly string[]
  /** First address of each service range: the API server in the cluster's own eyes. */
  readonly apiServices: readonly string[]
  readonly dnsService: string
  /** Where Services may have external addresses; upstream's specs take theirs from the first. */
  readonly externalRanges: readonly string[]
}

export function networkPlan(families: Families): NetworkPlan {
  const both = <T>(v4: T, v6: T): T[] =>
    families === 'dual' ? [v4, v6] : families === 'ipv4' ? [v4] : [v6]
  return {
    families,
    controlAddresses: hostAddresses(CONTROL_NODE, families).map(({ address }) => address),
    outsideAddresses: hostAddresses(OUTSIDE_HOST, families).map(({ address }) => address),
    // Room for a thousand nodes and more.
    podRanges: both('10.240.0.0/12', 'fd00:10:240::/52'),
    serviceRanges: both('10.96.0.0/16', 'fd00:10:96::/112'),
    apiServices: both('10.96.0.1', 'fd00:10:96::1'),
    externalRanges: both('203.0.113.0/24', '2001:db8:113::/64'),
    dnsService: both('10.96.0.10', 'fd00:10:96::a')[0] ?? '',
  }
}

export function nodeAddresses(number: number, families: Families) {
  return nodePlan(number, families).addresses
}

/** An address as it stands in a URL. */
export function inUrl(address: string): string {
  return address.includes(':') ? `[${address}]` : address
}
