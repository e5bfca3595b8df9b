// What the program can be asked for, as plain objects; command-line.ts makes them of what people write.
import { readFileSync } from 'node:fs'
import type { FlowState } from './api/views.ts'
import type { BackendChoice } from './cluster/rows.ts'
import type { FeatureName } from './features/table.ts'
import type { MasqueradeMode, PortRange } from './masquerade/rows.ts'
import type { TunnelMode } from './overlay/rows.ts'
import type { LogLevel } from './runtime/log.ts'
import type { ServicesMode } from './services/mode.ts'
import type { NodePortAddresses } from './services/node-addresses.ts'
import type { ServiceForwarding } from './services/programs.ts'

export interface AgentConfig {
  readonly source: Source
  readonly nodeName: string
  readonly stateDir: string
  readonly runDir: string
  readonly bpfDir: string
  readonly cniConfDir: string
  readonly cniBinDir: string
  readonly tunnelPort: number
  readonly vni: number
  readonly tunnel: TunnelMode
  readonly tunnelFamily: 'auto' | 4 | 6
  /** Ranges of the whole cluster beyond those of the Node objects. */
  readonly clusterCidrs: readonly string[]
  /** Names of devices; empty: those with a default route or an InternalIP. */
  readonly uplinks: readonly string[]
  readonly attach: 'auto' | 'tcx' | 'clsact'
  /** A directory of cgroup2 with every process of the node below it; absent: where cgroup2 is mounted. */
  readonly cgroupRoot?: string
  /** What new pods hang on. */
  readonly podDevice: 'auto' | 'veth' | 'netkit'
  /** To be done without although the kernel has them. */
  readonly withoutFeatures: readonly FeatureName[]
  readonly masquerade: MasqueradeMode
  /** Ports and echo ids of flows that our programs translate. */
  readonly masqueradePorts: PortRange
  /** Those that they never take. */
  readonly reservedPorts: readonly PortRange[]
  /** Ranges outside that see pods' own addresses. */
  readonly nonMasqueradeCidrs: readonly string[]
  readonly services: ServicesMode
  /** Rows of sb_services when it is made; the maps beside it go by it. */
  readonly servicesMax: number
  /** How connections from outside to services go on before the stack, on uplinks. */
  readonly xdp: 'off' | 'generic' | 'native'
  /** How what comes from outside gets a backend, where a Service does not say it. */
  readonly backendChoice: BackendChoice
  readonly nodePortAddresses: NodePortAddresses
  readonly serviceForwarding: ServiceForwarding
  /** Where the addresses of Services are from. */
  readonly serviceCidrs: readonly string[]
  /** What `spec.externalIPs` of Services may be from. */
  readonly externalIpCidrs: readonly string[]
  /** Where load balancers ask whether the node serves, as they ask kube-proxy; of all zero: every address. Absent: nowhere. */
  readonly healthzAddress?: HostPort
  /** Loopback only; absent: nowhere. */
  readonly proxyModeAddress?: HostPort
  /** Once our services are complete, the rules that kube-proxy has left go. */
  readonly cleanKubeProxy: boolean
  /** Rows of the flow table when it is made; a connection has two. Absent: by memory. */
  readonly flowsMax?: number
  /** How long a pod that is gone without a DEL keeps its addresses; seen gone at both ends of it. */
  readonly reclaimGraceSec: number
  /** Loopback only; absent: metrics and probes are on the socket alone. */
  readonly metricsAddress?: HostPort
  readonly logLevel: LogLevel
  /** For kill tests: the process ends itself at the n-th pass of a named point. */
  readonly crashAt?: CrashAt
}

export type Source = ManifestsFrom | KubernetesFrom

export interface ManifestsFrom {
  readonly kind: 'manifests'
  readonly dir: string
}

export interface KubernetesFrom {
  readonly kind: 'kubernetes'
  /** URLs of API servers in the order in which they are asked; none: that of the kubeconfig. */
  readonly servers: readonly string[]
  /** Folder with `token` and `ca.crt`. */
  readonly serviceAccountDir: string
  /** Instead of the service account. */
  readonly kubeconfig?: string
}

export interface HostPort {
  readonly host: string
  readonly port: number
}

export interface CrashAt {
  readonly point: string
  readonly pass: number
}

export type OutputFormat = 'table' | 'json' | 'yaml'

export interface ViewConfig {
  readonly socket: string
  readonly output: OutputFormat
}

/** Which connections, in the words of the query that the agent takes. */
export interface FlowsConfig {
  readonly pod?: string
  readonly to?: string
  readonly state?: FlowState
  readonly limit?: number
  /** Goes on with what changes. */
  readonly watch?: boolean
}

/** A connection to explain. */
export interface ExplainConfig {
  readonly address: string
  readonly port: number
  readonly protocol: 'tcp' | 'udp'
  /** Pod of the node, by name or address, or an address outside; absent: a process of the node. */
  readonly from?: string
}

export interface DoctorConfig
  extends Pick<AgentConfig, 'cniConfDir' | 'cniBinDir' | 'bpfDir' | 'tunnelPort' | 'vni'> {
  readonly socket: string
  /** Where containerd's configuration is. */
  readonly containerdConfig: string
}

export interface UninstallConfig
  extends Pick<AgentConfig, 'stateDir' | 'runDir' | 'bpfDir' | 'cniConfDir' | 'cniBinDir'> {
  readonly isForced: boolean
}

/** Those that show one answer of the agent. */
export type ViewCommand = 'status' | 'pods' | 'addresses' | 'nodes' | 'masquerade' | 'programs'

export type Request =
  | { readonly command: 'agent'; readonly config: AgentConfig }
  | { readonly command: ViewCommand; readonly view: ViewConfig }
  | { readonly command: 'flows'; readonly view: ViewConfig; readonly flows: FlowsConfig }
  | { readonly command: 'services'; readonly view: ViewConfig; readonly name?: string }
  | {
      readonly command: 'backends'
      readonly view: ViewConfig
      readonly service?: string
      readonly limit?: number
    }
  | {
      readonly command: 'explain-service'
      readonly view: ViewConfig
      readonly asked: ExplainConfig
    }
  | { readonly command: 'doctor'; readonly config: DoctorConfig; readonly output: OutputFormat }
  | {
      readonly command: 'uninstall'
      readonly config: UninstallConfig
      readonly output: OutputFormat
    }
  | { readonly command: 'version' }
  /** Help was shown, or the command line was wrong and the reason has been printed. */
  | { readonly command: 'none'; readonly exitCode: number }

/** Documented in `sinabro --help`; scripts rely on them. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, degraded: 4, kernel: 5 } as const

/** For people. */
export function formatSource(source: Source): string {
  if (source.kind === 'manifests') return `manifests:${source.dir}`
  const from = source.kubeconfig === undefined ? source.servers.join(',') : source.kubeconfig
  return `kubernetes:${from}`
}

export function socketPath(runDir: string): string {
  return `${runDir}/agent.sock`
}

/** The version of the package; the bundle has it built in. */
export function version(): string {
  if (typeof SINABRO_VERSION === 'string') return SINABRO_VERSION
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return String((JSON.parse(text) as { version: unknown }).version)
}
declare const SINABRO_VERSION: unknown
