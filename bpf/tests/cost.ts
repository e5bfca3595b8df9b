// Cost of each program on established flows, in ns above an empty program: what npm run bench prints and a test checks for sense.

import {
  CONFIG_CSUM_IPV6,
  CONFIG_MASQUERADE,
  CONFIG_READY,
  CONFIG_TRANSLATED,
  FLOW_SEEN,
  flowKey,
  NODE_ADDR_NODE_PORTS,
  uplink,
} from '../src/layouts.ts'
import { probeChecksumIpv6 } from '../src/probe.ts'
import { addr, u32 } from '../src/struct.ts'
import { TypedMap } from '../src/typed-map.ts'
import { encodeSkBuff, type Layer, TestNode, testObject } from '../testing/index.ts'
import { Outside } from './outside.ts'
import { links, type Ports, type Route, tcpPacket, udpPacket as udpOf } from './packets.ts'
import { BACKEND, standing } from './service-flows.ts'
import { SERVICES } from './service-rows.ts'
import {
  base,
  type FlowSpec,
  families,
  flowRow,
  INCARNATION_A,
  INCARNATION_B,
  ipv4,
  ipv6,
  keyOf,
  NODE_2,
  nativeRows,
  type RowSpec,
  readyConfig,
  reverse,
  SB_DONE,
  shapes,
  TUNNEL_PORT,
  testTunnel,
  tunnelIn,
} from './world.ts'

export interface Cost {
  /** What the packet does on this node. */
  readonly path: string
  readonly family: 4 | 6
  readonly program: string
  /** Medians over the rounds. The real function alone, above an empty program. */
  readonly ns: number
  /** The empty program itself. */
  readonly emptyNs: number
  /** Yardstick of this machine at this moment: one hash hit with a flow's key, above an empty program. */
  readonly lookupNs: number
}

export interface CostOptions {
  /** Runs per measurement, and measurements of which the median counts. */
  readonly repeat: number
  readonly rounds: number
}

interface Case {
  readonly path: string
  readonly family: 4 | 6
  readonly object: string
  readonly before: Uint8Array
  readonly after: Uint8Array
  readonly verdict: number
  readonly mark?: number
  readonly row?: readonly [source: string, target: string, spec: RowSpec]
  /** Rows of a flow to a service. */
  readonly served?: ReturnType<typeof standing>
  /** Pod a's flow to the stranger leaves under the node's address, and keeps its port. */
  readonly isMasqueraded?: boolean
  /** On a node without a tunnel. */
  readonly isNative?: boolean
  /** Of a node that is asked for services; not this time. */
  readonly isServing?: boolean
}

const UDP = 17
const ports = { sport: 40000, dport: 53 }
const NEXT = -1
const REDIRECT = 7
/** BENCH_BYTES and BENCH_WRONG of bench.h. */
const BENCH_BYTES = 64
const BENCH_WRONG = 100

/** Longer than what is restored. */
const udpPacket = (link: Layer, route: Route, ports: Ports) => udpOf(link, route, ports, 24)

