// What a scenario is: a user's wish, named as a sentence, tried on a cluster that is up.
import type { Cluster } from '../cluster.ts'

export interface Scenario {
  readonly name: string
  /** Why it is not tried on this cluster. */
  unfit?(cluster: Cluster): string | undefined
  /** Throws what went wrong; returns a figure worth reading, if there is one. Leaves the cluster as it found it. */
  run(cluster: Cluster): Promise<string | undefined>
}
