// Leaving the cluster under the node's address: by our programs where they are on, by rules of nftables for all that takes the stack.
//
// createMasquerade(deps)   makes the room
//   .start(jobs)           its reconcilers, and the job that turns the programs' part on once the maps say everything (ADR 0070)
//   .state()               for those who tell of it
import { CONFIG_MASQUERADE, CONFIG_TRANSLATED } from '@sinabro/libbpf-ts/layouts'
import type { NodeRow, ServiceRow } from '../cluster/rows.ts'
import type { Datapath } from '../datapath/datapath.ts'
import type { KernelSettings } from '../kernel-settings.ts'
import type { Uplink, Uplinks } from '../overlay/uplinks.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Health } from '../runtime/health.ts'
import type { Jobs } from '../runtime/jobs.ts'
import type { Log } from '../runtime/log.ts'
import { Reconciler } from '../state/reconcile.ts'
import type { RowStatus } from '../state/row-status.ts'
import type { Source, Table } from '../state/table.ts'
import { computeKeeps, computeRuleSet, type MasqueradeSettings } from './compute.ts'
import type { ExemptAddresses } from './exemptions.ts'
import { KeepTarget } from './keep-target.ts'
import { createNft, type Nft } from './nft.ts'
import { Pools } from './pools.ts'
import { ReservedPorts } from './reserved.ts'
import type { KeepRow, MasqueradeMode, PortRange, UplinkMapRow } from './rows.ts'
import { MasqueradeTarget } from './target.ts'
import { UplinkMapTarget } from './uplink-target.ts'

export interface MasqueradeDeps extends MasqueradeSettings {
  readonly mode: MasqueradeMode
  /** Name of our table in family inet. */
  readonly table: string
  /** Ports and echo ids that our programs choose from. */
  readonly ports: PortRange
  /** Those that they leave out, beside the tunnel's and the kernel's own. */
  readonly reservedPorts: readonly PortRange[]
  readonly nodes: Table<NodeRow>
  /** Read in mode ebpf only, and while somebody else serves them. */
  readonly services: Table<ServiceRow>
  /** Our programs serve them, once this is ready: they are not left to the kernel, and nobody takes them for the outside before. */
  readonly serving?: Source | undefined
  readonly exempt: ExemptAddresses
  readonly uplinks: Uplinks
  readonly datapath: Pick<Datapath, 'maps' | 'config' | 'lastSweep' | 'dropUplinkEgress'>
  /** Of the node's namespace. */
  readonly settings: Pick<KernelSettings, 'read'>
  readonly nft?: Nft
  readonly log: Log
  readonly clock: Clock
  readonly health: Health
  readonly refreshMs?: number
}

export interface MasqueradeState {
  readonly mode: MasqueradeMode
  /** New flows are translated by our programs. */
  readonly isTranslating: boolean
  readonly ports: PortRange
  readonly reserved: readonly PortRange[]
  /** The kernel's reserved ports are written in a way that is not understood. */
  readonly isReservedUnknown: boolean
  /** Destinations that our programs leave to the kernel. */
  readonly kept: number
  readonly exempt: readonly string[]
}

const REFRESH_MS = 60_000
/** What must be known before the programs' part is turned on may take so long until that counts as a fault. */
const PATIENCE_MS = 10_000
const COMPONENT = 'masquerade programs'

export function createMasquerade(deps: MasqueradeDeps): Masquerade {
  return new Masquerade(deps)
}

export class Masquerade {
  readonly #deps: MasqueradeDeps
  readonly pools: Pools
  readonly #reserved: ReservedPorts
  readonly #rules: Reconciler<object, unknown>
  readonly #uplinkRows: Reconciler<UplinkMapRow, UplinkMapRow>
  readonly #keeps: Reconciler<KeepRow, KeepRow>
  /** What the programs' part must know of. */
  readonly #sources: readonly Source[]
  /** How often routes had moved when flows were last judged again; none yet: an earlier agent's flows may have missed some. */
  #judgedMoves: number | undefined

