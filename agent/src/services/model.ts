// Keeps what the maps must say of all Services up to what the cluster says: a changed Service or EndpointSlice computes its own Service
// anew and no other, however many there are. ADR 0083.
//
// new ServiceModel(deps)   works from the moment all of its sources are complete; its rows are then marked ready
//   .problems              what it refused
//   .explain(key)          why each endpoint is asked or not
//   .serviceRanges()       where cluster addresses come from
import type {
  BackendChoice,
  EndpointSliceRow,
  NodeRow,
  ProblemRow,
  ServiceCIDRRow,
  ServiceRow,
} from '../cluster/rows.ts'
import type { ClusterSink } from '../cluster/sink.ts'
import { type Change, Table } from '../state/table.ts'
import { AddressRules, type AddressSettings } from './model-addresses.ts'
import { excessOf, hasTooManyFrontends } from './model-bounds.ts'
import type { Place } from './model-choose.ts'
import { type Claimant, Claims } from './model-claims.ts'
import { type Context, compute } from './model-compute.ts'
import { type ExplainedPort, explain } from './model-explain.ts'
import { claimOf, isOutside, isServed, wantedBy } from './model-frontends.ts'
import { Outside } from './model-outside.ts'
import {
  computeProblems,
  eventOf,
  problemOfExcess,
  problemOfTables,
  type Refusal,
} from './model-problems.ts'
import { TableBudget, tableBytesOf } from './model-tables.ts'
import type { ServicePort, ServiceRows } from './rows.ts'

export interface ModelDeps {
  readonly services: Table<ServiceRow>
  readonly endpointSlices: Table<EndpointSliceRow>
  readonly serviceCIDRs: Table<ServiceCIDRRow>
  readonly nodes: Table<NodeRow>
  /** Where the result goes, beside what others put there. */
  readonly rows: Table<ServiceRows>
  readonly nodeName: string
  readonly settings: ModelSettings
  readonly sink: Pick<ClusterSink, 'event'>
}

export interface ModelSettings extends AddressSettings {
  /** Where the cluster has no ServiceCIDR objects. */
  readonly serviceCIDRs: readonly string[]
  /** Where a Service does not say it; absent: by chance. */
  readonly backendChoice?: BackendChoice
  /** Kernel memory of all Maglev tables; default: 64 MiB. */
  readonly mostTableBytes?: number
}

const ZONE = 'topology.kubernetes.io/zone'
/** The API server itself. */
const KUBERNETES = 'default/kubernetes'

export class ServiceModel {
  readonly problems = new Table<ProblemRow>('Service problems', (problem) => problem.key)
  readonly #deps: ModelDeps
  readonly #rules: AddressRules
  readonly #claims = new Claims()
  readonly #tables: TableBudget
  /** By Service; in the order of their names. */
  readonly #slices = new Map<string, readonly EndpointSliceRow[]>()
  /** Addresses from outside that Services would have. */
  readonly #outside = new Outside()
  /** Keys of what is said of a Service, where there is something. */
  readonly #said = new Map<string, readonly string[]>()
  #place: Place
  #isReady = false
  #computed = 0

