// Why each endpoint of a Service is asked or not, for people: the same judging as the maps are made by.
import type { EndpointCondition, EndpointSliceRow, ServiceRow } from '../cluster/rows.ts'
import {
  type Candidate,
  candidatesOf,
  clusterScope,
  judge,
  localScope,
  type Place,
  type Scope,
  type Verdict,
} from './model-choose.ts'
import { familiesOf } from './model-frontends.ts'

export interface ExplainedPort {
  readonly portName: string
  readonly protocol: string
  readonly family: 4 | 6
  readonly endpoints: readonly ExplainedEndpoint[]
}

export interface ExplainedEndpoint {
  readonly address: string
  readonly port: number
  readonly condition: EndpointCondition
  readonly nodeName?: string
  readonly zone?: string
  readonly pod?: string
  /** Name of the EndpointSlice. */
  readonly slice: string
  /** For what comes from pods and processes of this node, and for what comes from outside. */
  readonly internal: Verdict
  readonly external: Verdict
}

const WORDS: Readonly<Record<Verdict, string>> = {
  Asked: 'is asked',
  NotReady: 'is not ready',
  Terminating: 'is terminating and serves no more',
  OthersReady: 'is terminating, and others are ready',
  OnOtherNode: 'is not on this node, and the traffic policy is Local',
  ForOtherNode: 'is for other nodes by its hints, and there are some for this one',
  ForOtherZone: 'is for other zones by its hints, and there are some for that of this node',
}

export function inWords(verdict: Verdict): string {
  return WORDS[verdict]
}

export function explain(
  service: ServiceRow,
  slices: readonly EndpointSliceRow[],
  place: Place,
): ExplainedPort[] {
  return familiesOf(service).flatMap((family) =>
    service.ports.map((port) => {
      const candidates = candidatesOf(port, family, slices)
      const scopeOf = (policy: 'Local' | undefined): Scope =>
        (policy === 'Local' ? localScope : clusterScope)(candidates, place)
      const internal = scopeOf(service.internalTrafficPolicy)
      const external = scopeOf(service.externalTrafficPolicy)
      const { name: portName, protocol } = port
      const endpoints = candidates.map((one) => explainOne(one, internal, external, place))
      return { portName, protocol, family, endpoints }
    }),
  )
}

function explainOne(
  candidate: Candidate,
  internal: Scope,
  external: Scope,
  place: Place,
): ExplainedEndpoint {
  const { endpoint, port, slice } = candidate
  const { address, condition, nodeName, zone, pod } = endpoint
  return {
    ...{ address, port, condition, slice: slice.name },
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
    ...(pod === undefined ? {} : { pod }),
    internal: judge(candidate, internal, place),
    external: judge(candidate, external, place),
  }
}
