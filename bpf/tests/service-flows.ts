// Flows of pod a to a service, one per kind of backend: where they go, under which names, and the rows that say so.
import {
  CONFIG_MASQUERADE,
  CONFIG_NATIVE,
  CONFIG_TRANSLATED,
  FLOW_OPENER,
  FLOW_SEEN,
  FLOW_SERVICE,
  FLOW_TRANSLATED,
} from '../src/layouts.ts'
import type { Layer, Rows } from '../testing/index.ts'
import type { Outside } from './outside.ts'
import { links, type Ports } from './packets.ts'
import { SERVICES, serving } from './service-rows.ts'
import {
  type Actors,
  type FlowSpec,
  flowExpected,
  flowRow,
  GENERATION,
  IFINDEX_B,
  IFINDEX_HERE,
  IFINDEX_OVERLAY,
  IFINDEX_UPLINK,
  INCARNATION_A,
  INCARNATION_B,
  keyOf,
  NODE_2,
  nativeRows,
  type Redirect,
  type RowSpec,
  readyConfig,
  reverse,
  SB_DONE,
  type Shapes,
} from './world.ts'

export const TCP = 6
export const UDP = 17
export const CLIENT = 40_000
export const SERVICE = 80
export const BACKEND = 8080

/** As pod a asks, and as it is answered. */
export const asked: Ports = { sport: CLIENT, dport: SERVICE }
export const answered: Ports = { sport: SERVICE, dport: CLIENT }

const SERVING = SERVICES | CONFIG_MASQUERADE | CONFIG_TRANSLATED

export interface Served {
  readonly kind: string
  /** Who answers. */
  readonly backend: string
  /** Whose name the backend sees. */
  readonly source: string
  /** Which rows differ on such a node, `generation` in its config. */
  readonly node: (generation?: number, flags?: number) => Rows<Shapes>
  readonly row: RowSpec
  readonly backRow: RowSpec
  /** How the first packet leaves, with which link header, and as what it is counted. */
  readonly leaves: {
    readonly redirect?: Redirect
    readonly mark: number
    readonly link: Layer
    readonly hops: number
    readonly outcome: string
  }
  /** Where the answer is met, how it comes, and how it goes on to pod a; absent: nowhere yet. */
  readonly answer: {
    readonly program: string
    readonly place: 'from_pod' | 'to_pod' | 'from_overlay' | 'from_uplink'
    readonly link: Layer
    readonly rows?: Rows<Shapes>
    readonly redirect?: Redirect
    readonly linkOut: Layer
    readonly hops: number
    readonly outcome: string
  }
}

const peer = (ifindex: number): Redirect => ({ kind: 'peer', ifindex })
const arrived = {
  redirect: peer(IFINDEX_HERE),
  linkOut: links.toA,
  hops: 63,
  outcome: 'PASS_LOCAL',
} as const

type Devices = Partial<Record<'overlayIfindex' | 'tunnelPort' | 'uplinkIfindex', number>>

