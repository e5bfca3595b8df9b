// What every source of cluster objects offers: something that must hold before anything is made, jobs, and where to tell things.
import type { Jobs } from '../runtime/jobs.ts'
import type { ClusterSink } from './sink.ts'

export interface ClusterSource {
  readonly sinks: readonly ClusterSink[]
  /** @throws what keeps the agent from starting, with what to do */
  prepare(): Promise<void>
  start(jobs: Jobs): void
}