const cases: readonly Case[] = families.flatMap((actors) => {
  const { family, a, b, c, service, stranger, node1, node2 } = actors
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
  const toBackend = { ...ports, dport: BACKEND }
  const served = (target: string, row: RowSpec, backRow: RowSpec) =>
    standing({
      out: { source: a, target: service, proto: UDP, ...ports },
      seen: { source: a, target, proto: UDP, ...toBackend },
      row,
      backRow,
    })
  const servedHere = served(
    b,
    { kind: 'local', ...both },
    { kind: 'local', sourceIncarnation: INCARNATION_B, targetIncarnation: INCARNATION_A },
  )
  const servedThere = served(
    c,
    { kind: 'node', node: NODE_2, sourceIncarnation: INCARNATION_A },
    { kind: 'local', ...toA },
  )
  return [
    {
      path: 'pod to pod on this node',
      object: 'from_pod',
      before: from(b),
      after: udpPacket(links.toB, { src: a, dst: b, ttl: 63 }, ports),
      verdict: REDIRECT,
      row: [a, b, { kind: 'local', ...both }],
    },
    {
      path: 'pod to another node',
      object: 'from_pod',
      before: from(c),
      after: out,
      verdict: REDIRECT,
      row: [a, c, { kind: 'node', node: NODE_2, sourceIncarnation: INCARNATION_A }],
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
      row: [c, a, { kind: 'local', ...toA }],
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
      isServing: true,
    },
    {
      path: 'outside to node, beside services, a connection',
      object: 'from_uplink',
      before: connected,
      after: connected,
      verdict: NEXT,
      isServing: true,
    },
    {
      path: 'pod to another node without a tunnel',
      object: 'from_pod',
      before: from(c),
      after: udpPacket(links.fromA, { src: a, dst: c, ttl: 63 }, ports),
      verdict: REDIRECT,
      row: [a, c, { kind: 'uplink', node: NODE_2, sourceIncarnation: INCARNATION_A }],
      isNative: true,
    },
    {
      path: 'another node to pod without a tunnel',
      object: 'from_uplink',
      before: udpPacket(links.wire, { src: c, dst: a }, ports),
      after: udpPacket(links.toA, { src: c, dst: a, ttl: 63 }, ports),
      verdict: REDIRECT,
      row: [c, a, { kind: 'local', ...toA }],
      isNative: true,
    },
    {
      path: 'outside to node without a tunnel',
      object: 'from_uplink',
      before: toNode,
      after: toNode,
      verdict: NEXT,
      isNative: true,
    },
    {
      path: 'pod to outside, masqueraded',
      object: 'from_pod',
      before: from(stranger),
      after: masqueraded,
      verdict: REDIRECT,
      isMasqueraded: true,
    },
    {
      path: 'pod to outside, masqueraded',
      object: 'to_uplink',
      before: masqueraded,
      after: masqueraded,
      verdict: NEXT,
      mark: SB_DONE,
      isMasqueraded: true,
    },
    {
      path: 'outside to pod, masqueraded',
      object: 'from_uplink',
      before: udpPacket(links.wire, { src: stranger, dst: node1 }, answer),
      after: udpPacket(links.toA, { src: stranger, dst: a, ttl: 63 }, answer),
      verdict: REDIRECT,
      isMasqueraded: true,
    },
    {
      path: 'node to outside, beside masqueraded pods',
      object: 'to_uplink',
      before: nodesOwn,
      after: nodesOwn,
      verdict: NEXT,
      isMasqueraded: true,
    },
    {
      path: 'pod to service, a pod of this node',
      object: 'from_pod',
      before: from(service),
      after: udpPacket(links.toB, { src: a, dst: b, ttl: 63 }, toBackend),
      verdict: REDIRECT,
      served: servedHere,
    },
    {
      path: 'pod to service, a pod of another node',
      object: 'from_pod',
      before: from(service),
      after: udpPacket(links.out, { src: a, dst: c, ttl: 63 }, toBackend),
      verdict: REDIRECT,
      served: servedThere,
    },
    {
      path: 'service to pod, from another node',
      object: 'from_overlay',
      before: udpPacket(links.in, { src: c, dst: a }, { sport: BACKEND, dport: ports.sport }),
      after: udpPacket(links.toA, { src: service, dst: a, ttl: 63 }, answer),
      verdict: REDIRECT,
      served: servedThere,
    },
    {
      path: 'pod to stack',
      object: 'from_pod',
      before: from(stranger),
      after: from(stranger),
      verdict: NEXT,
      row: [a, stranger, { kind: 'stack', sourceIncarnation: INCARNATION_A }],
    },
    {
      path: 'stack to pod',
      object: 'to_pod',
      before: fromStranger,
      after: fromStranger,
      verdict: NEXT,
      row: [stranger, a, { kind: 'stack', targetIncarnation: INCARNATION_A }],
    },
  ].map((one) => ({ ...one, family }) as Case)
})

/** Loads a program per case, so that constants are constants; nothing is left behind. */
export async function measureCosts(
  options: CostOptions,
  isWanted: (one: Pick<Case, 'path' | 'family'>) => boolean = () => true,
): Promise<Cost[]> {
  const costs: Cost[] = []
  for (const one of cases) if (isWanted(one)) costs.push(await measure(one, options))
  return costs
}

const {
  test_tunnel: _tunnel,
  sb_reclaim: _reclaim,
  sb_fragments: _fragments,
  sb_uplinks: _uplinks,
  sb_reserved: _reserved,
  sb_pools: _pools,
  sb_services: _services,
  sb_slots: _slots,
  sb_backends: _backends,
  sb_node_addrs: _nodeAddrs,
  sb_src_ranges: _sourceRanges,
  sb_affinity: _affinity,
  sb_svc_config: _serviceConfig,
  ...commonShapes
} = shapes
const { test_tunnel: _tunnelRows, sb_reclaim: _reclaimRows, ...commonRows } = base
const yardstick = keyOf({ source: '192.0.2.8', target: '192.0.2.9', proto: UDP, ...ports })

