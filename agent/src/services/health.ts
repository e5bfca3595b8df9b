// The ports that load balancers and dashboards ask: kube-proxy's own, and one for each Service with `externalTrafficPolicy: Local`.
import type { NodeRow } from '../cluster/rows.ts'
import type { HostPort } from '../config.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Health } from '../runtime/health.ts'
import type { Jobs } from '../runtime/jobs.ts'
import type { Log } from '../runtime/log.ts'
import { Reconciler } from '../state/reconcile.ts'
import type { RowStatus } from '../state/row-status.ts'
import { type Change, Table } from '../state/table.ts'
import {
  answerEndpoints,
  answerHealthz,
  answerLivez,
  answerService,
  countLocal,
  type HealthAnswer,
  type Sync,
} from './health-answers.ts'
import {
  type HealthMemory,
  type RememberedPort,
  readHealthMemory,
  writeHealthMemory,
} from './health-memory.ts'
import { type HealthPort, HealthPortTarget, type OpenPort } from './health-port-target.ts'
import type { Answerer } from './health-server.ts'
import type { ServiceRows } from './rows.ts'

export interface ServiceHealthOptions {
  readonly rows: Table<ServiceRows>
  /** This one; undefined while nobody has told of it. */
  readonly node: () => NodeRow | undefined
  readonly sync: () => Sync
  /** Absent: not served. */
  readonly healthzAddress?: HostPort
  readonly proxyModeAddress?: HostPort
  /** Where answers are kept for the next start; absent: nowhere. */
  readonly memory?: HealthMemory
  /** Maps of an earlier agent serve, so what it answered still holds. */
  readonly isServing?: () => boolean
  readonly log: Log
  readonly clock: Clock
  readonly health: Health
}

export class ServiceHealth {
  readonly #options: ServiceHealthOptions
  readonly #ports = new Table<HealthPort>('health ports', ({ name }) => name)
  readonly #target: HealthPortTarget
  readonly #reconciler: Reconciler<HealthPort, OpenPort>
  /** Of Services that have such a port: as they are now, or, until the rows are complete, as an earlier agent left them. */
  readonly #known = new Map<string, RememberedPort>()
  readonly #isRemembered = new Set<string>()
  #wake = (): void => undefined

  constructor(options: ServiceHealthOptions) {
    const { rows, healthzAddress, proxyModeAddress, log, clock, health } = options
    this.#options = options
    if (healthzAddress !== undefined) this.#ports.upsert({ name: HEALTHZ, ...healthzAddress })
    if (proxyModeAddress !== undefined) this.#ports.upsert({ name: MODE, ...proxyModeAddress })
    for (const row of rows.values()) this.#follow({ key: row.key, row })
    rows.subscribe((changes) => {
      for (const change of changes) this.#follow(change)
      if (rows.isReady) this.#forget()
      if (changes.length > 0) this.#wake()
    })
    this.#ports.markReady()
    this.#target = new HealthPortTarget(({ name }) => this.#answererOf(name))
    const sources = [rows]
    const desired = this.#ports
    this.#reconciler = new Reconciler({
      target: this.#target,
      desired,
      sources,
      log,
      clock,
      health,
    })
  }

  start(jobs: Jobs): void {
    jobs.start('health ports', async (signal) => {
      await this.#remember()
      try {
        await this.#reconciler.run(signal)
      } finally {
        await this.#target.close()
      }
    })
    const { memory } = this.#options
    if (memory === undefined) return
    jobs.start('health ports on disk', (signal) => this.#keep(memory, signal))
  }

  /** Those of the agent before, while nobody has told of the Services. */
  async #remember(): Promise<void> {
    const { memory, rows, log, isServing } = this.#options
    if (memory === undefined || isServing?.() !== true) return
    try {
      for (const remembered of await readHealthMemory(memory)) {
        const { name, port } = remembered
        if (rows.isReady || rows.has(name)) continue
        this.#known.set(name, remembered)
        this.#isRemembered.add(name)
        this.#ports.upsert({ name, host: ANY, port })
      }
    } catch (error) {
      log.warn(
        { error },
        'health-check node ports stay closed until the cluster tells of them: what the agent before kept is unreadable',
      )
    }
  }

  #forget(): void {
    const { rows } = this.#options
    for (const name of this.#isRemembered) {
      this.#isRemembered.delete(name)
      if (!rows.has(name)) this.#follow({ key: name })
    }
  }

  async #keep(memory: HealthMemory, signal: AbortSignal): Promise<void> {
    const { rows, clock } = this.#options
    await rows.whenReady(signal)
    while (!signal.aborted) {
      const woken = new AbortController()
      this.#wake = () => woken.abort()
      await writeHealthMemory(memory, [...this.#known.values()])
      await clock.sleep(KEEP_PAUSE_MS, signal)
      await clock
        .sleep(KEEP_REFRESH_MS, AbortSignal.any([signal, woken.signal]))
        .catch(() => undefined)
    }
  }

  statuses(): RowStatus[] {
    return this.#reconciler.statuses()
  }

  /** Those that are open, with the ports that the kernel chose where 0 was asked for. */
  open(): readonly HealthPort[] {
    return this.#target.open()
  }

  #follow({ key, row }: Change<ServiceRows>): void {
    const port = row?.healthCheckNodePort
    this.#isRemembered.delete(key)
    if (port === undefined) {
      this.#known.delete(key)
      this.#ports.remove(key)
    } else {
      this.#known.set(key, { name: key, port, localEndpoints: countLocal(row) })
      this.#ports.upsert({ name: key, host: ANY, port })
    }
  }

  #answerService(name: string): HealthAnswer {
    const { rows, sync } = this.#options
    const { localEndpoints = 0 } = this.#known.get(name) ?? {}
    if (this.#isRemembered.has(name)) return answerEndpoints(name, localEndpoints, sync())
    return answerService(name, rows.get(name), sync())
  }

  #answererOf(name: string): Answerer {
    const { node, sync, clock } = this.#options
    if (name === MODE) return (path) => (path === '/proxyMode' ? PROXY_MODE : undefined)
    if (name !== HEALTHZ) return () => this.#answerService(name)
    return (path) => {
      if (path === '/livez') return answerLivez(sync(), clock.now())
      if (path !== '/healthz') return undefined
      return answerHealthz(sync(), node()?.isLeaving === true, clock.now())
    }
  }
}

/** Every address of the node. */
const ANY = '0.0.0.0'
/** Rolling updates change endpoints many times in a second: the file follows once. */
const KEEP_PAUSE_MS = 1000
const KEEP_REFRESH_MS = 600_000

/** No name of a Service: those have a namespace. */
const HEALTHZ = 'healthz'
const MODE = 'proxyMode'

const PROXY_MODE: HealthAnswer = {
  status: 200,
  headers: { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' },
  body: 'ebpf',
}