/** The kinds of backend that there are, in the order of the page "The packet path". */
export function kindsOf(actors: Actors, outside: Outside): readonly Served[] {
  const { a, b, c, own1, node1, stranger } = actors
  const config =
    (more: Devices = {}, without = 0) =>
    (generation = GENERATION, flags = 0): Rows<Shapes> => ({
      sb_config: [
        [0, { ...readyConfig, ...more, generation, flags: (SERVING & ~without) | flags }],
      ],
      sb_uplinks: outside.uplinks,
    })
  const onTunnel = config()
  const withoutTunnel = (generation?: number, flags = 0) => ({
    ...config({
      overlayIfindex: 0,
      uplinkIfindex: IFINDEX_UPLINK,
    })(generation, flags | CONFIG_NATIVE),
    sb_nodes: nativeRows.sb_nodes ?? [],
  })
  const kernelTunnel = config({ overlayIfindex: 0 })
  const fromA = { sourceIncarnation: INCARNATION_A }
  const toA = { targetIncarnation: INCARNATION_A }
  const stack = { mark: 0, link: links.fromA, hops: 64, outcome: 'PASS_STACK' }
  const fromStack = { linkOut: links.toA, hops: 64, outcome: 'PASS_STACK' }
  return [
    {
      kind: 'a pod of this node',
      backend: b,
      source: a,
      node: onTunnel,
      row: { kind: 'local', ...fromA, targetIncarnation: INCARNATION_B },
      backRow: { kind: 'local', ...toA, sourceIncarnation: INCARNATION_B },
      leaves: {
        redirect: peer(IFINDEX_B),
        mark: 0,
        link: links.toB,
        hops: 63,
        outcome: 'PASS_LOCAL',
      },
      answer: { program: 'sb_from_pod', place: 'from_pod', link: links.fromB, ...arrived },
    },
    {
      kind: 'the pod itself',
      backend: a,
      source: own1,
      node: onTunnel,
      row: { kind: 'local', ...fromA, ...toA },
      backRow: { kind: 'local', ...fromA, ...toA },
      leaves: { ...arrived, mark: 0, link: links.toA },
      answer: { program: 'sb_from_pod', place: 'from_pod', link: links.fromA, ...arrived },
    },
    {
      kind: 'a pod of another node',
      backend: c,
      source: a,
      node: onTunnel,
      row: { kind: 'node', node: NODE_2, ...fromA },
      backRow: { kind: 'local', sourceNode: NODE_2, ...toA },
      leaves: {
        redirect: { kind: 'device', ifindex: IFINDEX_OVERLAY },
        mark: SB_DONE,
        link: links.out,
        hops: 63,
        outcome: 'PASS_NODE',
      },
      answer: {
        program: 'vector_from_overlay',
        place: 'from_overlay',
        link: links.in,
        ...arrived,
      },
    },
    {
      kind: 'a pod of another node, without a tunnel',
      backend: c,
      source: a,
      node: withoutTunnel,
      row: { kind: 'uplink', node: NODE_2, ...fromA },
      backRow: { kind: 'local', sourceNode: NODE_2, ...toA },
      leaves: {
        redirect: { kind: 'neighbour', ifindex: IFINDEX_UPLINK },
        mark: SB_DONE,
        link: links.fromA,
        hops: 63,
        outcome: 'PASS_UPLINK',
      },
      answer: { program: 'sb_from_uplink', place: 'from_uplink', link: links.wire, ...arrived },
    },
    {
      kind: 'a pod of another node, by the kernel’s own tunnel',
      backend: c,
      source: a,
      node: kernelTunnel,
      row: { kind: 'stack', node: NODE_2, ...fromA },
      backRow: { kind: 'stack', sourceNode: NODE_2, ...toA },
      leaves: stack,
      answer: { program: 'sb_to_pod', place: 'to_pod', link: links.toA, ...fromStack },
    },
    {
      kind: 'this node',
      backend: node1,
      source: a,
      node: onTunnel,
      row: { kind: 'stack', ...fromA },
      backRow: { kind: 'stack', ...toA },
      leaves: stack,
      answer: { program: 'sb_to_pod', place: 'to_pod', link: links.toA, ...fromStack },
    },
    {
      kind: 'a host outside',
      backend: stranger,
      source: node1,
      node: onTunnel,
      row: { kind: 'out', node: outside.uplink, mtu: 1500, ...fromA },
      backRow: { kind: 'local', ...toA },
      leaves: {
        redirect: { kind: 'neighbour', ifindex: outside.uplink },
        mark: SB_DONE,
        link: links.fromA,
        hops: 63,
        outcome: 'PASS_OUT',
      },
      answer: { program: 'sb_from_uplink', place: 'from_uplink', link: links.wire, ...arrived },
    },
    {
      kind: 'a host outside that the stack masquerades for',
      backend: stranger,
      source: a,
      node: config({}, CONFIG_MASQUERADE),
      row: { kind: 'stack', ...fromA },
      backRow: { kind: 'stack', ...toA },
      leaves: stack,
      answer: { program: 'sb_to_pod', place: 'to_pod', link: links.toA, ...fromStack },
    },
  ]
}

/** The service of pod a, answered by these, and what makes the node one that serves. */
export function service(
  { family, service: address }: Actors,
  backends: readonly string[],
  flags = 0,
  port = SERVICE,
): Rows<Shapes> {
  const answering = backends.map((one) => ({ address: one, port: BACKEND }))
  const both = [TCP, UDP].map((proto) =>
    serving({ family, address, port, proto, flags, backends: answering }),
  )
  return {
    ...both[0],
    sb_services: [
      ...both.flatMap(({ sb_services = [] }) => sb_services),
      [{ addr: address, port: 0, proto: 0 }, { ...NOBODY }],
    ],
  }
}

const SERVICE_ADDRESS = 1 << 5
const NOBODY = { id: 0, flags: SERVICE_ADDRESS, internal: 0, external: 0, affinitySec: 0 }

export interface Pair {
  /** As pod a sends, and as the backend gets it. */
  readonly out: FlowSpec
  readonly seen: FlowSpec
  readonly row: RowSpec
  readonly backRow: RowSpec
}

/** Of a flow of that kind, whose source has `port` in the backend's eyes. */
export function pairOf(actors: Actors, served: Served, proto: number, port = CLIENT): Pair {
  const { a, service: target } = actors
  return {
    out: { source: a, target, proto, ...asked },
    seen: { source: served.source, target: served.backend, proto, sport: port, dport: BACKEND },
    row: served.row,
    backRow: served.backRow,
  }
}

function rowsOf({ out, seen, row, backRow }: Pair, flags: number, generation: number) {
  const to = ({ source, target, sport = 0, dport = 0 }: FlowSpec) => ({
    saddr: source,
    daddr: target,
    sport,
    dport,
  })
  const both = FLOW_TRANSLATED | FLOW_SERVICE | flags
  return {
    row: { generation, ...row, flags: both | FLOW_OPENER, to: to(seen) },
    backRow: { generation, ...backRow, flags: both, to: to(reverse(out)) },
  } as const
}

/** Both rows as a first packet leaves them: a SYN alone may be anybody's. */
export function begun(pair: Pair) {
  const { row, backRow } = rowsOf(pair, 0, GENERATION)
  const flags = pair.out.proto === TCP ? row.flags : row.flags | FLOW_SEEN
  return [
    [keyOf(pair.out), flowExpected({ ...row, flags })],
    [keyOf(reverse(pair.seen)), flowExpected(backRow)],
  ] as const
}

/** The same, as it has been for long. */
export function standing(pair: Pair, flags = FLOW_SEEN, generation = GENERATION) {
  const { row, backRow } = rowsOf(pair, flags, generation)
  return [
    [keyOf(pair.out), flowRow({ ...row, flags: row.flags | FLOW_SEEN })],
    [keyOf(reverse(pair.seen)), flowRow(backRow)],
  ] as const
}
