// The tables that say what the world wants, whatever source fills them.
import { Table } from '../state/table.ts'
import type { NodeRow, PodRow, ProblemRow } from './rows.ts'

export interface Cluster {
  readonly nodes: Table<NodeRow>
  readonly pods: Table<PodRow>
  /** What of the source was refused. */
  readonly problems: Table<ProblemRow>
}

export function createCluster(): Cluster {
  return {
    nodes: new Table<NodeRow>('nodes', (node) => node.name),
    pods: new Table<PodRow>('pods', (pod) => `${pod.namespace}/${pod.name}`),
    problems: new Table<ProblemRow>('problems', (problem) => problem.key),
  }
}
