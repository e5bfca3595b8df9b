// The two kinds of pair that a pod may hang on: how each is made, and which devices may be a pod's (ADR 0056).
import type { Link, LinkSpec, NetworkNamespace } from '@sinabro/node-netlink'
import { UNBORN_GROUP } from '../marks.ts'
import type { PodRow } from './rows.ts'

export type PodDevice = 'veth' | 'netkit'

export function isPodDevice({ kind }: Pick<Link, 'kind'>): boolean {
  return kind === 'veth' || kind === 'netkit'
}

/** A veth that is not told gets one for each possible CPU, and the kernel takes all but one away, its configuration locked. ADR 0058. */
const ONE_QUEUE = { txQueues: 1, rxQueues: 1 } as const

/** The host end is down. On netkit the kernel holds back what the pod sends until a program judges it, and whenever none does. */
export function pairSpec(kind: PodDevice, row: PodRow, netns: NetworkNamespace): LinkSpec {
  const host = {
    name: row.hostDevice,
    mac: row.hostMac,
    mtu: row.mtu,
    // Set in the moment of creation, the alias a moment later (ADR 0048).
    group: UNBORN_GROUP,
    isUp: false,
    alias: row.alias,
    addrGenMode: 'none',
    ...ONE_QUEUE,
    peer: { name: row.ifname, netns, mac: row.podMac, mtu: row.mtu, ...ONE_QUEUE },
  } as const
  return kind === 'veth'
    ? { ...host, kind }
    : { ...host, kind, mode: 'l2', peerPolicy: 'blackhole' }
}