async function measure(one: Case, { repeat, rounds }: CostOptions): Promise<Cost> {
  const { object, row } = one
  // Routes are asked once a tick, in the middle of a measurement.
  using outside = one.isMasqueraded === true ? await Outside.open() : undefined
  using node = await TestNode.load({
    objects: [testObject(`bench_${object}`)],
    maps: commonShapes,
    base: {
      ...commonRows,
      ...(one.isNative === true ? nativeRows : {}),
      ...(one.isMasqueraded === true ? { sb_config: [[0, masquerading()]] } : {}),
      ...(one.isServing === true ? { sb_config: [[0, { ...readyConfig, flags: SERVICES }]] } : {}),
      sb_flows: [
        [yardstick, flowRow({ kind: 'stack' })],
        ...(row === undefined ? [] : bothRows(row)),
        ...(one.served ?? []),
        ...(outside?.standing(flowOut(one.family), ports.sport) ?? []),
      ],
    },
    maxEntries: (map) => (map === 'sb_nodes' ? 16 : undefined),
    netns: outside?.netns,
    rodata: {
      bench_before: one.before.slice(0, BENCH_BYTES),
      bench_after: one.after.slice(0, BENCH_BYTES),
      bench_key: flowKey.encode(yardstick),
      bench_mark: new Uint8Array(Uint32Array.of(one.mark ?? 0).buffer),
      bench_verdict: new Uint8Array(Int32Array.of(one.verdict).buffer),
    },
  })
  node.reset()
  if (object === 'from_overlay') {
    new TypedMap(node.map('test_tunnel'), u32, testTunnel).set(0, tunnelIn)
  }
  if (outside !== undefined && object === 'from_pod') {
    const uplinks = new TypedMap(node.map('sb_uplinks'), u32, uplink)
    for (const [index, value] of outside.uplinks) uplinks.set(index, value)
  }
  if (one.isServing === true) {
    const addresses = new TypedMap(node.map('sb_node_addrs'), addr, u32)
    for (const { node1 } of families) addresses.set(node1, NODE_ADDR_NODE_PORTS)
  }
  const packet = { data: one.before, ctx: encodeSkBuff({}), netns: outside?.netns }
  const ns = (program: string, expected?: number) => {
    const run = node.program(program).testRun({ ...packet, repeat })
    if (run.retval === BENCH_WRONG || (expected !== undefined && run.retval !== expected)) {
      const left = Buffer.from(run.data).toString('hex')
      throw new Error(`${one.path}: ${program} returned ${run.retval} and left ${left}`)
    }
    return run.durationNs
  }
  const samples = Array.from({ length: rounds }, () => {
    const emptyNs = ns('bench_empty', one.verdict)
    const lookupNs = ns('bench_lookup', one.verdict) - emptyNs
    const restoreNs = ns('bench_restore')
    return { emptyNs, lookupNs, ns: ns(`bench_${object}`, one.verdict) - restoreNs }
  })
  return {
    path: one.path,
    family: one.family,
    program: `sb_${object}`,
    ns: median(samples.map((sample) => sample.ns)),
    emptyNs: median(samples.map((sample) => sample.emptyNs)),
    lookupNs: median(samples.map((sample) => sample.lookupNs)),
  }
}

function masquerading() {
  const sums = probeChecksumIpv6() ? CONFIG_CSUM_IPV6 : 0
  return { ...readyConfig, flags: CONFIG_READY | CONFIG_MASQUERADE | CONFIG_TRANSLATED | sums }
}

function flowOut(family: 4 | 6): FlowSpec {
  const { a, stranger } = family === 4 ? ipv4 : ipv6
  return { source: a, target: stranger, proto: UDP, ...ports }
}

function bothRows([source, target, spec]: NonNullable<Case['row']>) {
  const flow = { source, target, proto: UDP, ...ports }
  const row = flowRow({ ...spec, flags: FLOW_SEEN })
  return [
    [keyOf(flow), row],
    [keyOf(reverse(flow)), row],
  ] as const
}

function median(values: readonly number[]): number {
  return [...values].sort((x, y) => x - y)[values.length >> 1] ?? Number.NaN
}
