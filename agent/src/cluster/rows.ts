// What the world wants, as rows: the parts of Kubernetes objects that the node network reads, under their own names.

export interface NodeRow {
  readonly name: string
  readonly uid?: string
  /** `spec.podCIDRs`, canonical; only those that no other node holds. */
  readonly podCIDRs: readonly string[]
  /** `status.addresses` of type InternalIP, canonical, in their order. */
  readonly internalIPs: readonly string[]
  /** The same of type ExternalIP: nobody else may have them. Absent: none. */
  readonly externalIPs?: readonly string[]
  /** Being deleted, or about to be: the autoscaler's taint says so. Load balancers are to look elsewhere. */
  readonly isLeaving?: true
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
  /** `metadata.creationTimestamp`: of two that claim one address the older has it. */
  readonly createdAt?: string
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName'
  /** Canonical, and which families it has. None: headless, a name outside, or not given any yet. */
  readonly clusterIPs: readonly string[]
  readonly externalIPs: readonly string[]
  /** Those of `status.loadBalancer.ingress` that have an `ip`. */
  readonly ingress: readonly IngressRow[]
  readonly ports: readonly ServicePortRow[]
  /** `Cluster` where absent, as `externalTrafficPolicy`. */
  readonly internalTrafficPolicy?: 'Local'
  readonly externalTrafficPolicy?: 'Local'
  /** With `externalTrafficPolicy: Local` only. */
  readonly healthCheckNodePort?: number
  /** `sessionAffinityConfig.clientIP.timeoutSeconds`; absent: `sessionAffinity: None`. */
  readonly affinitySec?: number
  /** Networks in canonical text; absent: everybody. */
  readonly loadBalancerSourceRanges?: readonly string[]
  /** For people: what it asks for is in the hints of its slices. */
  readonly trafficDistribution?: string
  /** Annotation `sinabro.io/backend-choice`. */
  readonly backendChoice?: BackendChoice
  /** Label `service.kubernetes.io/service-proxy-name`: somebody else's to serve. */
  readonly proxyName?: string
  /** What of its addresses from outside, or of our annotation, is none, in words; the rest holds. */
  readonly refused?: readonly string[]
}

/** By chance, or by consistent hashing (Maglev). */
export type BackendChoice = 'random' | 'maglev'

export interface IngressRow {
  readonly ip: string
  /** `VIP` where absent. With `Proxy`, packets come with another destination: the address is the balancer's own. */
  readonly ipMode?: 'Proxy'
}

export interface ServicePortRow {
  /** Empty where it is the only one. */
  readonly name: string
  readonly protocol: Protocol
  readonly port: number
  readonly nodePort?: number
}

export type Protocol = 'TCP' | 'UDP' | 'SCTP'

/** Part of what is behind a Service: there are tens of thousands of endpoints, so only what somebody reads is kept. */
export interface EndpointSliceRow {
  readonly namespace: string
  readonly name: string
  /** Name of the Service in the same namespace; absent: of none. */
  readonly service?: string
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN'
  /** Without those that have no number. */
  readonly ports: readonly EndpointPortRow[]
  readonly endpoints: readonly EndpointRow[]
  /** Addresses that no endpoint may have, as they are written. */
  readonly refused?: readonly string[]
  /** When what led to this content happened, as the controller says, milliseconds since 1970. */
  readonly triggeredAt?: number
}

export interface EndpointPortRow {
  readonly name: string
  readonly protocol: Protocol
  readonly port: number
}

export interface EndpointRow {
  /** Canonical; the first one, as the API says: others are the same. */
  readonly address: string
  readonly condition: EndpointCondition
  readonly nodeName?: string
  readonly zone?: string
  /** `namespace/name`. */
  readonly pod?: string
  /** `hints`: for whom it is meant. */
  readonly forZones?: readonly string[]
  readonly forNodes?: readonly string[]
}

/**
 * The three conditions of the API as the one question: may it be asked? `ServingTerminating`: if nothing is ready;
 * `Terminating`: no more; `NotReady`: not yet.
 */
export type EndpointCondition = 'Ready' | 'ServingTerminating' | 'Terminating' | 'NotReady'

/** A range that addresses of Services come from. */
export interface ServiceCIDRRow {
  readonly name: string
  readonly cidrs: readonly string[]
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
    /** An address that it may not have. */
    | 'refused'
    /** An address that another has. */
    | 'taken'
    /** More than one object may have. */
    | 'excess'
    /** No room for what it would have. */
    | 'tables'
  /** `file:line` for manifests. */
  readonly where: string
  /** `Node/worker-1`, when that much could be read. */
  readonly object?: string
  readonly message: string
}
