// One Service and its EndpointSlices to what the maps must say of it: pure, so that one change costs one Service.
import { parseIp, parsePrefix, prefixContains } from '@sinabro/node-netlink'
import type {
  BackendChoice,
  EndpointSliceRow,
  Protocol,
  ServicePortRow,
  ServiceRow,
} from '../cluster/rows.ts'
import {
  type Candidate,
  candidatesOf,
  clusterScope,
  judge,
  localScope,
  type Place,
  type Scope,
} from './model-choose.ts'
import { familiesOf, familyOf, frontendsOf } from './model-frontends.ts'
import type { Backend, Frontend, ServicePort, ServiceRows } from './rows.ts'

export interface Context extends Place {
  /** Of Services that do not say it; absent: by chance. */
  readonly backendChoice?: BackendChoice
  /** The Service asks for it, but may not or cannot have it. */
  isRefused(frontend: Frontend, protocol: Protocol): boolean
}

/** @param service one that `isServed()`; `slices`: all of it, in an order that does not change */
export function compute(
  service: ServiceRow,
  slices: readonly EndpointSliceRow[],
  context: Context,
): ServiceRows {
  const { namespace, name, clusterIPs, healthCheckNodePort } = service
  // There are many of these: join() makes one piece of text, where a template string would hold on to its parts, and a copy of a list
  // is no longer than it must be.
  const key = [namespace, name].join('/')
  return {
    key,
    addresses: clusterIPs,
    ports: familiesOf(service)
      .flatMap((family) =>
        service.ports.flatMap((port) => {
          const portKey = [key, ':', port.name, '/', port.protocol, '/', family].join('')
          return computePort(portKey, service, port, family, slices, context)
        }),
      )
      .slice(),
    ...(healthCheckNodePort === undefined ? {} : { healthCheckNodePort }),
  }
}

function computePort(
  key: string,
  service: ServiceRow,
  port: ServicePortRow,
  family: 4 | 6,
  slices: readonly EndpointSliceRow[],
  context: Context,
): ServicePort[] {
  const { protocol } = port
  const frontends = frontendsOf(service, port, family).filter(
    (frontend) => !context.isRefused(frontend, protocol),
  )
  const cluster = frontends.filter(({ kind }) => kind === 'ClusterIP')
  const outer = frontends.filter(({ kind }) => kind !== 'ClusterIP')
  const isInternalLocal = service.internalTrafficPolicy === 'Local'
  const isExternalLocal = service.externalTrafficPolicy === 'Local' && outer.length > 0
  const lists = new Lists(candidatesOf(port, family, slices), context)
  const { affinitySec, backendChoice = context.backendChoice } = service
  const row = (
    rowKey: string,
    of: readonly Frontend[],
    internal: Answering,
    external: Answering,
  ): ServicePort => ({
    key: rowKey,
    portName: port.name,
    protocol,
    family,
    frontends: of.slice(),
    internal: internal.list,
    external: external.list,
    isInternalLocal: internal.isLocal,
    isExternalLocal: external.isLocal,
    ...(backendChoice === 'maglev' ? { isHashed: true } : {}),
    ...(affinitySec === undefined ? {} : { affinitySec }),
    ...sourceRangesOf(service, family, of, context),
  })
  const everywhere = (): Answering => ({ list: lists.cluster, isLocal: false })
  const here = (): Answering => ({ list: lists.local, isLocal: true })
  const outside = isExternalLocal ? here : everywhere
  if (!isInternalLocal) return [row(key, frontends, everywhere(), outside())]
  const inner = row(key, cluster, here(), here())
  if (outer.length === 0) return [inner]
  // Who of the cluster asks an outer address asks for the whole cluster's: the internal policy is of cluster addresses alone.
  return [inner, row(`${key}/external`, outer, everywhere(), outside())]
}

interface Answering {
  readonly list: readonly Backend[]
  readonly isLocal: boolean
}

/** Ranges of another family than the only ones given let nobody in: who names sources wants no others. */
function sourceRangesOf(
  { loadBalancerSourceRanges }: ServiceRow,
  family: 4 | 6,
  frontends: readonly Frontend[],
  { addresses = [] }: Place,
): Pick<ServicePort, 'sourceRanges' | 'isNodeRefused'> {
  if (loadBalancerSourceRanges === undefined) return {}
  if (!frontends.some(({ kind }) => kind === 'LoadBalancer')) return {}
  const sourceRanges = loadBalancerSourceRanges.filter((range) => familyOf(range) === family)
  const own = addresses.filter((address) => familyOf(address) === family).map(parseIp)
  const isAdmitted = sourceRanges
    .map(parsePrefix)
    .some((range) => own.some((address) => prefixContains(range, address)))
  return { sourceRanges, ...(isAdmitted ? {} : { isNodeRefused: true }) }
}

/** Of both scopes: made when asked for, the same array where they are equal, one object for one backend. */
class Lists {
  readonly #candidates: readonly Candidate[]
  readonly #context: Place
  /** As the candidates. */
  readonly #backends: Backend[] = []
  #cluster: readonly Backend[] | undefined
  #local: readonly Backend[] | undefined

  constructor(candidates: readonly Candidate[], context: Place) {
    this.#candidates = candidates
    this.#context = context
  }

  get cluster(): readonly Backend[] {
    this.#cluster ??= this.#list(clusterScope(this.#candidates, this.#context), this.#local)
    return this.#cluster
  }

  get local(): readonly Backend[] {
    this.#local ??= this.#list(localScope(this.#candidates, this.#context), this.#cluster)
    return this.#local
  }

  #list(scope: Scope, other: readonly Backend[] | undefined): readonly Backend[] {
    const list: Backend[] = []
    for (const [at, candidate] of this.#candidates.entries()) {
      if (judge(candidate, scope, this.#context) !== 'Asked') continue
      const backend = this.#backends[at] ?? backendOf(candidate, this.#context)
      this.#backends[at] = backend
      list.push(backend)
    }
    const isSame =
      other?.length === list.length && other.every((backend, at) => backend === list[at])
    return isSame ? other : list.slice()
  }
}

function backendOf({ endpoint, port }: Candidate, place: Place): Backend {
  const { address, condition, nodeName, pod } = endpoint
  const isTerminating = condition !== 'Ready'
  const isOnThisNode = nodeName === place.nodeName
  // As one literal its fields lie in the object itself: there are tens of thousands of them.
  if (nodeName !== undefined && pod !== undefined) {
    return { address, port, isTerminating, isOnThisNode, nodeName, pod }
  }
  return {
    ...{ address, port, isTerminating, isOnThisNode },
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(pod === undefined ? {} : { pod }),
  }
}
