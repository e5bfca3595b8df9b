// What the agent says of itself and of its pods: for `sinabro status` and `sinabro pods`. Reads only.
import { type PodView, type Status, viewPod, viewQuarantined } from '../api/status.ts'
import { formatSource, version } from '../config.ts'
import type { MasqueradeState } from '../masquerade/masquerade.ts'
import { formatRange } from '../masquerade/ports.ts'
import { podKey } from '../pods/target.ts'
import type { ServicesState } from '../services/services.ts'
import type { Rooms } from './rooms.ts'

export function describeAgent(
  rooms: Rooms,
  startedAt: string,
): Omit<Status, 'ready' | 'healthy' | 'components'> {
  const { config, features, cluster, recorder, ipam, datapath, overlay, pods } = rooms
  const { masquerade, services, model, hostPorts, xdp } = rooms
  const { self } = overlay.plan()
  const { tunnel, tunnelPort, vni } = config
  const hasTunnel = tunnel !== 'none' || overlay.takesDsr()
  return {
    version: version(),
    node: config.nodeName,
    pid: process.pid,
    startedAt,
    source: formatSource(config.source),
    nodeCount: cluster.nodes.size,
    podCount: ipam.list().length,
    ranges: ipam.usage(),
    facts: {
      'pod device': pods.podDevice,
      attach: datapath.attachMode,
      mtu: overlay.podMtu()?.toString() ?? 'unknown',
      'tunnel mode': tunnel,
      tunnel:
        self === undefined || !hasTunnel
          ? 'none'
          : `vxlan from ${self.tunnelAddress}, port ${tunnelPort}, vni ${vni}${tunnel === 'none' ? ', for direct server return alone' : ''}`,
      masquerade: describeMode(masquerade.state()),
      services: describeServices(services.state()),
      xdp: xdp.describe(),
      'own addresses': self?.ownAddresses.join(', ') ?? 'none',
    },
    features: features.view(
      [...datapath.unusedFeatures, ...(pods.podDevice === 'netkit' ? [] : (['netkit'] as const))],
      datapath.xdpMode === 'off' ? {} : { xdp: xdp.describe() },
    ),
    conditions: recorder.conditions(),
    events: recorder.events(),
    problems: [
      ...cluster.problems.values().map(({ where, object, message }) => ({
        where,
        message,
        ...(object === undefined ? {} : { object }),
      })),
      ...overlay.problems().map(({ node, message }) => ({
        where: 'overlay',
        object: `Node/${node}`,
        message,
      })),
      ...(model?.problems.values() ?? []).map(({ where, message }) => ({ where, message })),
      ...(hostPorts?.problems() ?? []).map((message) => ({ where: 'host ports', message })),
      ...services.problems().map((message) => ({ where: 'services', message })),
      ...xdp.problems().map((message) => ({ where: 'xdp', message })),
      ...ipam.quarantined().map(viewQuarantined),
    ],
  }
}

function describeServices(state: ServicesState): string {
  const { mode, isServing, isByPacketsAlone, services, backends, failed } = state
  if (mode === 'none') return 'left to kube-proxy'
  const rows = `${services} with ${backends} backends`
  const how = isByPacketsAlone ? 'ebpf without sockets' : 'ebpf'
  const word = isServing ? `${how}, ${rows}` : 'ebpf, not before everything is known'
  return failed === 0 ? word : `${word}; ${failed} could not be written: see below`
}

function describeMode({ mode, isTranslating, ports }: MasqueradeState): string {
  if (mode !== 'ebpf') return mode
  return isTranslating ? `ebpf, ports ${formatRange(ports)}` : 'ebpf, by nftables so far'
}

export function describePods({ ipam, pods }: Rooms): PodView[] {
  const statuses = new Map(pods.statuses().map((status) => [status.key, status]))
  const views = ipam.list().map((allocation) => {
    const status = statuses.get(podKey(allocation))
    return {
      ...viewPod(allocation),
      ...(status === undefined ? {} : { state: status.state }),
      ...(status?.message === undefined ? {} : { message: status.message }),
    }
  })
  const order = ({ namespace, name, ifname }: PodView): string => `${namespace}/${name}/${ifname}`
  return views.sort((a, b) => (order(a) < order(b) ? -1 : 1))
}
