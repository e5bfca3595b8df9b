// What executable and agent say to each other: types, paths, limits, codes, the queue's format. Pure; the one file the agent imports.

/** CNI verbs that reach the agent, and the path each one is POSTed to over the Unix socket. */
export const agentPaths = {
  ADD: '/v1/cni/add',
  DEL: '/v1/cni/del',
  CHECK: '/v1/cni/check',
  STATUS: '/v1/cni/status',
  GC: '/v1/cni/gc',
} as const
export type AgentVerb = keyof typeof agentPaths

/** Values used when the network configuration does not set them. */
export const defaults = {
  socket: '/run/sinabro/agent.sock',
  stateDir: '/var/lib/sinabro',
  /** How long ADD and CHECK keep trying to reach an agent that is not there. */
  connectWaitMs: 10_000,
  /** STATUS answers 50 only after the agent has been unreachable for this long. */
  statusGraceSec: 60,
} as const

/** Whole time of one call, from the start of the executable. The agent may use the same figures for its own deadlines. */
export const callTimeoutMs = {
  ADD: 30_000,
  DEL: 5_000,
  CHECK: 10_000,
  STATUS: 1_000,
  GC: 30_000,
} as const satisfies Record<AgentVerb, number>

/** Longer ones are refused before anything is done. A request is the configuration and its envelope. */
export const limits = {
  configBytes: 1 << 20,
  /** Objects and lists inside each other, in configurations and answers. */
  jsonDepth: 64,
  requestBytes: 2 << 20,
  responseBytes: 1 << 20,
  responseHeadBytes: 16 << 10,
  containerIdLength: 128,
  networkNameLength: 128,
  /** IFNAMSIZ less the NUL: linux/if.h. */
  interfaceNameLength: 15,
} as const

/** CNI specification, "Error": 1–99 are reserved by it, 100 and above are ours (append only, never renumbered). */
export const codes = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  /** Tells the runtime that no DEL is needed: never after anything was allocated. */
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfig: 7,
  invalidNetns: 8,
  tryAgainLater: 11,
  notAvailable: 50,
  limitedConnectivity: 51,
  internal: 100,
  /** The agent answered with something that is not this protocol. */
  badAgentAnswer: 101,
  poolExhausted: 102,
  interfaceTaken: 103,
  /** CHECK found something missing or changed. */
  checkFailed: 104,
  /** A record on disk cannot be read; it was set aside and is never guessed. */
  corruptedRecord: 105,
  /** An address that was asked for is in use, or not one of this node's. */
  addressUnavailable: 106,
  /** Another pod of the node has a host port that was asked for. */
  hostPortTaken: 107,
} as const

/**
 * When a call began. Every request carries one, taken as the executable starts; the agent keeps that of the latest
 * ADD with the allocation. The clock is CLOCK_BOOTTIME: it never goes back and means nothing on another boot.
 */
export interface Sequence {
  /** /proc/sys/kernel/random/boot_id */
  readonly bootId: string
  readonly bootTimeUs: number
}

export interface CniRequest {
  /** Version of the caller's configuration. Results always travel in the shape of 1.1.0; the executable converts. */
  readonly cniVersion: string
  /** '' for STATUS and GC. */
  readonly containerId: string
  /** Path of the network namespace as the caller wrote it; '' when it is gone (DEL) or not asked for. */
  readonly netns: string
  /** '' for STATUS and GC. */
  readonly ifname: string
  /** CNI_ARGS as given: 'K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0'. */
  readonly args: string
  /** CNI_PATH as given. */
  readonly path: string
  readonly config: NetworkConfig
  readonly sequence: Sequence
}

