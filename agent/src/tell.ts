// What the rooms know, put together for those who ask: status, pods, nodes. Reads only.
import { type PodView, type Status, viewPod, viewQuarantined } from './api/status.ts'
import type { Cluster } from './cluster/cluster.ts'
import type { Recorder } from './cluster/recorder.ts'
import { type AgentConfig, version } from './config.ts'
import type { Datapath } from './datapath/datapath.ts'
import type { Ipam } from './ipam/ipam.ts'
import type { Overlay } from './overlay/overlay.ts'
import type { Pods } from './pods/pods.ts'
import { podKey } from './pods/target.ts'
import type { Clock } from './runtime/clock.ts'
import type { Health } from './runtime/health.ts'

export interface Rooms {
  readonly config: AgentConfig
  readonly health: Health
  readonly cluster: Cluster
  readonly recorder: Recorder
  readonly ipam: Ipam
  readonly datapath: Datapath
  readonly overlay: Overlay
  readonly pods: Pods
  readonly clock: Clock
}

export function describeAgent(
  { config, cluster, recorder, ipam, datapath, overlay }: Rooms,
  startedAt: string,
): Omit<Status, 'ready' | 'healthy' | 'components'> {
  const { self } = overlay.plan()
  return {
    version: version(),
    node: config.nodeName,
    pid: process.pid,
    startedAt,
    source: `${config.source.kind}:${config.source.dir}`,
    nodeCount: cluster.nodes.size,
    podCount: ipam.list().length,
    ranges: ipam.usage(),
    facts: {
      attach: datapath.attachMode,
      mtu: overlay.podMtu()?.toString() ?? 'unknown',
      tunnel:
        self === undefined
          ? 'none'
          : `vxlan from ${self.tunnelAddress}, port ${config.tunnelPort}, vni ${config.vni}`,
      'own addresses': self?.ownAddresses.join(', ') ?? 'none',
    },
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
      ...ipam.quarantined().map(viewQuarantined),
    ],
  }
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
