// What a scenario is: a user's wish, named as a sentence, tried on a cluster that is up.
import type { Cluster } from '../cluster.ts'

export interface Scenario {
  readonly name: string
  /** Of what kube-proxy does not do: not tried where it serves. */
  readonly isWithoutKubeProxy?: true
  /** Throws what went wrong; returns a figure worth reading, if there is one. Leaves the cluster as it found it. */
  run(cluster: Cluster): Promise<string | undefined>
}
