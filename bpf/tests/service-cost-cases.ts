// Packets of flows to services, by what they do on a node: those that pick a backend, and those of flows that have one.

import type { Layer, Rows } from '../testing/index.ts'
import { type Case, FIRST_PORT, NEXT, REDIRECT } from './cost.ts'
import { MASQUERADE, type Outside } from './outside.ts'
import { links, type Ports, type Route, udpPacket as udpOf } from './packets.ts'
import { BACKEND, SERVICE, service as serviceRows, standing } from './service-flows.ts'
import { NODE_PORT, served } from './service-outside-rows.ts'
import { SERVICES, serving } from './service-rows.ts'
import {
  type Actors,
  families,
  IFINDEX_HERE,
  INCARNATION_A,
  INCARNATION_B,
  NODE_2,
  podB,
  type RowSpec,
  readyConfig,
  SB_DONE,
  type Shapes,
  TUNNEL_PORT,
} from './world.ts'

const UDP = 17
const CLIENT = 40_000

/** Longer than what is restored. */
const udpPacket = (link: Layer, route: Route, ports: Ports) => udpOf(link, route, ports, 24)

const gets = (sport = CLIENT) => ({ sport, dport: BACKEND })
const answers = { sport: BACKEND, dport: CLIENT }

/** As all nodes that serve and masquerade have it. */
const config = { ...readyConfig, flags: MASQUERADE | SERVICES }

/** A flow of pod a to the service, with that backend. */
function established({ a, service }: Actors, backend: string, row: RowSpec, backRow: RowSpec) {
  const out = { source: a, target: service, proto: UDP, sport: CLIENT, dport: SERVICE }
  const seen = { source: a, target: backend, proto: UDP, ...gets() }
  return { sb_config: [[0, config]], sb_flows: standing({ out, seen, row, backRow }) } as const
}

function ofPods(actors: Actors): readonly Omit<Case, 'family'>[] {
  const { a, b, c, service, node1, node2 } = actors
  const asks = (sport = CLIENT) =>
    udpPacket(links.fromA, { src: a, dst: service }, { sport, dport: SERVICE })
  const isAnswered = udpPacket(
    links.toA,
    { src: service, dst: a, ttl: 63 },
    { sport: SERVICE, dport: CLIENT },
  )
  const toHere = (sport?: number) => udpPacket(links.toB, { src: a, dst: b, ttl: 63 }, gets(sport))
  const toThere = (sport?: number) => udpPacket(links.out, { src: a, dst: c, ttl: 63 }, gets(sport))
  const here = established(
    actors,
    b,
    { kind: 'local', sourceIncarnation: INCARNATION_A, targetIncarnation: INCARNATION_B },
    { kind: 'local', sourceIncarnation: INCARNATION_B, targetIncarnation: INCARNATION_A },
  )
  const there = established(
    actors,
    c,
    { kind: 'node', node: NODE_2, sourceIncarnation: INCARNATION_A },
    { kind: 'local', sourceNode: NODE_2, targetIncarnation: INCARNATION_A },
  )
  const first = (backend: string) => ({
    object: 'from_pod',
    before: asks(FIRST_PORT),
    verdict: REDIRECT,
    firstAt: portAt(actors),
    outside: ({ uplinks }: Outside): Rows<Shapes> => ({
      ...serviceRows(actors, [backend]),
      sb_config: [[0, config]],
      sb_uplinks: uplinks,
    }),
  })
  return [
    {
      path: 'pod to service, a pod of this node',
      object: 'from_pod',
      before: asks(),
      after: toHere(),
      verdict: REDIRECT,
      rows: here,
    },
    {
      path: 'service to pod, a pod of this node',
      object: 'from_pod',
      before: udpPacket(links.fromB, { src: b, dst: a }, answers),
      after: isAnswered,
      verdict: REDIRECT,
      rows: { ...here, sb_endpoints: [[b, { ...podB, ifindex: IFINDEX_HERE }]] },
    },
    {
      path: 'pod to service, a pod of another node',
      object: 'from_pod',
      before: asks(),
      after: toThere(),
      verdict: REDIRECT,
      rows: there,
    },
    ...through(toThere(), 'pod to service, a pod of another node', 'to_overlay'),
    ...arriving(node1, node2, 'service to pod, a pod of another node'),
    {
      path: 'service to pod, a pod of another node',
      object: 'from_overlay',
      before: udpPacket(links.in, { src: c, dst: a }, answers),
      after: isAnswered,
      verdict: REDIRECT,
      rows: there,
    },
    { path: 'first of pod to service, a pod of this node', after: toHere(FIRST_PORT), ...first(b) },
    {
      path: 'first of pod to service, a pod of another node',
      after: toThere(FIRST_PORT),
      ...first(c),
    },
  ]
}

