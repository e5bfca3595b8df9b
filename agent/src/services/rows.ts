// What the maps must say of one Service, or of one pod with host ports: made by the model, written by the targets.
import type { Protocol } from '../cluster/rows.ts'

export type { Protocol }

/** Where a client asks. */
export interface Frontend {
  readonly kind: 'ClusterIP' | 'NodePort' | 'ExternalIP' | 'LoadBalancer' | 'HostPort'
  /** Canonical. Of all zero ('0.0.0.0' or '::'): every address of the node that serves this kind. */
  readonly address: string
  readonly port: number
}

/** Who answers. The same object in every list that has it. */
export interface Backend {
  /** Canonical. */
  readonly address: string
  readonly port: number
  /** Not ready any more: it is asked because no other is left. */
  readonly isTerminating: boolean
  readonly isOnThisNode: boolean
  readonly nodeName?: string
  /** `namespace/name` of the pod, where the slice says so. */
  readonly pod?: string
}

/** One port of a Service in one family. */
export interface ServicePort {
  /**
   * `namespace/name:port name/protocol/family`, with `/external` behind it where the policies make two of one port:
   * unique, and the same after a restart.
   */
  readonly key: string
  readonly portName: string
  readonly protocol: Protocol
  readonly family: 4 | 6
  readonly frontends: readonly Frontend[]
  /** For pods and processes of this node. */
  readonly internal: readonly Backend[]
  /** For what comes from outside; the same list where nothing tells them apart. */
  readonly external: readonly Backend[]
  /** The policy is Local: the list has backends of this node only. */
  readonly isInternalLocal: boolean
  readonly isExternalLocal: boolean
  /** What comes from outside gets its backend by hashing, the same on every node; absent: by chance. */
  readonly isHashed?: true
  /** `sessionAffinityConfig.clientIP.timeoutSeconds`; absent: no affinity. */
  readonly affinitySec?: number
  /** Who may ask the frontends of kind LoadBalancer: ranges of this family, canonical. Absent: everybody; empty: nobody. */
  readonly sourceRanges?: readonly string[]
  /** With these: this node's own addresses are in none of them. */
  readonly isNodeRefused?: true
}

export interface ServiceRows {
  /** `namespace/name`; of host ports `hostport:namespace/pod`. */
  readonly key: string
  /** Its cluster addresses: other ports of these are refused. */
  readonly addresses: readonly string[]
  readonly ports: readonly ServicePort[]
  /** `externalTrafficPolicy: Local`: the port of its health check, with how many backends are on this node. */
  readonly healthCheckNodePort?: number
}