  /** For as long as the tables: it is never taken apart. */
  constructor(deps: ModelDeps) {
    const { services, endpointSlices, serviceCIDRs, nodes, settings, nodeName } = deps
    this.#deps = deps
    this.#rules = new AddressRules(settings)
    this.#tables = new TableBudget(settings.mostTableBytes)
    this.#place = { nodeName }
    services.subscribe((changes) => this.#follow(() => this.#onServices(changes)))
    endpointSlices.subscribe((changes) => this.#follow(() => this.#onSlices(changes)))
    serviceCIDRs.subscribe(() => this.#follow(() => this.#onRanges()))
    nodes.subscribe((changes) => this.#follow(() => this.#onNodes(changes)))
    this.#follow(() => undefined)
  }

  /** How many times a Service was computed. */
  get computed(): number {
    return this.#computed
  }

  /** Undefined: there is no such Service, or it is not ours to serve. */
  explain(key: string): ExplainedPort[] | undefined {
    const service = this.#servedService(key)
    const slices = this.#slices.get(key) ?? []
    if (service === undefined || excessOf(service, slices) !== undefined) return undefined
    return explain(service, slices, this.#place)
  }

  serviceRanges(): readonly string[] {
    const { serviceCIDRs, settings } = this.#deps
    if (serviceCIDRs.size === 0) return settings.serviceCIDRs
    return [...new Set(serviceCIDRs.values().flatMap(({ cidrs }) => cidrs))]
  }

  /** Before all sources are complete nothing is known: a Service without slices would look like one without endpoints. */
  #follow(act: () => void): void {
    if (this.#isReady) {
      act()
      return
    }
    const { services, endpointSlices, serviceCIDRs, nodes } = this.#deps
    const sources = [services, endpointSlices, serviceCIDRs, nodes]
    if (sources.every((source) => source.isReady)) this.#begin()
  }

  #begin(): void {
    const { services, endpointSlices, nodes, rows } = this.#deps
    this.#isReady = true
    this.#putSlices(endpointSlices.values())
    for (const node of nodes.values()) this.#rules.changeNode(undefined, node)
    this.#rules.setServiceRanges(this.serviceRanges())
    this.#place = this.#lookAtPlace()
    this.#computeAll(services.values().map(keyOf))
    rows.markReady()
    this.problems.markReady()
  }

  #onServices(changes: readonly Change<ServiceRow>[]): void {
    this.#computeAll(changes.map(({ key }) => key))
  }

  #onSlices(changes: readonly Change<EndpointSliceRow>[]): void {
    const touched = new Set<string>()
    const put = new Map<string, EndpointSliceRow>()
    for (const { key, row, previous } of changes) {
      put.delete(key)
      const from = previous && serviceOf(previous)
      const to = row && serviceOf(row)
      if (previous !== undefined && from !== undefined) {
        if (from !== to) this.#dropSlice(previous)
        touched.add(from)
      }
      if (row !== undefined && to !== undefined) {
        put.set(key, row)
        touched.add(to)
      }
    }
    this.#putSlices([...put.values()])
    this.#write(touched)
  }

  /** Of a node, only its addresses and ranges count; of ours its zone, too, and who may ask goes by its addresses. */
  #onNodes(changes: readonly Change<NodeRow>[]): void {
    const moved = changes.flatMap(({ row, previous }) => this.#rules.changeNode(previous, row))
    const place = this.#lookAtPlace()
    const hasMoved = place.zone !== this.#place.zone
    const hasOthers = place.addresses?.join() !== this.#place.addresses?.join()
    this.#place = place
    if (moved.length > 0) {
      this.#computeAll(moved.flatMap((range) => this.#outside.within(range)))
    }
    const { services } = this.#deps
    if (hasMoved) this.#write(new Set(services.values().map(keyOf)))
    else if (hasOthers) this.#write(new Set(services.values().filter(hasRanges).map(keyOf)))
  }

  #onRanges(): void {
    this.#rules.setServiceRanges(this.serviceRanges())
    this.#computeAll(this.#outside.services())
  }

  /** Of Services whose own object counts anew: what they claim first, so that all are judged by the same claims. */
  #computeAll(keys: readonly string[]): void {
    const touched = new Set(keys)
    for (const key of keys) for (const other of this.#claim(key)) touched.add(other)
    this.#write(touched)
  }

  /** @returns others that got or lost something */
  #claim(key: string): Set<string> {
    const service = this.#servedService(key)
    const claims = new Map<string, Claimant>()
    const createdAt = service?.createdAt ?? ''
    const assigned = { key, createdAt, isAssigned: true }
    const asking = { key, createdAt, isAssigned: false }
    const outside = new Set<string>()
    for (const { frontend, protocol } of service === undefined ? [] : wantedBy(service)) {
      if (isOutside(frontend)) {
        outside.add(frontend.address)
        if (this.#rules.refusal(frontend) !== undefined) continue
      }
      const claim = claimOf(frontend, protocol)
      claims.set(claim, frontend.kind === 'ClusterIP' ? assigned : asking)
    }
    this.#outside.set(key, [...outside])
    return this.#claims.set(key, claims)
  }

  #write(keys: ReadonlySet<string>): void {
    const { rows } = this.#deps
    const written: ServiceRows[] = []
    for (const key of keys) this.#weigh(key)
    for (const key of keys.union(this.#tables.settle())) {
      const asking = this.#askingService(key)
      const slices = this.#slices.get(key) ?? []
      const excess = asking && excessOf(asking, slices)
      const service = excess === undefined ? asking : undefined
      if (service === undefined) {
        this.#say(key, excess === undefined ? [] : [problemOfExcess(key, excess)])
        if (key !== KUBERNETES) rows.remove(key)
        continue
      }
      this.#computed++
      const refusals = this.#refusalsOf(key, service)
      const shortage = this.#tables.shortage(key)
      const context: Context = {
        ...this.#place,
        backendChoice: this.#deps.settings.backendChoice ?? 'random',
        isRefused: (frontend, protocol) => refusals.has(claimOf(frontend, protocol)),
      }
      const byChance = { ...service, backendChoice: 'random' } as const
      const row = compute(shortage === undefined ? service : byChance, slices, context)
      written.push(key === KUBERNETES ? withLastKnown(row, rows.get(key)) : row)
      const { refused = [] } = service
      const problems = computeProblems(key, refused, refusals.values(), slices)
      if (shortage !== undefined) problems.push(problemOfTables(key, shortage))
      this.#say(key, problems)
    }
    rows.upsertAll(written)
  }