/** The network configuration from stdin, whole. Members that we do not name are kept. */
export interface NetworkConfig {
  readonly cniVersion: string
  readonly name: string
  readonly type: string
  readonly socket?: string
  readonly stateDir?: string
  readonly connectWaitMs?: number
  readonly statusGraceSec?: number
  readonly statusReportsFullPool?: boolean
  readonly dns?: Dns
  readonly runtimeConfig?: RuntimeConfig
  /** Converted by the executable to the shape of 1.1.0. Merging it into ADD's answer is the executable's work too. */
  readonly prevResult?: CniResult
  /** GC only: the attachments to keep. The executable refuses GC without a list, and takes the older name 'cni.dev/attachments' too. */
  readonly 'cni.dev/valid-attachments'?: readonly Attachment[]
  readonly [member: string]: unknown
}

/** What the runtime fills in for the capabilities that our configuration declares. */
export interface RuntimeConfig {
  readonly ips?: readonly string[]
  readonly mac?: string
  readonly [capability: string]: unknown
}

export interface Attachment {
  readonly containerID: string
  readonly ifname: string
}

/** Body of a 200 answer to ADD: ours alone, without prevResult and dns, which the executable adds. Other verbs answer {}. */
export interface CniResult {
  readonly interfaces?: readonly CniInterface[]
  readonly ips?: readonly CniIp[]
  readonly routes?: readonly CniRoute[]
  readonly dns?: Dns
}

export interface CniInterface {
  readonly name: string
  readonly mac?: string
  readonly mtu?: number
  /** CNI_NETNS exactly as given; absent for an interface of the host. */
  readonly sandbox?: string
  readonly [member: string]: unknown
}

export interface CniIp {
  /** '10.244.1.5/32' */
  readonly address: string
  readonly gateway?: string
  /** Index into `interfaces`. */
  readonly interface?: number
}

export interface CniRoute {
  readonly dst: string
  readonly gw?: string
  readonly mtu?: number
  readonly [member: string]: unknown
}

export interface Dns {
  readonly nameservers?: readonly string[]
  readonly domain?: string
  readonly search?: readonly string[]
  readonly options?: readonly string[]
}

/** Body of every answer that is not 200. The HTTP status says no more than "not done". */
export interface CniErrorBody {
  readonly cniVersion: string
  readonly code: number
  readonly msg: string
  readonly details?: string
}

/**
 * A DEL (or GC) that found no agent, one file each in `<stateDir>/queue/`, mode 0600, named by `queueFileName`.
 * The file is written under a name that begins with a dot, fsynced, renamed, and the directory fsynced; so a file without a
 * dot is whole, and one with a dot is either being written or was left by a crash (safe to remove after an hour).
 * The agent reads the directory before it serves its first ADD, then watches it. Files are taken in the order of their names,
 * and removed (and the directory fsynced) only after their effect is durable. What cannot be read is set aside and reported.
 */
export interface QueueEntry {
  readonly format: 1
  readonly verb: 'DEL' | 'GC'
  /** `config.prevResult` is left out. */
  readonly request: CniRequest
}

export const queueDirName = 'queue'

/** STATUS keeps there, beside the socket, since when no agent has answered. Removed by the first answer, and by uninstall. (ADR 0022) */
export const outageFileName = 'unreachable-since.json'

/** Names sort by time within one boot. `pid` keeps two calls of the same microsecond apart. */
export function queueFileName(sequence: Sequence, pid: number): string {
  const time = String(sequence.bootTimeUs).padStart(16, '0')
  return `${sequence.bootId}-${time}-${pid}.json`
}

/**
 * True if a removal that was asked for at `removal` may undo an attachment whose ADD began at `add`. `currentBootId` is that of
 * the agent. Same boot: the later one wins, and a tie keeps the attachment. An ADD of an earlier boot has lost its namespace
 * with that boot, so it may always go; an ADD of this boot is later than any removal of an earlier one. (ADR 0021)
 */
export function mayUndo(removal: Sequence, add: Sequence, currentBootId: string): boolean {
  if (add.bootId !== currentBootId) return true
  return removal.bootId === currentBootId && removal.bootTimeUs > add.bootTimeUs
}
