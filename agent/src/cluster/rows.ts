// What the world wants, as rows: the parts of Kubernetes objects that the node network reads, under their own names.

export interface NodeRow {
  readonly name: string
  readonly uid?: string
  /** `spec.podCIDRs`, canonical; only those that no other node holds. */
  readonly podCIDRs: readonly string[]
  /** `status.addresses` of type InternalIP, canonical, in their order. */
  readonly internalIPs: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export interface PodRow {
  readonly namespace: string
  readonly name: string
  readonly uid?: string
  /** `spec.nodeName`. */
  readonly nodeName?: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export interface ServiceRow {
  readonly namespace: string
  readonly name: string
  readonly uid?: string
  /** Where it is reached, canonical: `spec.clusterIPs`, `spec.externalIPs` and the `ip`s of `status.loadBalancer.ingress`. */
  readonly addresses: readonly string[]
}

export interface NamespaceRow {
  readonly name: string
  readonly uid?: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

/** Something in the source that could not be used, in words for the person who wrote it. */
export interface ProblemRow {
  readonly key: string
  readonly code:
    | 'yaml'
    | 'unknown-kind'
    | 'invalid'
    | 'duplicate'
    | 'overlap'
    | 'no-pod-cidrs'
    | 'unreadable'
  /** `file:line` for manifests. */
  readonly where: string
  /** `Node/worker-1`, when that much could be read. */
  readonly object?: string
  readonly message: string
}
