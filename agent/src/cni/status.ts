// Whether STATUS is an error, and which: an error takes the node out of service, so only "no ADD can succeed" is one (ADR 0022). Pure.
import { codes, type NetworkConfig } from '@sinabro/cni/wire'
import type { RangeUsage } from '../ipam/ipam.ts'
import type { HealthSnapshot } from '../runtime/health.ts'
import { CniError } from './error.ts'

/**
 * What is merely degraded shows in status and metrics. A full pool is for the operator to know, not for the kubelet to act upon:
 * pods that leave make room, and an error would keep those that run from being restarted. So it counts only where
 * `statusReportsFullPool` asks for it.
 * @throws CniError 50; 51 when what already runs may suffer too; 7
 */
export function judgeStatus(
  health: HealthSnapshot,
  usage: readonly RangeUsage[],
  config: NetworkConfig,
): void {
  const reportsFullPool: unknown = config.statusReportsFullPool ?? false
  if (typeof reportsFullPool !== 'boolean') {
    const found = JSON.stringify(reportsFullPool)
    throw new CniError(
      codes.invalidConfig,
      `statusReportsFullPool: expected true or false, found ${found}`,
    )
  }
  const waiting = waitingFor(health)
  if (waiting !== '') {
    const failing = inState(health, 'degraded')
    throw new CniError(
      failing === '' ? codes.notAvailable : codes.limitedConnectivity,
      `the agent is not ready: ${waiting}`,
      failing === '' ? {} : { details: `failing: ${failing}` },
    )
  }
  if (!reportsFullPool) return
  const full = usage.filter(({ used, capacity }) => used >= capacity)
  if (full.length === 0) return
  const list = full.map(({ range, capacity }) => `all ${capacity} of ${range}`).join(', ')
  throw new CniError(codes.notAvailable, `no address is left: ${list} are in use`)
}

/** Empty when the agent is ready. */
export function waitingFor(health: HealthSnapshot): string {
  return inState(health, 'starting')
}

function inState({ components }: HealthSnapshot, wanted: 'starting' | 'degraded'): string {
  return components
    .filter(({ state }) => state === wanted)
    .map(({ component, message }) => `${component}: ${message ?? wanted}`)
    .join('; ')
}
