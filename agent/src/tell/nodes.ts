// The nodes of the cluster as this one reaches them: what should be, from the plan, and what packets meet, from the maps.
import { NODE_VALID } from '@sinabro/libbpf-ts/layouts'
import type { NodeView } from '../api/views.ts'
import type { NodeRow } from '../cluster/rows.ts'
import { parseKey } from '../overlay/prefix.ts'
import type { Rooms } from './rooms.ts'

/** This node first, the others by name. */
export function describeNodes(
  rooms: Pick<Rooms, 'config' | 'cluster' | 'overlay' | 'datapath'>,
): NodeView[] {
  const { tunnel } = rooms.config
  const way: NodeView['way'] = tunnel === 'none' ? 'direct' : 'tunnel'
  const { self, peers, problems } = rooms.overlay.plan()
  const messages = new Map<string, string>()
  for (const { node, message } of [...problems, ...rooms.overlay.problems()]) {
    messages.set(node, message)
  }
  const tunnels = new Map(peers.map(({ name, tunnelAddress }) => [name, tunnelAddress]))
  return rooms.cluster.nodes
    .values()
    .map((node) => {
      const isSelf = node.name === self?.name
      const tunnelAddress = isSelf ? self.tunnelAddress : tunnels.get(node.name)
      const outer = tunnel === 'none' ? undefined : tunnelAddress
      const common = { ...view(node), isSelf, mode: tunnel, ...some('tunnelAddress', outer) }
      if (isSelf) return { ...common, way: 'self' as const, ...some('mtu', rooms.overlay.podMtu()) }
      const row = tunnelAddress === undefined ? undefined : readNode(rooms, tunnelAddress, node)
      const message =
        messages.get(node.name) ??
        (tunnelAddress === undefined
          ? 'this node takes no part in the overlay'
          : 'not yet in the maps')
      if (row === undefined) return { ...common, way: 'none' as const, message }
      return {
        ...common,
        way,
        mtu: row.mtu,
        ...some('message', messages.get(node.name)),
      }
    })
    .sort((a, b) => Number(b.isSelf) - Number(a.isSelf) || (a.name < b.name ? -1 : 1))
}

/** What the programs know of the node that has this address; undefined if no range of it is reached, though it has some. */
function readNode(
  { datapath }: Pick<Rooms, 'datapath'>,
  tunnelAddress: string,
  { podCIDRs }: NodeRow,
) {
  const { nodeIds, nodes, ipcache } = datapath.maps
  const id = nodeIds.get(tunnelAddress)
  const row = id === undefined ? undefined : nodes.get(id)
  if (row === undefined || (row.flags & NODE_VALID) === 0) return undefined
  const isReached = podCIDRs.some((range) => ipcache.get(parseKey(range))?.node === id)
  return isReached || podCIDRs.length === 0 ? row : undefined
}

function view({ name, podCIDRs, internalIPs }: NodeRow) {
  return { name, podCIDRs, internalIPs }
}

function some<Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { [name in Name]?: Value } {
  return value === undefined ? {} : ({ [name]: value } as { [name in Name]: Value })
}
