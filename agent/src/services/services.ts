// Services served by our programs: rows in the maps, rules for what the programs do not answer, and the part that turns it on last (ADR 0086).
//
// createServices(deps)   makes the room
//   .start(jobs)         its reconcilers, and the job that turns the programs' part on once the maps say everything
//   .state()             for those who tell of it
import {
  CONFIG_SERVICES,
  CONFIG_TRANSLATED,
  NODE_ADDR_NODE_PORTS,
  type ServiceConfig,
} from '@sinabro/libbpf-ts/layouts'
import type { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import type { EndpointSliceRow, NodeRow, ServiceCIDRRow } from '../cluster/rows.ts'
import type { Datapath } from '../datapath/datapath.ts'
import type { CrashPoint } from '../ipam/crash-point.ts'
import { createNft, type Nft } from '../masquerade/nft.ts'
import { NftTableTarget } from '../masquerade/target.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Health } from '../runtime/health.ts'
import { Histogram } from '../runtime/histogram.ts'
import type { Jobs } from '../runtime/jobs.ts'
import { codeOf, type Log } from '../runtime/log.ts'
import { Reconciler } from '../state/reconcile.ts'
import type { RowStatus } from '../state/row-status.ts'
import { type Source, Table } from '../state/table.ts'
import type { Sync } from './health-answers.ts'
import { NodeAddressTarget } from './node-address-target.ts'
import { computeNodeAddresses, NodeAddresses, type NodePortAddresses } from './node-addresses.ts'
import { OwnNode } from './own-node.ts'
import { ProgrammingLatency } from './programming-latency.ts'
import { ServiceRangeTarget } from './range-target.ts'
import type { ServiceRows } from './rows.ts'
import { formatServiceRules, type ServiceRules } from './ruleset.ts'
import { SctpServices } from './sctp.ts'
import { computeSctp, formatSctpRules, type SctpRules } from './sctp-ruleset.ts'
import { ServiceTarget } from './target.ts'
import { WrittenRows } from './written-rows.ts'

export type ServicesMode = 'ebpf' | 'none'

export interface ServicesDeps {
  readonly mode: ServicesMode
  /** What the maps must say of all Services and host ports. */
  readonly rows: Table<ServiceRows>
  /** Nothing is written before each of these is known, the rows themselves too: what an earlier agent wrote goes on until then. */
  readonly sources: readonly Source[]
  readonly slices: Table<EndpointSliceRow>
  readonly nodes: Table<NodeRow>
  readonly nodeName: string
  readonly nodePortAddresses: NodePortAddresses
  /** Where addresses of Services come from, beside what the cluster says. */
  readonly serviceCIDRs: readonly string[]
  readonly ranges: Table<ServiceCIDRRow>
  /** This node's own in the pod network; undefined while they are not known. */
  readonly ownAddresses: () => readonly string[] | undefined
  /** Pods of other nodes are reached by the kernel, not by our programs: it lends clients outside an address of this node. */
  readonly isLending: boolean
  readonly sockets: SocketHooks
  /** After each batch of changes that is in the maps. */
  readonly onWritten?: () => void
  /** Until every pod has the programs of this agent. */
  readonly attached: () => Promise<void>
  readonly datapath: Pick<Datapath, 'maps' | 'config'>
  /** In the node's namespace, as `hostNamespace`. */
  readonly netlink: RouteNetlink
  readonly hostNamespace: NetworkNamespace
  /** Names of our tables in family inet: of answers, and of SCTP. */
  readonly table: string
  readonly sctpTable: string
  readonly nft?: Nft
  readonly crashPoint?: CrashPoint
  readonly log: Log
  readonly clock: Clock
  readonly health: Health
  readonly refreshMs?: number
}

/** Programs on the sockets of the node and its pods. */
export interface SocketHooks {
  /** Idempotent; looks that they run. */
  attachSockets(): Promise<void>
  /** Exactly those of this agent, and they run. */
  areSocketsAttached(): boolean
  detachSockets(): Promise<unknown>
  /** Of the node's own namespace, as programs see it. */
  hostNetnsCookie(): bigint
}

export interface ServicesState {
  readonly mode: ServicesMode
  /** New connections to Services are translated by our programs. */
  readonly isServing: boolean
  /** Sockets are not asked: the node's own processes do not find Services. */
  readonly isByPacketsAlone: boolean
  readonly services: number
  /** Rows in use. */
  readonly headers: number
  readonly slots: number
  readonly backends: number
  /** Services that could not be written. */
  readonly failed: number
  /** Rows that found no room, by map, since the start. */
  readonly refusals: ReadonlyMap<string, number>
}

const REFRESH_MS = 60_000
/** All maps are read then: it costs what there is. */
const ROWS_REFRESH_MS = 300_000
/** What must be known before the programs' part is turned on may take so long until that counts as a fault. */
const PATIENCE_MS = 10_000
const ROWS = 'services'
const PROGRAMS = 'service programs'
const BY_PACKETS_ALONE =
  'Services are served for pods and from outside packet by packet; processes of the node itself do not find them'
const CONFIG_ROW = 0
const NONE = '::'
const SYNC_BUCKETS_SEC = Array.from({ length: 15 }, (_, at) => 0.001 * 2 ** at)

export function createServices(deps: ServicesDeps): Services {
  return new Services(deps)
}

export class Services {
  readonly #deps: ServicesDeps
  /** Batches of changes, until the last map was written. */
  readonly syncs = new Histogram(SYNC_BUCKETS_SEC)
  readonly latency: ProgrammingLatency
  /** Ready while new connections to Services are translated by our programs. */
  readonly serving: Source
  /** What the node's devices have; followed while Services are served. */
  readonly addresses = new NodeAddresses()
  readonly #onServing = new Set<() => void>()
  readonly #isOn: boolean
  readonly #wanted: Table<ServiceRows>
  readonly #sources: readonly Source[]
  readonly #sctp: SctpServices
  readonly #node: OwnNode
  readonly #target: ServiceTarget
  readonly #written: WrittenRows
  readonly #rows: Reconciler<ServiceRows, unknown>
  readonly #nodeAddresses: Reconciler<object, unknown>
  readonly #ranges: Reconciler<object, unknown>
  readonly #rules: Reconciler<ServiceRules, unknown>
  readonly #sctpRules: Reconciler<SctpRules, unknown>
  /** Since when the oldest of the changes that are being written waits, by the monotonic clock; undefined: none is. */
  #waitingSinceMs: number | undefined
  /** The same of those that came since. */
  #nextSinceMs: number | undefined
  #lastSyncAt: number | undefined
  #isByPacketsAlone = false

  constructor(deps: ServicesDeps) {
    this.#deps = deps
    const { mode, rows, nodes, ranges, datapath, table, log, clock, health } = deps
    const { maps, config } = datapath
    const { refreshMs = REFRESH_MS, crashPoint } = deps
    this.#isOn = mode === 'ebpf'
    const onServing = this.#onServing
    this.serving = {
      name: 'Services that are served',
      get isReady() {
        return config.has(CONFIG_SERVICES)
      },
      subscribe(listener) {
        onServing.add(listener)
        return () => onServing.delete(listener)
      },
    }
    this.#waitingSinceMs = clock.monotonicMs()
    this.#wanted = this.#isOn ? rows : nobody()
    this.#wanted.subscribe((changes) => {
      if (changes.length > 0) this.#nextSinceMs ??= clock.monotonicMs()
    })
    this.#sources = this.#isOn ? [rows, ...deps.sources] : []
    this.#sctp = new SctpServices(this.#wanted)
    this.#node = new OwnNode(nodes, deps.nodeName, maps.nodeAddrs.entries())
    this.latency = new ProgrammingLatency(deps.slices, clock)
    this.#target = new ServiceTarget({
      maps,
      ...(crashPoint === undefined ? {} : { crashPoint }),
      onWritten: ({ key }) => {
        this.latency.written(key)
        this.#written.tell()
      },
    })
    this.#written = new WrittenRows(this.#wanted, (row) => this.#target.has(row))
    const common = { log, clock, health, refreshMs }
    this.#rows = new Reconciler({
      ...common,
      ...{ target: this.#target, desired: this.#wanted, sources: [] },
      refreshMs: deps.refreshMs ?? ROWS_REFRESH_MS,
    }) as Reconciler<ServiceRows, unknown>
    this.#nodeAddresses = new Reconciler({
      ...common,
      target: new NodeAddressTarget(maps),
      desired: () => (this.#isOn && this.#isNodeKnown() ? this.#computeAddresses() : []),
      sources: this.#isOn ? [nodes, this.addresses] : [],
    }) as Reconciler<object, unknown>
    this.#ranges = new Reconciler({
      ...common,
      target: new ServiceRangeTarget(maps),
      desired: () => (this.#isOn ? this.#computeRanges() : []),
      sources: this.#isOn ? [ranges] : [],
    }) as Reconciler<object, unknown>
    const nft = deps.nft ?? createNft()
    this.#rules = new Reconciler({
      ...common,
      target: new NftTableTarget({ name: 'service rules', table, nft, format: formatServiceRules }),
      // The rules of an earlier version hold SCTP too.
      desired: () => (this.#isSctpKnown() ? [{ isLending: deps.isLending }] : []),
      sources: this.#isOn ? [this.#sctp, nodes, this.addresses] : [],
    }) as Reconciler<ServiceRules, unknown>
    this.#sctpRules = new Reconciler({
      ...common,
      target: new NftTableTarget({
        ...{ name: 'SCTP rules', table: deps.sctpTable, nft, format: formatSctpRules },
      }),
      desired: () => (this.#isSctpKnown() ? this.#computeSctpRules() : []),
      sources: this.#isOn ? [this.#sctp, nodes, this.addresses] : [],
    }) as Reconciler<SctpRules, unknown>
    if (!this.#isOn) config.setFlags(CONFIG_SERVICES, 0)
    else health.starting(PROGRAMS, 'waits for its maps and for its programs on sockets')
  }

  start(jobs: Jobs): void {
    const { clock, netlink, hostNamespace, refreshMs = REFRESH_MS } = this.#deps
    if (this.#isOn) {
      const follow = { netns: hostNamespace, netlink, clock, refreshMs }
      jobs.start('node addresses', (signal) => this.addresses.run(follow, signal))
      jobs.start('service syncs', (signal) => this.#time(signal))
    }
    jobs.start(ROWS, (signal) => this.#runRows(signal))
    jobs.start('service node addresses', (signal) => this.#nodeAddresses.run(signal))
    jobs.start('service ranges', (signal) => this.#ranges.run(signal))
    jobs.start('service rules', (signal) => this.#rules.run(signal))
    jobs.start('SCTP rules', (signal) => this.#sctpRules.run(signal))
    jobs.start(PROGRAMS, (signal, alive) => this.#run(signal, alive))
  }

  state(): ServicesState {
    const { mode, datapath } = this.#deps
    return {
      ...{ mode, isServing: datapath.config.has(CONFIG_SERVICES), services: this.#wanted.size },
      isByPacketsAlone: this.#isByPacketsAlone,
      ...this.#target.sizes,
      failed: this.#rows.statuses().filter(({ state }) => state === 'error').length,
      refusals: this.#target.writer.refusals,
    }
  }

  /** For packets and sockets, so that nobody else has to: what a restarted agent finds turned on is of its packets alone. */
  servesAll(): boolean {
    const { datapath, sockets } = this.#deps
    const isOfPackets = datapath.config.has(CONFIG_SERVICES) && !this.#isByPacketsAlone
    return isOfPackets && sockets.areSocketsAttached()
  }

  /** Until maps and rules say what they should of a Service, or of a pod with host ports. @throws the signal's reason; what the rules fail with */
  async whenWritten(key: string, signal: AbortSignal): Promise<void> {
    await this.#written.when(key, signal)
    if (!hasSctp(this.#wanted.get(key))) return
    await Promise.race([this.#sctpRules.caughtUp(), whenAborted(signal)])
    signal.throwIfAborted()
    const failed = this.#sctpRules.statuses().find(({ state }) => state === 'error')
    if (failed !== undefined) throw new Error(`SCTP rules: ${failed.message}`)
  }

  /** How far the maps are behind, for health checks: the first complete list counts as one change. */
  sync(): Sync {
    const { clock } = this.#deps
    // Nobody has told of a change: what an earlier agent wrote is all there is to know.
    if (this.#goesOn()) return {}
    const since = this.#waitingSinceMs ?? this.#nextSinceMs
    const at = this.#lastSyncAt
    return {
      ...(since === undefined ? {} : { waitingMs: clock.monotonicMs() - since }),
      ...(at === undefined ? {} : { lastAt: at }),
    }
  }

  /** As the agent before left it, while the cluster says nothing. */
  #goesOn(): boolean {
    const isTold = this.#sources.every(({ isReady }) => isReady)
    return !isTold && this.#deps.datapath.config.has(CONFIG_SERVICES)
  }

  /** Those that are not in the maps as they should be, in words. */
  problems(): string[] {
    return this.#rows
      .statuses()
      .flatMap(({ key, message }) => (message === undefined ? [] : [`${key}: ${message}`]))
  }

  /** By reconciler. */
  statuses(): ReadonlyMap<string, RowStatus[]> {
    return new Map([
      ['services', this.#rows.statuses()],
      ['service node addresses', this.#nodeAddresses.statuses()],
      ['service ranges', this.#ranges.statuses()],
      ['service rules', this.#rules.statuses()],
      ['SCTP rules', this.#sctpRules.statuses()],
    ])
  }

  /** Until then rows would say that node ports are at none of its addresses, over those of an earlier agent. */
  #isNodeKnown(): boolean {
    return this.#deps.nodes.isReady && this.addresses.isReady
  }

  /** Until then they would leave out SCTP Services that an earlier agent has rules for. */
  #isSctpKnown(): boolean {
    return this.#isOn && this.#sctp.isReady && this.#isNodeKnown()
  }

  #computeAddresses() {
    const { nodePortAddresses } = this.#deps
    return computeNodeAddresses(this.addresses.list(), nodePortAddresses, this.#node.known)
  }

  #computeRanges() {
    const { serviceCIDRs, ranges } = this.#deps
    const all = [...serviceCIDRs, ...ranges.values().flatMap(({ cidrs }) => cidrs)]
    return [...new Set(all)].map((prefix) => ({ prefix }))
  }

  /** None where no Service has SCTP: then there is no table. */
  #computeSctpRules(): SctpRules[] {
    const sctp = computeSctp(this.#sctp.list())
    if (sctp.length === 0) return []
    const rows = this.#computeAddresses()
    const nodeAddresses = rows
      .filter(({ flags }) => (flags & NODE_ADDR_NODE_PORTS) !== 0)
      .map(({ address }) => address)
    return [{ sctp, pods: this.#node.known.podCIDRs, nodeAddresses }]
  }

  /** All rows together, or none: what an earlier agent wrote is better than part of what is. */
  async #runRows(signal: AbortSignal): Promise<void> {
    // Without addresses of the node, host ports that name one would be taken away.
    const sources = this.#isOn ? [...this.#sources, this.addresses] : []
    for (const source of sources) await whenReady(source, signal)
    await this.#rows.run(signal)
  }

  async #time(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps
    const goesOn = this.#goesOn()
    for (const source of this.#sources) await whenReady(source, signal)
    if (goesOn) this.#waitingSinceMs = clock.monotonicMs()
    while (!signal.aborted) {
      const { revision } = this.#wanted
      const startedAt = clock.monotonicMs()
      this.#waitingSinceMs ??= this.#nextSinceMs
      this.#nextSinceMs = undefined
      await this.#rows.caughtUp()
      this.syncs.observe({}, (clock.monotonicMs() - startedAt) / 1000)
      this.#waitingSinceMs = undefined
      this.#lastSyncAt = clock.now()
      this.#deps.onWritten?.()
      await this.#wanted.changed(revision, signal)
    }
  }

  async #run(signal: AbortSignal, alive: () => void): Promise<void> {
    const { clock, nodes, refreshMs = REFRESH_MS } = this.#deps
    if (!this.#isOn) {
      await this.#deps.sockets.detachSockets()
      return
    }
    const startedAt = clock.monotonicMs()
    let wake = (): void => undefined
    const sources = [...this.#sources, this.addresses]
    const ends = sources.map((source) => source.subscribe(() => wake()))
    const endOfNode = nodes.subscribe((changes) => {
      if (changes.some(({ key }) => key === this.#deps.nodeName)) wake()
    })
    try {
      while (!signal.aborted) {
        const woken = new AbortController()
        wake = () => woken.abort()
        const waitsFor = await this.#look()
        if (waitsFor === undefined) {
          // Programs of an earlier agent are replaced; and what somebody took off since is noticed.
          await this.#attachSockets(alive)
          // From here on only what the configuration says may change, and that is looked at now and then.
          for (const end of ends.splice(0)) end()
        }
        const left = startedAt + PATIENCE_MS - clock.monotonicMs()
        if (waitsFor !== undefined && left <= 0) this.#complain(waitsFor)
        const longestMs = waitsFor !== undefined && left > 0 ? Math.min(left, refreshMs) : refreshMs
        await clock.sleep(longestMs, AbortSignal.any([signal, woken.signal])).catch(() => undefined)
      }
    } finally {
      for (const end of [...ends, endOfNode]) end()
    }
  }

  /** Where sockets cannot be asked, packets are served all the same. */
  async #attachSockets(alive: () => void): Promise<void> {
    const { sockets, health, log } = this.#deps
    try {
      await sockets.attachSockets()
      this.#isByPacketsAlone = false
      alive()
    } catch (error) {
      if (codeOf(error) !== 'cgroup') throw error
      const failure = new Error(`${BY_PACKETS_ALONE}: ${(error as Error).message}`)
      if (!this.#isByPacketsAlone) {
        log.warn({ error }, BY_PACKETS_ALONE)
        health.ok(PROGRAMS)
      }
      this.#isByPacketsAlone = true
      health.degraded(PROGRAMS, failure)
    }
  }

  /** In words, what the programs' part is not turned on for; undefined if nothing. */
  async #look(): Promise<string | undefined> {
    const { config } = this.#deps.datapath
    const unready = this.#sources.find((source) => !source.isReady)
    if (unready !== undefined) return `the first list of ${unready.name}`
    if (!this.addresses.isReady) return this.addresses.name
    if (!this.#writeConfig()) return `the Node object ${this.#deps.nodeName}`
    if (config.has(CONFIG_SERVICES)) return undefined
    for (const one of [
      this.#rows,
      this.#nodeAddresses,
      this.#ranges,
      this.#rules,
      this.#sctpRules,
    ]) {
      await one.settled()
    }
    await this.#deps.attached()
    // Answers are looked for before there is anything to answer.
    config.setFlags(CONFIG_TRANSLATED, CONFIG_TRANSLATED)
    config.setFlags(CONFIG_SERVICES, CONFIG_SERVICES)
    config.bumpGeneration()
    for (const listener of [...this.#onServing]) listener()
    const { services, backends } = this.state()
    this.#deps.log.info({ services, backends }, 'Services are served by our programs')
    return undefined
  }

  /** False while it is not known what to write. */
  #writeConfig(): boolean {
    const { ownAddresses, sockets, datapath } = this.#deps
    const own = ownAddresses()
    if (own === undefined) return false
    const row: ServiceConfig = {
      hostNetns: sockets.hostNetnsCookie(),
      source4: own.find((address) => !address.includes(':')) ?? NONE,
      source6: own.find((address) => address.includes(':')) ?? NONE,
    }
    const { serviceConfig } = datapath.maps
    const before = serviceConfig.get(CONFIG_ROW)
    const names = ['hostNetns', 'source4', 'source6'] as const
    if (names.some((name) => before?.[name] !== row[name])) serviceConfig.set(CONFIG_ROW, row)
    return true
  }

  #complain(waitsFor: string): void {
    const { health, datapath } = this.#deps
    const meanwhile = datapath.config.has(CONFIG_SERVICES)
      ? 'goes on with what it knew'
      : 'nobody serves them meanwhile'
    const areRowsWaiting = this.#sources.some(({ isReady }) => !isReady)
    for (const component of areRowsWaiting ? [ROWS, PROGRAMS] : [PROGRAMS]) {
      health.ok(component)
      health.degraded(component, new Error(`waits for ${waitsFor}; ${meanwhile}`))
    }
  }
}

function nobody(): Table<ServiceRows> {
  const rows = new Table<ServiceRows>('nobody’s Services', ({ key }) => key)
  rows.markReady()
  return rows
}

function whenReady(source: Source, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (signal.aborted) reject(signal.reason)
      else if (source.isReady) resolve()
      else return
      end()
      signal.removeEventListener('abort', look)
    }
    const end = source.subscribe(look)
    signal.addEventListener('abort', look, { once: true })
    look()
  })
}

function hasSctp(row: ServiceRows | undefined): boolean {
  return row?.ports.some(({ protocol }) => protocol === 'SCTP') === true
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
