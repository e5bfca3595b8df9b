// Services served by our programs: rows in the maps, rules for what the programs do not answer, and the part that turns it on last (ADR 0086).
//
// createServices(deps)   makes the room
//   .start(jobs)         its reconcilers, and the job that turns the programs' part on once the maps say everything
//   .state()             for those who tell of it
import { CONFIG_DSR, CONFIG_SERVICES, NODE_ADDR_NODE_PORTS } from '@sinabro/libbpf-ts/layouts'
import type { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import type { EndpointSliceRow, NodeRow, ServiceCIDRRow } from '../cluster/rows.ts'
import type { Datapath } from '../datapath/datapath.ts'
import type { CrashPoint } from '../ipam/crash-point.ts'
import { createNft, type Nft } from '../masquerade/nft.ts'
import { NftTableTarget } from '../masquerade/target.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Health } from '../runtime/health.ts'
import type { Jobs } from '../runtime/jobs.ts'
import type { Log } from '../runtime/log.ts'
import { Reconciler } from '../state/reconcile.ts'
import type { RowStatus } from '../state/row-status.ts'
import { type Source, Table } from '../state/table.ts'
import { ServiceTables } from './maglev/tables.ts'
import type { ServicesMode } from './mode.ts'
import { NodeAddressTarget } from './node-address-target.ts'
import { computeNodeAddresses, NodeAddresses, type NodePortAddresses } from './node-addresses.ts'
import { OwnNode } from './own-node.ts'
import { ProgrammingLatency } from './programming-latency.ts'
import { PROGRAMS, type ServiceForwarding, ServicePrograms, type SocketHooks } from './programs.ts'
import { ServiceRangeTarget } from './range-target.ts'
import type { ServiceRows } from './rows.ts'
import { formatServiceRules, type ServiceRules } from './ruleset.ts'
import { hasSctp, SctpServices } from './sctp.ts'
import { computeSctp, formatSctpRules, type SctpRules } from './sctp-ruleset.ts'
import { ServiceTarget } from './target.ts'
import { whenAborted, whenReady } from './when-ready.ts'
import { WriteLag } from './write-lag.ts'
import { WrittenRows } from './written-rows.ts'

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
  readonly forwarding: ServiceForwarding
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
  readonly datapath: Pick<Datapath, 'maps' | 'config' | 'sweepSoon'>
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
  /** Of consistent hashing. */
  readonly tables: number
  /** Services that could not be written. */
  readonly failed: number
  /** Rows that found no room, by map, since the start. */
  readonly refusals: ReadonlyMap<string, number>
}

const REFRESH_MS = 60_000
/** All maps are read then: it costs what there is. */
const ROWS_REFRESH_MS = 300_000
const ROWS = 'services'

export function createServices(deps: ServicesDeps): Services {
  return new Services(deps)
}

export class Services {
  readonly #deps: ServicesDeps
  readonly latency: ProgrammingLatency
  readonly programs: ServicePrograms
  readonly lag: WriteLag
  readonly tables: ServiceTables
  /** What the node's devices have; followed while Services are served. */
  readonly addresses = new NodeAddresses()
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

  constructor(deps: ServicesDeps) {
    this.#deps = deps
    const { mode, rows, nodes, ranges, datapath, table, log, clock, health } = deps
    const { maps, config } = datapath
    const { refreshMs = REFRESH_MS, crashPoint } = deps
    this.#isOn = mode === 'ebpf'
    this.#wanted = this.#isOn ? rows : nobody()
    this.#sources = this.#isOn ? [rows, ...deps.sources] : []
    this.#sctp = new SctpServices(this.#wanted)
    this.#node = new OwnNode(nodes, deps.nodeName, maps.nodeAddrs.entries())
    this.latency = new ProgrammingLatency(deps.slices, clock)
    const common = { log, clock, health, refreshMs }
    this.tables = new ServiceTables({ map: maps.maglev, config, ...common })
    if (!this.#isOn) this.tables.complete()
    this.#target = new ServiceTarget({
      maps,
      ...(crashPoint === undefined ? {} : { crashPoint }),
      onWritten: ({ key }) => {
        this.latency.written(key)
        this.#written.tell()
      },
      onUdpGone: () => datapath.sweepSoon(),
      tables: this.tables,
    })
    this.#written = new WrittenRows(this.#wanted, (row) => this.#target.has(row))
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
    const sources = this.#sources
    this.lag = new WriteLag({
      ...{ rows: this.#wanted, sources, clock },
      isServing: () => config.has(CONFIG_SERVICES),
      caughtUp: async () => {
        await this.#rows.caughtUp()
        this.tables.complete()
      },
      ...(deps.onWritten === undefined ? {} : { onWritten: deps.onWritten }),
    })
    this.programs = new ServicePrograms({
      ...deps,
      ...{ sources, addresses: this.addresses, refreshMs },
      written: () => this.#settled(),
    })
    if (!this.#isOn) config.setFlags(CONFIG_SERVICES | CONFIG_DSR, 0)
    else health.starting(PROGRAMS, 'waits for its maps and for its programs on sockets')
  }

  start(jobs: Jobs): void {
    const { clock, netlink, hostNamespace, refreshMs = REFRESH_MS } = this.#deps
    if (this.#isOn) {
      const follow = { netns: hostNamespace, netlink, clock, refreshMs }
      jobs.start('node addresses', (signal) => this.addresses.run(follow, signal))
      jobs.start('service syncs', (signal) => this.lag.run(signal))
    }
    jobs.start(ROWS, (signal) => this.#runRows(signal))
    jobs.start('service node addresses', (signal) => this.#nodeAddresses.run(signal))
    jobs.start('service ranges', (signal) => this.#ranges.run(signal))
    jobs.start('service tables', (signal) => this.tables.run(signal))
    jobs.start('service rules', (signal) => this.#rules.run(signal))
    jobs.start('SCTP rules', (signal) => this.#sctpRules.run(signal))
    jobs.start(PROGRAMS, async (signal, alive) => {
      if (this.#isOn) await this.programs.run(signal, alive)
      else await this.#deps.sockets.detachSockets()
    })
  }

  state(): ServicesState {
    const { isReady: isServing, isByPacketsAlone } = this.programs
    return {
      ...{ mode: this.#deps.mode, isServing, isByPacketsAlone, services: this.#wanted.size },
      ...this.#target.sizes,
      tables: this.tables.size,
      failed: this.#rows.statuses().filter(({ state }) => state === 'error').length,
      refusals: this.#target.writer.refusals,
    }
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

  /** Those that are not in the maps as they should be, in words. */
  problems(): string[] {
    const rows = this.#rows.statuses()
    return [
      ...rows.flatMap(({ key, message }) => (message === undefined ? [] : [`${key}: ${message}`])),
      ...this.tables.problems(),
    ]
  }

  /** By reconciler. */
  statuses(): ReadonlyMap<string, RowStatus[]> {
    return new Map([
      ['services', this.#rows.statuses()],
      ['service node addresses', this.#nodeAddresses.statuses()],
      ['service ranges', this.#ranges.statuses()],
      ['service rules', this.#rules.statuses()],
      ['SCTP rules', this.#sctpRules.statuses()],
      ['service tables', this.tables.statuses()],
    ])
  }

  async #settled(): Promise<void> {
    const all = [this.#rows, this.#nodeAddresses, this.#ranges, this.#rules, this.#sctpRules]
    for (const one of all) await one.settled()
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
}

function nobody(): Table<ServiceRows> {
  const rows = new Table<ServiceRows>('nobody’s Services', ({ key }) => key)
  rows.markReady()
  return rows
}
