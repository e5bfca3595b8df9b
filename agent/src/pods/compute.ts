// From an allocation to the wiring of its pod: names, MACs and alias. Pure: no kernel, no files, no clock.
import { createHash } from 'node:crypto'
import { POD_ALIAS_PREFIX, POD_GATEWAY_IPV4, POD_GATEWAY_IPV6 } from '../marks.ts'
import type { PodAddress, PodIdentity, PodRow } from './rows.ts'

/** IFALIASZ is 256 with the NUL (include/uapi/linux/if.h). */
const ALIAS_BYTES = 255

export function computePod(pod: PodIdentity, mtu: number): PodRow {
  const { hostMac, podMac } = pairMacs(pod.hostDevice, pod.incarnation)
  return {
    endpointId: pod.endpointId,
    incarnation: pod.incarnation,
    hostDevice: pod.hostDevice,
    alias: formatAlias(pod),
    hostMac,
    podMac: pod.mac ?? podMac,
    ifname: pod.ifname,
    mtu,
    bandwidth: pod.bandwidth,
    podNamespace: pod.podNamespace,
    podName: pod.podName,
    addresses: pod.addresses.map(podAddress),
  }
}

/**
 * Both MACs of a pair: locally administered, `02:` for the pod's end and `06:` for the host's, the rest alike so that a
 * capture shows which belong together. Taken from the device name, itself a hash of the allocation's key, because
 * software inside pods uses MACs to make unique ids: equal ones on two nodes would be a trap.
 */
export function pairMacs(hostDevice: string, incarnation: number) {
  const digest = createHash('sha256').update(`mac ${hostDevice} ${incarnation}`).digest()
  const tail = digest.subarray(0, 5).toString('hex').replaceAll(/../g, ':$&')
  return { podMac: `02${tail}`, hostMac: `06${tail}` }
}

/** 'sinabro:pod/7/3/default/web-0/eth0': endpoint id, incarnation, and for people whose device this is. */
export function formatAlias(pod: PodIdentity): string {
  const owner = [pod.podNamespace ?? '', pod.podName ?? '', pod.ifname].map(printable).join('/')
  return `${POD_ALIAS_PREFIX}${pod.endpointId}/${pod.incarnation}/${owner}`.slice(0, ALIAS_BYTES)
}

export interface AliasIdentity {
  readonly endpointId: number
  readonly incarnation: number
}

/** Undefined when the alias is not that of a pod of ours. */
export function parseAlias(alias: string | undefined): AliasIdentity | undefined {
  if (alias === undefined || !alias.startsWith(POD_ALIAS_PREFIX)) return undefined
  const match = /^([0-9]{1,10})\/([0-9]{1,10})\//.exec(alias.slice(POD_ALIAS_PREFIX.length))
  if (match === null) return undefined
  return { endpointId: Number(match[1]), incarnation: Number(match[2]) }
}

function podAddress(address: string): PodAddress {
  return address.includes(':')
    ? { family: 6, address, prefixLen: 128, gateway: POD_GATEWAY_IPV6 }
    : { family: 4, address, prefixLen: 32, gateway: POD_GATEWAY_IPV4 }
}

/** Pod names come from CNI_ARGS, which anybody may have written: an alias ends up in terminals. */
function printable(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9._-]/g, '?')
}
