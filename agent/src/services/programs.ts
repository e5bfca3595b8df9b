// The programs' part of services: turned on once the maps say everything, at packets and then at sockets, and looked after (ADR 0086).
import {
  CONFIG_DSR,
  CONFIG_SERVICES,
  CONFIG_TRANSLATED,
  type ServiceConfig,
} from '@sinabro/libbpf-ts/layouts'
import type { NodeRow } from '../cluster/rows.ts'
import type { Datapath } from '../datapath/datapath.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Health } from '../runtime/health.ts'
import { codeOf, type Log } from '../runtime/log.ts'
import type { Source, Table } from '../state/table.ts'

/** How clients outside reach pods of other nodes: in this node's name, or as they are, answered there (ADR 0090). */
export type ServiceForwarding = 'snat' | 'dsr'

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

export interface ServiceProgramsDeps {
  /** What must be known first: rows, and what they are made of. */
  readonly sources: readonly Source[]
  readonly addresses: Source
  readonly nodes: Table<NodeRow>
  readonly nodeName: string
  /** This node's own in the pod network; undefined while they are not known. */
  readonly ownAddresses: () => readonly string[] | undefined
  readonly forwarding: ServiceForwarding
  readonly sockets: SocketHooks
  /** Until maps and rules say everything. */
  readonly written: () => Promise<void>
  /** Until every pod has the programs of this agent. */
  readonly attached: () => Promise<void>
  readonly datapath: {
    readonly config: Datapath['config']
    readonly maps: Pick<Datapath['maps'], 'serviceConfig'>
  }
  readonly log: Log
  readonly clock: Clock
  readonly health: Health
  readonly refreshMs: number
}

/** Of `health`. */
export const PROGRAMS = 'service programs'
/** What must be known before may take so long until that counts as a fault. */
const PATIENCE_MS = 10_000
const BY_PACKETS_ALONE =
  'Services are served for pods and from outside packet by packet; processes of the node itself do not find them'
const CONFIG_ROW = 0
const NONE = '::'

export class ServicePrograms implements Source {
  readonly name = 'Services that are served'
  readonly #deps: ServiceProgramsDeps
  readonly #listeners = new Set<() => void>()
  #isByPacketsAlone = false

  constructor(deps: ServiceProgramsDeps) {
    this.#deps = deps
  }

  /** New connections to Services are translated by our programs. */
  get isReady(): boolean {
    return this.#deps.datapath.config.has(CONFIG_SERVICES)
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Sockets are not asked: the node's own processes do not find Services. */
  get isByPacketsAlone(): boolean {
    return this.#isByPacketsAlone
  }

  /** For packets and sockets, so that nobody else has to: what a restarted agent finds turned on is of its packets alone. */
  servesAll(): boolean {
    return this.isReady && !this.#isByPacketsAlone && this.#deps.sockets.areSocketsAttached()
  }

  /** Works until the signal is aborted: hand it to a job. */
  async run(signal: AbortSignal, alive: () => void): Promise<void> {
    const { clock, nodes, refreshMs, addresses } = this.#deps
    const startedAt = clock.monotonicMs()
    let wake = (): void => undefined
    const sources = [...this.#deps.sources, addresses]
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
    const { datapath, sources, addresses, nodeName, written, attached, log } = this.#deps
    const { config } = datapath
    const unready = sources.find((source) => !source.isReady)
    if (unready !== undefined) return `the first list of ${unready.name}`
    if (!addresses.isReady) return addresses.name
    if (!this.#writeConfig()) return `the Node object ${nodeName}`
    if (config.has(CONFIG_SERVICES)) return undefined
    await written()
    await attached()
    // Answers are looked for before there is anything to answer.
    config.setFlags(CONFIG_TRANSLATED, CONFIG_TRANSLATED)
    config.setFlags(CONFIG_SERVICES, CONFIG_SERVICES)
    config.bumpGeneration()
    for (const listener of [...this.#listeners]) listener()
    log.info('Services are served by our programs')
    return undefined
  }

  /** False while it is not known what to write. */
  #writeConfig(): boolean {
    const { ownAddresses, sockets, datapath, forwarding } = this.#deps
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
    datapath.config.setFlags(CONFIG_DSR, forwarding === 'dsr' ? CONFIG_DSR : 0)
    return true
  }

  #complain(waitsFor: string): void {
    const { health, sources } = this.#deps
    const meanwhile = this.isReady ? 'goes on with what it knew' : 'nobody serves them meanwhile'
    const areRowsWaiting = sources.some(({ isReady }) => !isReady)
    for (const component of areRowsWaiting ? ['services', PROGRAMS] : [PROGRAMS]) {
      health.ok(component)
      health.degraded(component, new Error(`waits for ${waitsFor}; ${meanwhile}`))
    }
  }
}