/** Backends: pod a of this node, pod c of another. */
function fromOutside(actors: Actors): readonly Omit<Case, 'family'>[] {
  const { a, c, own1, node1, node2, stranger, family } = actors
  const asks = (sport = CLIENT) =>
    udpPacket(links.wire, { src: stranger, dst: node1 }, { sport, dport: NODE_PORT })
  const toHere = (sport?: number) =>
    udpPacket(links.toA, { src: stranger, dst: a, ttl: 63 }, gets(sport))
  const toThere = (sport?: number) =>
    udpPacket(links.out, { src: own1, dst: c, ttl: 63 }, gets(sport))
  const isAnswered = (link: Layer) =>
    udpPacket(link, { src: node1, dst: stranger, ttl: 63 }, { sport: NODE_PORT, dport: CLIENT })
  const standing =
    (flow: Omit<Parameters<typeof served>[1], 'proto'>) =>
    ({ uplink, uplinks }: Outside): Rows<Shapes> => ({
      sb_config: [[0, config]],
      sb_uplinks: uplinks,
      sb_flows: served(actors, { ...flow, proto: UDP }, { answeredBy: uplink }),
    })
  const here = standing({ where: 'here', backend: a })
  const there = standing({ where: 'tunnel', backend: c, name: own1 })
  const first = (backend: string) => ({
    object: 'from_uplink',
    before: asks(FIRST_PORT),
    verdict: REDIRECT,
    firstAt: portAt(actors),
    outside: ({ uplinks }: Outside): Rows<Shapes> => ({
      ...serving({
        ...{ family, port: NODE_PORT, proto: UDP },
        backends: [{ address: backend, port: BACKEND }],
      }),
      sb_config: [[0, config]],
      sb_uplinks: uplinks,
    }),
  })
  const leaving = isAnswered(links.wire)
  return [
    {
      path: 'outside to node port, a pod of this node',
      object: 'from_uplink',
      before: asks(),
      after: toHere(),
      verdict: REDIRECT,
      outside: here,
    },
    {
      path: 'node port to outside, a pod of this node',
      object: 'from_pod',
      before: udpPacket(links.fromA, { src: a, dst: stranger }, answers),
      after: isAnswered(links.fromA),
      verdict: REDIRECT,
      outside: here,
    },
    ...through(leaving, 'node port to outside, a pod of this node', 'to_uplink'),
    {
      path: 'outside to node port, a pod of another node',
      object: 'from_uplink',
      before: asks(),
      after: toThere(),
      verdict: REDIRECT,
      outside: there,
    },
    ...through(toThere(), 'outside to node port, a pod of another node', 'to_overlay'),
    ...arriving(node1, node2, 'node port to outside, a pod of another node'),
    {
      path: 'node port to outside, a pod of another node',
      object: 'from_overlay',
      before: udpPacket(links.in, { src: c, dst: own1 }, answers),
      after: isAnswered(links.in),
      verdict: REDIRECT,
      outside: there,
    },
    ...through(leaving, 'node port to outside, a pod of another node', 'to_uplink'),
    {
      path: 'first of outside to node port, a pod of this node',
      after: toHere(FIRST_PORT),
      ...first(a),
    },
    {
      path: 'first of outside to node port, a pod of another node',
      after: toThere(FIRST_PORT),
      ...first(c),
    },
  ]
}

/** The program where a device sends, of a packet that we are done with. */
function through(packet: Uint8Array, path: string, object: string): Omit<Case, 'family'>[] {
  return [{ path, object, before: packet, after: packet, verdict: NEXT, mark: SB_DONE }]
}

/** The program where the tunnel's outer packet comes in. */
function arriving(node1: string, node2: string, path: string): Omit<Case, 'family'>[] {
  const ports = { sport: 50_000, dport: TUNNEL_PORT }
  const outer = udpPacket(links.wire, { src: node2, dst: node1 }, ports)
  return [{ path, object: 'from_uplink', before: outer, after: outer, verdict: NEXT }]
}

/** Of the source port, behind Ethernet and an IP header without options. */
function portAt({ family }: Actors): number {
  return 14 + (family === 4 ? 20 : 40)
}

export const serviceCostCases: readonly Case[] = families.flatMap((actors) =>
  [...ofPods(actors), ...fromOutside(actors)].map((one) => ({ ...one, family: actors.family })),
)
