// Follows this node's own Node object: its podCIDRs become the ranges that addresses are given from.
import type { NodeRow } from '../cluster/rows.ts'
import type { Health } from '../runtime/health.ts'
import type { Log } from '../runtime/log.ts'
import type { Table } from '../state/table.ts'
import type { Ipam } from './ipam.ts'

export interface OwnRangesOptions {
  readonly nodeName: string
  readonly nodes: Table<NodeRow>
  readonly ipam: Pick<Ipam, 'ranges' | 'setRanges'>
  readonly health: Health
  readonly log: Log
}

const COMPONENT = 'own node'

/** Follows until what it returns is called. The node is not ready before its object has been read and has a usable range. */
export function followOwnRanges({
  nodeName,
  nodes,
  ipam,
  health,
  log,
}: OwnRangesOptions): () => void {
  let followed: readonly string[] | undefined
  const follow = (): void => {
    const node = nodes.get(nodeName)
    if (node === undefined && !nodes.isReady) return
    const wanted = node?.podCIDRs ?? []
    if (followed === undefined || wanted.join() !== followed.join()) {
      try {
        ipam.setRanges(wanted)
        log.info({ ranges: wanted }, 'ranges of this node')
      } catch (error) {
        health.degraded(COMPONENT, error)
        return
      }
      followed = wanted
    }
    if (node === undefined) {
      health.degraded(COMPONENT, new Error(`there is no Node object named ${nodeName}`))
    } else if (wanted.length === 0) {
      health.degraded(COMPONENT, new Error(`Node/${nodeName} has no usable spec.podCIDRs`))
    } else {
      health.ok(COMPONENT)
    }
  }
  health.starting(COMPONENT, `Node/${nodeName} has not been read`)
  const end = nodes.subscribe(follow)
  follow()
  return end
}
