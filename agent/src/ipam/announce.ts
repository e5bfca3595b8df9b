// Tells the cluster how the node stands with addresses: a condition that follows the pools, an event when one becomes full.
import type { ClusterSink, Condition } from '../cluster/sink.ts'
import type { RangeUsage } from './ipam.ts'

export interface AnnounceOptions {
  readonly nodeName: string
  readonly ipam: {
    usage(): readonly RangeUsage[]
    subscribe(listener: () => void): () => void
  }
  readonly sink: ClusterSink
}

/** From this part of a range on, the condition's reason says that it becomes scarce. */
const SCARCE = 0.9

/** Status False when no pod can get an address. Pure. */
export function poolCondition(usage: readonly RangeUsage[]): Condition {
  const type = 'PodAddressesAvailable'
  const say = (ranges: readonly RangeUsage[]): string =>
    ranges.map(({ range, used, capacity }) => `${range}: ${used} of ${capacity} in use`).join(', ')
  if (usage.length === 0) {
    return { type, status: 'False', reason: 'NoRange', message: 'this node has no pod range' }
  }
  const full = usage.filter(({ used, capacity }) => used >= capacity)
  if (full.length > 0) return { type, status: 'False', reason: 'PoolFull', message: say(full) }
  const scarce = usage.filter(({ used, capacity }) => used >= capacity * SCARCE)
  if (scarce.length > 0) {
    // Without the figures, which change with every pod.
    const message = `${scarce.map(({ range }) => range).join(', ')}: over ${SCARCE * 100} % in use`
    return { type, status: 'True', reason: 'FewAddressesLeft', message }
  }
  return { type, status: 'True', reason: 'AddressesAvailable', message: 'all ranges have room' }
}

/** Follows until what it returns is called. */
export function announcePools({ nodeName, ipam, sink }: AnnounceOptions): () => void {
  const about = { kind: 'Node', name: nodeName } as const
  let reason = ''
  const announce = (): void => {
    const condition = poolCondition(ipam.usage())
    sink.condition(condition)
    if (condition.reason === 'PoolFull' && reason !== 'PoolFull') {
      const message = `no address is left for further pods: ${condition.message}`
      sink.event({ type: 'Warning', reason: 'PodAddressesExhausted', message, about })
    }
    reason = condition.reason
  }
  const end = ipam.subscribe(announce)
  announce()
  return end
}
