// How pods leave the cluster from this node, for `sinabro masquerade`: uplinks and their addresses, ports, and how full they are.
import type { MasqueradeView, PoolView } from '../api/views.ts'
import type { PoolUse } from '../masquerade/pools.ts'
import { countFree, formatRange } from '../masquerade/ports.ts'
import { PROTOCOLS } from './flows.ts'
import type { Rooms } from './rooms.ts'

/** `limit`: how many of the fullest pools. The sweep counts them. */
export async function describeMasquerade(
  { masquerade, overlay, datapath, config }: Rooms,
  limit: number,
): Promise<MasqueradeView> {
  const { pools } = masquerade
  await datapath.sweep()
  await pools.look()
  const { mode, isTranslating, ports, reserved, isReservedUnknown, exempt } = masquerade.state()
  const capacity = countFree(ports, reserved)
  const { lastSweep, maps } = datapath
  return {
    mode,
    isTranslating,
    ports: formatRange(ports),
    reservedPorts: reserved.map(formatRange).join(','),
    isReservedUnknown,
    capacity,
    uplinks: overlay.uplinks(),
    keptRanges: [...config.clusterCidrs, ...config.nonMasqueradeCidrs],
    keptEntries: masquerade.state().kept,
    exempt,
    pools: pools.fullest.slice(0, limit).map((pool) => viewPool(pool, capacity)),
    poolCount: pools.count,
    flowRows: lastSweep === undefined ? 0 : lastSweep.rows - lastSweep.removed,
    translatedRows: lastSweep?.translated ?? 0,
    flowCapacity: maps.flows.map.info.maxEntries,
  }
}

function viewPool({ proto, ...pool }: PoolUse, capacity: number): PoolView {
  return { ...pool, protocol: PROTOCOLS.get(proto) ?? String(proto), capacity }
}
