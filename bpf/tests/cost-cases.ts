// Packets of flows without services, by what they do on a node: which program meets them, and what it makes of them.
import { CONFIG_CSUM_IPV6, FLOW_SEEN, NODE_ADDR_NODE_PORTS } from '../src/layouts.ts'
import { probeChecksumIpv6 } from '../src/probe.ts'
import type { Layer, Rows } from '../testing/index.ts'
import { type Case, NEXT, REDIRECT } from './cost.ts'
import { MASQUERADE, type Outside } from './outside.ts'
import { links, type Ports, type Route, tcpPacket, udpPacket as udpOf } from './packets.ts'
import { SERVICES } from './service-rows.ts'
import {
  families,
  flowRow,
  INCARNATION_A,
  INCARNATION_B,
  keyOf,
  NODE_2,
  nativeRows,
  type RowSpec,
  readyConfig,
  reverse,
  SB_DONE,
  type Shapes,
  TUNNEL_PORT,
} from './world.ts'

const UDP = 17
const ports = { sport: 40000, dport: 53 }

/** Longer than what is restored. */
const udpPacket = (link: Layer, route: Route, ports: Ports) => udpOf(link, route, ports, 24)

export const costCases: readonly Case[] = families.flatMap((actors) => {
  const { family, a, b, c, stranger, node1, node2 } = actors
  const from = (dst: string) => udpPacket(links.fromA, { src: a, dst }, ports)
  const both = { sourceIncarnation: INCARNATION_A, targetIncarnation: INCARNATION_B }
  const toA = { targetIncarnation: INCARNATION_A, sourceNode: NODE_2 }
  const out = udpPacket(links.out, { src: a, dst: c, ttl: 63 }, ports)
  const into = udpPacket(links.in, { src: c, dst: a }, ports)
  const outer = udpPacket(
    links.wire,
    { src: node2, dst: node1 },
    { sport: 50000, dport: TUNNEL_PORT },
  )
  const toNode = udpPacket(links.wire, { src: stranger, dst: node1 }, ports)
  const connected = tcpPacket(links.wire, { src: stranger, dst: node1 }, ports, ['ack'], 20)
  const answer = { sport: ports.dport, dport: ports.sport }
  const masqueraded = udpPacket(links.fromA, { src: node1, dst: stranger, ttl: 63 }, ports)
  const nodesOwn = udpPacket(links.wire, { src: node1, dst: stranger }, { ...ports, sport: 999 })
  const fromStranger = udpPacket(links.toA, { src: stranger, dst: a }, ports)
  const beside = {
    sb_config: [[0, { ...readyConfig, flags: SERVICES }]],
    sb_node_addrs: [[node1, NODE_ADDR_NODE_PORTS]],
  } as const
  const masquerading = (outside: Outside): Rows<Shapes> => ({
    sb_config: [[0, { ...readyConfig, flags: MASQUERADE | checksums() }]],
    sb_uplinks: outside.uplinks,
    sb_flows: outside.standing({ source: a, target: stranger, proto: UDP, ...ports }, ports.sport),
  })
  return [
    {
      path: 'pod to pod on this node',
      object: 'from_pod',
      before: from(b),
      after: udpPacket(links.toB, { src: a, dst: b, ttl: 63 }, ports),
      verdict: REDIRECT,
      rows: flowing(a, b, { kind: 'local', ...both }),
    },
    {
      path: 'pod to another node',
      object: 'from_pod',
      before: from(c),
      after: out,
      verdict: REDIRECT,
      rows: flowing(a, c, { kind: 'node', node: NODE_2, sourceIncarnation: INCARNATION_A }),
    },
    {
      path: 'pod to another node',
      object: 'to_overlay',
      before: out,
      after: out,
      verdict: NEXT,
      mark: SB_DONE,
    },
    {
      path: 'another node to pod',
      object: 'from_overlay',
      before: into,
      after: udpPacket(links.toA, { src: c, dst: a, ttl: 63 }, ports),
      verdict: REDIRECT,
      rows: flowing(c, a, { kind: 'local', ...toA }),
    },
    {
      path: 'another node to pod',
      object: 'from_uplink',
      before: outer,
      after: outer,
      verdict: NEXT,
    },
    {
      path: 'outside to node',
      object: 'from_uplink',
      before: toNode,
      after: toNode,
      verdict: NEXT,
    },
    {
      path: 'outside to node, beside services',
      object: 'from_uplink',
      before: toNode,
      after: toNode,
      verdict: NEXT,
      rows: beside,
    },
    {
      path: 'outside to node, beside services, a connection',
      object: 'from_uplink',
      before: connected,
      after: connected,
      verdict: NEXT,
      rows: beside,
    },
    {
      path: 'pod to another node without a tunnel',
      object: 'from_pod',
      before: from(c),
      after: udpPacket(links.fromA, { src: a, dst: c, ttl: 63 }, ports),
      verdict: REDIRECT,
      rows: {
        ...nativeRows,
        ...flowing(a, c, { kind: 'uplink', node: NODE_2, sourceIncarnation: INCARNATION_A }),
      },
    },
    {
      path: 'another node to pod without a tunnel',
      object: 'from_uplink',
      before: udpPacket(links.wire, { src: c, dst: a }, ports),
      after: udpPacket(links.toA, { src: c, dst: a, ttl: 63 }, ports),
      verdict: REDIRECT,
      rows: { ...nativeRows, ...flowing(c, a, { kind: 'local', ...toA }) },
    },
    {
      path: 'outside to node without a tunnel',
      object: 'from_uplink',
      before: toNode,
      after: toNode,
      verdict: NEXT,
      rows: nativeRows,
    },
    {
      path: 'pod to outside, masqueraded',
      object: 'from_pod',
      before: from(stranger),
      after: masqueraded,
      verdict: REDIRECT,
      outside: masquerading,
    },
    {
      path: 'pod to outside, masqueraded',
      object: 'to_uplink',
      before: masqueraded,
      after: masqueraded,
      verdict: NEXT,
      mark: SB_DONE,
      outside: masquerading,
    },
    {
      path: 'outside to pod, masqueraded',
      object: 'from_uplink',
      before: udpPacket(links.wire, { src: stranger, dst: node1 }, answer),
      after: udpPacket(links.toA, { src: stranger, dst: a, ttl: 63 }, answer),
      verdict: REDIRECT,
      outside: masquerading,
    },
    {
      path: 'node to outside, beside masqueraded pods',
      object: 'to_uplink',
      before: nodesOwn,
      after: nodesOwn,
      verdict: NEXT,
      outside: masquerading,
    },
    {
      path: 'node to outside, beside masqueraded pods and services',
      object: 'to_uplink',
      before: nodesOwn,
      after: nodesOwn,
      verdict: NEXT,
      outside: (outside: Outside) => ({
        ...masquerading(outside),
        sb_config: [[0, { ...readyConfig, flags: MASQUERADE | SERVICES }]],
      }),
    },
    {
      path: 'pod to stack',
      object: 'from_pod',
      before: from(stranger),
      after: from(stranger),
      verdict: NEXT,
      rows: flowing(a, stranger, { kind: 'stack', sourceIncarnation: INCARNATION_A }),
    },
    {
      path: 'stack to pod',
      object: 'to_pod',
      before: fromStranger,
      after: fromStranger,
      verdict: NEXT,
      rows: flowing(stranger, a, { kind: 'stack', targetIncarnation: INCARNATION_A }),
    },
  ].map((one) => ({ ...one, family }) as Case)
})

/** Both directions, as they have been for long. */
function flowing(source: string, target: string, spec: RowSpec): Rows<Shapes> {
  const flow = { source, target, proto: UDP, ...ports }
  const row = flowRow({ ...spec, flags: FLOW_SEEN })
  return {
    sb_flows: [
      [keyOf(flow), row],
      [keyOf(reverse(flow)), row],
    ],
  }
}

function checksums(): number {
  return probeChecksumIpv6() ? CONFIG_CSUM_IPV6 : 0
}