  /** What its tables would cost. */
  #weigh(key: string): void {
    const service = this.#askingService(key)
    const slices = this.#slices.get(key) ?? []
    const choice = service?.backendChoice ?? this.#deps.settings.backendChoice
    const isHashed = service !== undefined && choice === 'maglev'
    const isCounted = isHashed && excessOf(service, slices) === undefined
    this.#tables.set(key, service?.createdAt ?? '', isCounted ? tableBytesOf(service, slices) : 0)
  }

  /** By claim. */
  #refusalsOf(key: string, service: ServiceRow): Map<string, Refusal> {
    const refusals = new Map<string, Refusal>()
    for (const { frontend, protocol } of wantedBy(service)) {
      const reason = isOutside(frontend) ? this.#rules.refusal(frontend) : undefined
      const claim = claimOf(frontend, protocol)
      const holder = this.#claims.holder(claim)
      if (reason !== undefined) refusals.set(claim, { frontend, protocol, reason })
      else if (holder !== undefined && holder !== key)
        refusals.set(claim, { frontend, protocol, holder })
    }
    return refusals
  }

  #say(key: string, problems: readonly ProblemRow[]): void {
    const now = new Set(problems.map((problem) => problem.key))
    for (const before of this.#said.get(key) ?? []) {
      if (!now.has(before)) this.problems.remove(before)
    }
    if (now.size === 0) this.#said.delete(key)
    else this.#said.set(key, [...now])
    for (const problem of problems) {
      if (this.problems.upsert(problem)) this.#deps.sink.event(eventOf(key, problem))
    }
  }

  /** It may ask for too much. */
  #askingService(key: string): ServiceRow | undefined {
    const service = this.#deps.services.get(key)
    return service !== undefined && isServed(service) ? service : undefined
  }

  #servedService(key: string): ServiceRow | undefined {
    const service = this.#askingService(key)
    return service !== undefined && hasTooManyFrontends(service) ? undefined : service
  }

  /** However many are of one Service, it is put in order once. */
  #putSlices(slices: readonly EndpointSliceRow[]): void {
    for (const [key, news] of Map.groupBy(slices, serviceOf)) {
      if (key === undefined) continue
      const byNames = new Map((this.#slices.get(key) ?? []).map((one) => [one.name, one]))
      for (const slice of news) byNames.set(slice.name, slice)
      this.#slices.set(key, [...byNames.values()].sort(byName))
    }
  }

  #dropSlice(slice: EndpointSliceRow): void {
    const key = serviceOf(slice)
    if (key === undefined) return
    const others = (this.#slices.get(key) ?? []).filter(({ name }) => name !== slice.name)
    if (others.length === 0) this.#slices.delete(key)
    else this.#slices.set(key, others)
  }

  #lookAtPlace(): Place {
    const { nodes, nodeName } = this.#deps
    const node = nodes.get(nodeName)
    const zone = node?.labels[ZONE]
    const addresses = node?.internalIPs ?? this.#place.addresses
    return {
      nodeName,
      ...(zone === undefined ? {} : { zone }),
      ...(addresses === undefined ? {} : { addresses }),
    }
  }
}

function hasRanges({ loadBalancerSourceRanges }: ServiceRow): boolean {
  return loadBalancerSourceRanges !== undefined
}

/**
 * The API server's own Service keeps the backends that were last known when it would be left without any: whoever asks it, and agents
 * may, could else never hear that it is back.
 */
function withLastKnown(row: ServiceRows, known: ServiceRows | undefined): ServiceRows {
  const ports = row.ports.map((port) => {
    if (port.internal.length > 0) return port
    const before = known?.ports.find(({ key }) => key === port.key)
    return before === undefined ? port : { ...port, ...listsOf(before) }
  })
  return { ...row, ports }
}

function listsOf({ internal, external }: ServicePort): Pick<ServicePort, 'internal' | 'external'> {
  return { internal, external }
}

function keyOf({ namespace, name }: ServiceRow): string {
  return `${namespace}/${name}`
}

function byName(a: EndpointSliceRow, b: EndpointSliceRow): number {
  return a.name < b.name ? -1 : 1
}

/** Key of the Service that a slice is of. */
function serviceOf({ namespace, service }: EndpointSliceRow): string | undefined {
  return service === undefined ? undefined : `${namespace}/${service}`
}
