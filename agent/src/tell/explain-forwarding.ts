// In whose name a backend is asked by a client outside: judged of the maps as sb_from_uplink does with a first packet.
import {
  CONFIG_DSR,
  CONFIG_NATIVE,
  DSR_BACKENDS_MAX,
  NODE_TAKES_DSR,
} from '@sinabro/libbpf-ts/layouts'
import type { Forwarding } from '../api/views.ts'
import type { DatapathMaps } from '../datapath/maps.ts'

const WHOLE_ADDRESS = 128

export type ForwardingMaps = Pick<
  DatapathMaps,
  'config' | 'endpoints' | 'ipcache' | 'nodes' | 'nodeIds'
>

/** @param backendCount in the list that clients outside are given */
export function forwardingOf(
  { config, endpoints, ipcache, nodes, nodeIds }: ForwardingMaps,
  backend: string,
  client: string,
  backendCount: number,
): Forwarding {
  if (endpoints.get(backend) !== undefined) return 'kept'
  const behind = ipcache.get({ prefixLen: WHOLE_ADDRESS, addr: backend })
  const { flags = 0, overlayIfindex = 0, ownNode = 0 } = config.get(0) ?? {}
  const id = behind?.node ?? 0
  const node = id === 0 || id === ownNode ? undefined : nodes.get(id)
  const isOn = (flags & CONFIG_DSR) !== 0 && overlayIfindex !== 0
  const isTaken =
    node !== undefined && ((flags & CONFIG_NATIVE) === 0 || (node.flags & NODE_TAKES_DSR) !== 0)
  const isByNode = nodeIds.get(client) !== undefined
  return isOn && isTaken && !isByNode && backendCount <= DSR_BACKENDS_MAX ? 'dsr' : 'snat'
}
