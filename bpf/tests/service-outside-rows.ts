// Rows of flows that a stranger has begun with a service of node 1, by where its backend is.
import { FLOW_OPENER, FLOW_SEEN, FLOW_SERVICE, FLOW_TRANSLATED } from '../src/layouts.ts'
import {
  type Actors,
  type FlowSpec,
  flowExpected,
  flowRow,
  GENERATION,
  INCARNATION_A,
  keyOf,
  NODE_2,
  type RowSpec,
} from './world.ts'

const TCP = 6
export const NODE_PORT = 30_080
export const CLIENT_PORT = 40_000
export const BACKEND_PORT = 8080

/** Where the backend is. */
export type Where = 'here' | 'node' | 'tunnel' | 'dsr' | 'uplink' | 'stack' | 'out'

export interface Served {
  readonly where: Where
  readonly proto: number
  /** Default: node 1. */
  readonly service?: string
  readonly client?: string
  readonly backend: string
  readonly backendPort?: number
  /** In whose name the backend is asked; default: the client's. */
  readonly name?: string
  readonly clientPort?: number
  /** Default: the client's. */
  readonly port?: number
  /** Of `out`. */
  readonly ifindex?: number
  readonly mtu?: number
}

export interface Judged {
  readonly generation?: number
  readonly flags?: number
  /** Answers have been: where they leave is known. */
  readonly answeredBy?: number
  /** Of the pod of this node. */
  readonly incarnation?: number
}

function pair(actors: Actors, served: Served, changes: Judged = {}) {
  const { node1, stranger } = actors
  const { where, proto, service = node1, client = stranger, backend, name = client } = served
  const { clientPort = CLIENT_PORT, port = clientPort, backendPort = BACKEND_PORT } = served
  const { generation = GENERATION, flags = 0, answeredBy, incarnation = INCARNATION_A } = changes
  const all = FLOW_SEEN | FLOW_SERVICE | FLOW_TRANSLATED | flags
  const key: FlowSpec = {
    source: client,
    target: service,
    proto,
    sport: clientPort,
    dport: NODE_PORT,
  }
  const back: FlowSpec = {
    source: backend,
    target: name,
    proto,
    sport: backendPort,
    dport: port,
  }
  const ways = {
    here: { kind: 'local', targetIncarnation: incarnation },
    node: { kind: 'stack' },
    stack: { kind: 'stack', node: NODE_2 },
    tunnel: { kind: 'node', node: NODE_2 },
    dsr: { kind: 'dsr', node: NODE_2 },
    uplink: { kind: 'uplink', node: NODE_2 },
    out: { kind: 'out', node: served.ifindex ?? 0, mtu: served.mtu ?? 0 },
  } as const
  const row: RowSpec = {
    ...ways[where],
    generation,
    flags: all | FLOW_OPENER,
    to: { saddr: name, daddr: backend, sport: port, dport: backendPort },
  }
  const leaves: RowSpec =
    answeredBy === undefined || where === 'dsr'
      ? { kind: 'out', generation: generation - 1 }
      : { kind: 'out', node: answeredBy, generation, mtu: 1500 }
  const backRow: RowSpec = {
    ...(where === 'node' || where === 'stack' ? { kind: 'stack', generation } : leaves),
    ...(where === 'here' ? { sourceIncarnation: incarnation } : {}),
    ...(['tunnel', 'dsr', 'uplink'].includes(where) ? { sourceNode: NODE_2 } : {}),
    flags: answeredBy === undefined && where !== 'dsr' ? all & ~FLOW_SEEN : all,
    to: { saddr: service, daddr: client, sport: NODE_PORT, dport: clientPort },
  }
  return { key: keyOf(key), row, back: keyOf(back), backRow }
}

/** Both rows as the first packet leaves them, a SYN alone may be anybody's; answers are to leave by that uplink. */
export function begun(actors: Actors, served: Served, uplink: number) {
  const { key, row, back, backRow } = pair(actors, served, { answeredBy: uplink })
  const unseen = ({ flags = 0, ...row }: RowSpec) => ({ ...row, flags: flags & ~FLOW_SEEN })
  return [
    [key, flowExpected(served.proto === TCP ? unseen(row) : row)],
    [back, flowExpected(served.where === 'dsr' ? backRow : unseen(backRow))],
  ] as const
}

/** The same, as if it had been so for long. */
export function served(actors: Actors, flow: Served, changes: Judged = {}) {
  const { key, row, back, backRow } = pair(actors, flow, changes)
  return [
    [key, flowRow(row)],
    [back, flowRow(backRow)],
  ] as const
}
