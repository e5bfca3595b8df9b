// Ports on which load balancers ask, as a reconciler's target: what this process listens on, with one budget of connections for all.
import type { Target } from '../state/target.ts'
import { ConnectionBudget } from './connection-budget.ts'
import { type Answerer, type HealthServer, serveHealth } from './health-server.ts'

/** One port on which something is answered. */
export interface HealthPort {
  /** `healthz`, `proxyMode`, or `namespace/name` of the Service. */
  readonly name: string
  readonly host: string
  readonly port: number
}

export interface OpenPort {
  readonly row: HealthPort
  readonly server: HealthServer
}

/** What this process listens on: gone with it, so there is nothing to adopt. */
export class HealthPortTarget implements Target<HealthPort, OpenPort> {
  readonly name = 'health ports'
  readonly #answererOf: (row: HealthPort) => Answerer
  readonly #servers = new Map<string, OpenPort>()
  readonly #budget = new ConnectionBudget()

  constructor(answererOf: (row: HealthPort) => Answerer) {
    this.#answererOf = answererOf
  }

  key({ name }: HealthPort): string {
    return name
  }

  keyOf({ row }: OpenPort): string {
    return row.name
  }

  /** A port that moves from one Service to another is closed first. */
  claim({ port }: HealthPort): string {
    return String(port)
  }

  claimOf({ row }: OpenPort): string {
    return String(row.port)
  }

  isEqual(row: HealthPort, { row: actual }: OpenPort): boolean {
    return row.host === actual.host && row.port === actual.port
  }

  async list(): Promise<OpenPort[]> {
    return [...this.#servers.values()]
  }

  async find(name: string): Promise<OpenPort | undefined> {
    return this.#servers.get(name)
  }

  /** @throws PortError */
  async update(row: HealthPort): Promise<void> {
    const before = this.#servers.get(row.name)
    if (before !== undefined && this.isEqual(row, before)) return
    if (before !== undefined) await this.remove(before)
    const server = await serveHealth(row, this.#answererOf(row), this.#budget)
    this.#servers.set(row.name, { row, server })
  }

  async remove({ row }: OpenPort): Promise<void> {
    const there = this.#servers.get(row.name)
    this.#servers.delete(row.name)
    await there?.server.close()
  }

  open(): HealthPort[] {
    return [...this.#servers.values()].map(({ row, server }) => ({ ...row, port: server.port }))
  }

  async close(): Promise<void> {
    for (const open of await this.list()) await this.remove(open)
  }
}
