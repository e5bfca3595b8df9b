// What should be true in the kernel for one local pod. Everything here is derived from its allocation, so it is the same after a restart.
import type { Bandwidth } from '../bandwidth/limits.ts'
import type { AttachmentKey } from '../ipam/allocation.ts'
import type { Era } from '../ipam/era.ts'

/** The part of an allocation that decides a pod's wiring. */
export interface PodIdentity {
  /** One per family, without prefix length. */
  readonly addresses: readonly string[]
  readonly endpointId: number
  /** Differs between two pods that had the same address; flows of the earlier one are worth nothing to the later. */
  readonly incarnation: number
  readonly hostDevice: string
  readonly ifname: string
  /** Asked for by the runtime; otherwise one is made. */
  readonly mac?: string | undefined
  readonly bandwidth?: Bandwidth | undefined
  readonly podNamespace?: string | undefined
  readonly podName?: string | undefined
}

export interface PodRow {
  readonly endpointId: number
  readonly incarnation: number
  /** Name of the host end. */
  readonly hostDevice: string
  /** Our mark on the host end, and what we find it by after a restart. */
  readonly alias: string
  readonly hostMac: string
  readonly podMac: string
  /** Name of the other end, inside the pod. */
  readonly ifname: string
  readonly mtu: number
  readonly bandwidth?: Bandwidth | undefined
  readonly podNamespace?: string | undefined
  readonly podName?: string | undefined
  readonly addresses: readonly PodAddress[]
}

export interface PodAddress {
  readonly family: 4 | 6
  readonly address: string
  /** 32 or 128: nothing is on-link for a pod but its gateway. */
  readonly prefixLen: number
  readonly gateway: string
}

/** A pod with an allocation, and where it lives. */
export interface LivePod extends PodRow {
  readonly key: AttachmentKey
  readonly netns: string
  readonly netnsCookie?: string
  readonly era?: Era
}