  constructor(deps: MasqueradeDeps) {
    this.#deps = deps
    const { mode, nodes, services, exempt, table, uplinks, serving } = deps
    const { datapath, log, clock, health } = deps
    const { maps, config } = datapath
    const { refreshMs = REFRESH_MS, tunnelPort } = deps
    const common = { log, clock, health, refreshMs }
    this.#sources = mode === 'ebpf' ? [nodes, serving ?? services] : [nodes]
    this.#rules = new Reconciler({
      ...common,
      target: new MasqueradeTarget(table, deps.nft ?? createNft()),
      desired: () => {
        if (mode === 'none') return []
        const rules = computeRuleSet(nodes.values(), deps, exempt.list())
        return rules === undefined ? [] : [rules]
      },
      sources: [nodes, exempt],
    }) as Reconciler<object, unknown>
    const bumpGeneration = (): void => this.#judgeAgain()
    this.#uplinkRows = new Reconciler({
      ...common,
      target: new UplinkMapTarget({ maps, bumpGeneration }),
      desired: () => uplinks.state.uplinks.map(rowOf),
      sources: [uplinks],
    })
    this.#keeps = new Reconciler({
      ...common,
      target: new KeepTarget(maps),
      desired: () => {
        if (mode !== 'ebpf') return []
        if (serving === undefined) return computeKeeps(nodes.values(), addressesOf(services), deps)
        return computeKeeps(nodes.values(), [], { ...deps, serviceCIDRs: [] })
      },
      sources: this.#sources,
    })
    const tunnel = tunnelPort === undefined ? [] : [{ first: tunnelPort, last: tunnelPort }]
    const fixed = [...deps.reservedPorts, ...tunnel]
    this.pools = new Pools(maps)
    this.#reserved = new ReservedPorts(maps, deps.settings, fixed)
    // Services take ports from the same range, whoever masquerades.
    if (mode === 'ebpf' || serving !== undefined) {
      config.change({ portMin: deps.ports.first, portMax: deps.ports.last })
    }
    // Of another mode's agent: what it translated goes on, nothing new is.
    if (mode !== 'ebpf') config.setFlags(CONFIG_MASQUERADE, 0)
    else if (!config.has(CONFIG_MASQUERADE)) health.starting(COMPONENT, 'waits for its maps')
  }

  start(jobs: Jobs): void {
    jobs.start('masquerade rules', (signal) => this.#rules.run(signal))
    jobs.start('masquerade uplinks', (signal) => this.#uplinkRows.run(signal))
    jobs.start('masquerade keeps', (signal) => this.#keeps.run(signal))
    jobs.start(COMPONENT, (signal, alive) => this.#run(signal, alive))
  }

  state(): MasqueradeState {
    const { mode, ports, datapath, exempt } = this.#deps
    return {
      ...{ mode, ports, exempt: exempt.list(), kept: this.#keeps.statuses().length },
      isTranslating: datapath.config.has(CONFIG_MASQUERADE),
      reserved: this.#reserved.ranges,
      isReservedUnknown: this.#reserved.isUnknown,
    }
  }

  /** By reconciler. */
  statuses(): ReadonlyMap<string, RowStatus[]> {
    return new Map([
      ['masquerade', this.#rules.statuses()],
      ['masquerade uplinks', this.#uplinkRows.statuses()],
      ['masquerade keeps', this.#keeps.statuses()],
    ])
  }

  async #run(signal: AbortSignal, alive: () => void): Promise<void> {
    const { uplinks, clock, refreshMs = REFRESH_MS } = this.#deps
    const startedAt = clock.monotonicMs()
    let wake = (): void => undefined
    let waitsFor: string | undefined
    // Once all is known, what the cluster says is the reconcilers' alone: nodes come by the thousand.
    const ends = this.#sources.map((source) =>
      source.subscribe(() => {
        if (waitsFor !== undefined) wake()
      }),
    )
    ends.push(uplinks.subscribe(() => wake()))
    try {
      while (!signal.aborted) {
        const woken = new AbortController()
        wake = () => woken.abort()
        await this.#look()
        await this.pools.look()
        waitsFor = this.#missing()
        const left = startedAt + PATIENCE_MS - clock.monotonicMs()
        if (waitsFor === undefined) alive()
        else if (left <= 0) this.#complain(waitsFor)
        const longestMs = waitsFor !== undefined && left > 0 ? Math.min(left, refreshMs) : refreshMs
        await clock.sleep(longestMs, AbortSignal.any([signal, woken.signal])).catch(() => undefined)
      }
    } finally {
      for (const end of ends) end()
    }
  }

  async #look(): Promise<void> {
    const { mode, uplinks, ports, datapath, log } = this.#deps
    const { config } = datapath
    this.#reserved.write()
    const { moves } = uplinks
    await Promise.all([this.#uplinkRows.settled(), this.#keeps.settled()])
    // Rows first, then the judging that reads them.
    if (uplinks.isReady && this.#judgedMoves !== moves) {
      this.#judgeAgain()
      this.#judgedMoves = moves
    }
    if (mode !== 'ebpf') return this.#endTranslation()
    if (this.#missing() !== undefined || config.has(CONFIG_MASQUERADE)) return
    // Replies are looked for before there is anything to reply to.
    config.setFlags(CONFIG_TRANSLATED, CONFIG_TRANSLATED)
    config.setFlags(CONFIG_MASQUERADE, CONFIG_MASQUERADE)
    log.info({ ports }, 'new flows to the outside are translated by our programs')
  }

  /** What an earlier agent's programs translated is looked for at uplinks until the last such flow has ended. */
  #endTranslation(): void {
    const { datapath, log, serving } = this.#deps
    const { config, lastSweep } = datapath
    if (serving !== undefined || !config.has(CONFIG_TRANSLATED) || lastSweep?.translated !== 0)
      return
    config.setFlags(CONFIG_TRANSLATED, 0)
    datapath.dropUplinkEgress()
    log.info('the last flow that our programs translated has ended')
  }

  /** Costs every flow that leaves one look-up of its route, with its next packet. */
  #judgeAgain(): void {
    const { config } = this.#deps.datapath
    if (config.has(CONFIG_MASQUERADE | CONFIG_TRANSLATED)) config.bumpGeneration()
  }

  /** In words, what the programs' part is not turned on for; undefined if nothing. */
  #missing(): string | undefined {
    const { mode, uplinks } = this.#deps
    if (mode !== 'ebpf') return undefined
    const unready = [...this.#sources, uplinks].find((source) => !source.isReady)
    if (unready !== undefined) return `the first list of ${unready.name}`
    const failing = [...this.#uplinkRows.statuses(), ...this.#keeps.statuses()].find(
      ({ state }) => state !== 'done',
    )
    return failing === undefined ? undefined : `the map row of ${failing.key}`
  }

  #complain(waitsFor: string): void {
    const { health, datapath } = this.#deps
    const meanwhile = datapath.config.has(CONFIG_MASQUERADE)
      ? 'goes on with what it knew'
      : 'nftables translates meanwhile'
    health.ok(COMPONENT)
    health.degraded(COMPONENT, new Error(`waits for ${waitsFor}; ${meanwhile}`))
  }
}

function addressesOf(services: Table<ServiceRow>): string[] {
  return services
    .values()
    .flatMap(({ clusterIPs, externalIPs, ingress }) => [
      ...clusterIPs,
      ...externalIPs,
      ...ingress.map(({ ip }) => ip),
    ])
}

function rowOf({ index, source4 = '::', source6 = '::', mtu, isL3 }: Uplink): UplinkMapRow {
  return { index, source4, source6, mtu, isL3 }
}
