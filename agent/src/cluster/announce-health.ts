// Health as conditions of the Node: whether its network can be used at all, and whether all of it works.
import type { Health } from '../runtime/health.ts'
import type { ClusterSink } from './sink.ts'

/** Follows until what it returns is called. NetworkUnavailable is Kubernetes' own condition: True keeps pods away. */
export function announceHealth(health: Health, sink: ClusterSink): () => void {
  const announce = (): void => {
    const { isReady, isHealthy, components } = health.snapshot()
    const say = (state: string): string =>
      components
        .filter((one) => one.state === state)
        .map(({ component, message }) => `${component}: ${message}`)
        .join('; ')
    sink.condition({
      type: 'NetworkUnavailable',
      status: isReady ? 'False' : 'True',
      reason: isReady ? 'SinabroReady' : 'SinabroStarting',
      message: isReady ? 'pods can be given a network' : say('starting'),
    })
    sink.condition({
      type: 'SinabroHealthy',
      status: isHealthy ? 'True' : 'False',
      reason: isHealthy ? 'AllWorks' : isReady ? 'Degraded' : 'Starting',
      message: isHealthy ? 'every component works' : say(isReady ? 'degraded' : 'starting'),
    })
  }
  const end = health.subscribe(announce)
  announce()
  return end
}
