// What the node tells the cluster: events and conditions. The rooms write to a sink; where it leads is for whoever wires to decide.

/** As Kubernetes has them: `reason` is CamelCase and stable, `message` is for people. */
export interface ClusterEvent {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
  readonly about: ObjectRef
}

export interface ObjectRef {
  readonly kind: 'Node' | 'Pod' | 'Service'
  readonly namespace?: string
  readonly name: string
}

/** Of this node. */
export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
}

/** Of this node's Node object. */
export interface Annotation {
  readonly name: string
  /** Absent: it goes. */
  readonly value?: string
}

/** No call waits or throws: telling must not hold up what is told of. */
export interface ClusterSink {
  event(event: ClusterEvent): void
  /** The present state of a condition; the same again is nothing new. */
  condition(condition: Condition): void
  /** What the annotation is to be from now on. */
  annotation(annotation: Annotation): void
}
