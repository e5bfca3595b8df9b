// What those who tell of the agent may look into.
import type { RouteNetlink } from '@sinabro/node-netlink'
import type { Cluster } from '../cluster/cluster.ts'
import type { Recorder } from '../cluster/recorder.ts'
import type { AgentConfig } from '../config.ts'
import type { Datapath } from '../datapath/datapath.ts'
import type { Features } from '../features/features.ts'
import type { Ipam } from '../ipam/ipam.ts'
import type { Masquerade } from '../masquerade/masquerade.ts'
import type { Overlay } from '../overlay/overlay.ts'
import type { Pods } from '../pods/pods.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Health } from '../runtime/health.ts'
import type { HostPorts } from '../services/host-ports.ts'
import type { ServiceModel } from '../services/model.ts'
import type { ServiceRows } from '../services/rows.ts'
import type { Services } from '../services/services.ts'
import type { Table } from '../state/table.ts'
import type { Xdp } from '../xdp/xdp.ts'

export interface Rooms {
  readonly config: AgentConfig
  readonly features: Features
  readonly health: Health
  readonly cluster: Cluster
  readonly recorder: Recorder
  readonly ipam: Ipam
  readonly datapath: Datapath
  readonly overlay: Overlay
  readonly pods: Pods
  readonly masquerade: Masquerade
  readonly services: Services
  readonly xdp: Xdp
  /** What the maps are to say. */
  readonly serviceRows: Table<ServiceRows>
  /** Where Services are ours to serve, as the next. */
  readonly model?: ServiceModel
  readonly hostPorts?: HostPorts
  /** In the node's namespace. */
  readonly netlink: RouteNetlink
  readonly clock: Clock
}
