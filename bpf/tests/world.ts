// The little world all packet vectors play in: one node with two pods, another node, a stranger; both families.
import { counterIndex, OUTCOMES, PLACES, type Place } from '../src/drop-reasons.ts'
import {
  affinity,
  affinityKey,
  backend,
  CONFIG_NATIVE,
  CONFIG_READY,
  config,
  counter,
  DEFAULT_TIMEOUTS,
  ENDPOINT_LOCAL_POD,
  ENDPOINT_NODE_OWN,
  type Endpoint,
  encodeWay,
  endpoint,
  FLOW_OPENER,
  type Flow,
  type FlowKey,
  flow,
  flowKey,
  fragmentKey,
  fragmentPorts,
  ipcacheEntry,
  lent,
  NODE_ON_UPLINK,
  NODE_VALID,
  NOT_TRANSLATED,
  node,
  opened,
  opener,
  openerFlows,
  pool,
  poolKey,
  prefixKey,
  reclaim,
  service,
  serviceConfig,
  serviceKey,
  slot,
  slotKey,
  sourceRangeKey,
  type Translation,
  timeouts,
  uplink,
  type WayKind,
} from '../src/layouts.ts'
import { objectPath } from '../src/objects.ts'
import { addr, be16, struct, u8, u32, u64 } from '../src/struct.ts'
import type { Namespace } from '../src/tcx.ts'
import { mapShape, type Rows, type SkBuff, TestNode, testObject } from '../testing/index.ts'

/** What bpf/tests/tunnel.h writes down of tunnel metadata, or puts on a packet. */
export const testTunnel = struct('test_tunnel', {
  source: addr,
  destination: addr,
  vni: u32,
  tos: u8,
  ttl: u8,
  flags: be16,
})

const sum = (values: readonly { packets: bigint; bytes: bigint }[]) => ({
  packets: values.reduce((total, { packets }) => total + packets, 0n),
  bytes: values.reduce((total, { bytes }) => total + bytes, 0n),
})

const serviceShapes = {
  sb_services: mapShape({ key: serviceKey, value: service }),
  sb_slots: mapShape({ key: slotKey, value: slot }),
  sb_backends: mapShape({ key: u32, value: backend }),
  sb_node_addrs: mapShape({ key: addr, value: u32 }),
  sb_src_ranges: mapShape({ key: sourceRangeKey, value: u32 }),
  sb_affinity: mapShape({ key: affinityKey, value: affinity }),
  sb_svc_config: mapShape({ key: u32, value: serviceConfig }),
}

export const shapes = {
  sb_config: mapShape({ key: u32, value: config }),
  sb_endpoints: mapShape({ key: addr, value: endpoint }),
  sb_nodes: mapShape({ key: u32, value: node }),
  sb_node_ids: mapShape({ key: addr, value: u32 }),
  sb_ipcache: mapShape({ key: prefixKey, value: ipcacheEntry }),
  sb_flows: mapShape({ key: flowKey, value: flow }),
  sb_lent: mapShape({ key: flowKey, value: lent }),
  sb_backend_ids: mapShape({ key: serviceKey, value: u32 }),
  sb_fragments: mapShape({ key: fragmentKey, value: fragmentPorts }),
  sb_counters: mapShape({ key: u32, value: counter, combine: sum }),
  sb_uplinks: mapShape({ key: u32, value: uplink }),
  sb_reserved: mapShape({ key: u32, value: u64 }),
  sb_timeouts: mapShape({ key: u32, value: timeouts }),
  sb_reclaim: mapShape({ key: u32, value: reclaim }),
  sb_pools: mapShape({ key: poolKey, value: pool }),
  sb_openers: mapShape({ key: opener, value: openerFlows }),
  sb_opened: mapShape({ key: u32, value: opened }),
  test_tunnel: mapShape({ key: u32, value: testTunnel }),
  ...serviceShapes,
}
export type Shapes = typeof shapes

export interface Redirect {
  readonly kind: 'peer' | 'device' | 'neighbour' | 'unknown'
  readonly ifindex: number
}
export type World = TestNode<Shapes, Redirect>

/** A test run happens on loopback: the device of whoever is being tested. */
export const IFINDEX_HERE = 1
export const IFINDEX_B = 77
export const IFINDEX_OVERLAY = 99
/** A device that is there: a test run looks no neighbour up. */
export const IFINDEX_UPLINK = 1
export const VNI = 7
export const MTU = 1450
export const GENERATION = 3
export const SB_DONE = 0x20_0000
export const SB_TO_TRANSLATE = 0x10_0000

export const mac = {
  a: '02:00:00:00:01:0a',
  aHost: '02:00:00:00:01:01',
  b: '02:00:00:00:01:0b',
  bHost: '02:00:00:00:01:02',
  c: '02:00:00:00:02:0a',
  cHost: '02:00:00:00:02:01',
  overlay1: '02:00:00:00:10:01',
  overlay2: '02:00:00:00:10:02',
  loopback: '00:00:00:00:00:00',
  wire1: '02:00:00:00:20:01',
  wire2: '02:00:00:00:20:02',
} as const

/** Incarnations of the pods at the start. */
export const INCARNATION_A = 11
export const INCARNATION_B = 12
export const INCARNATION_C = 21

export const NODE_1 = 1
export const NODE_2 = 2
export const NODE_3 = 3

export interface Actors {
  readonly family: 4 | 6
  /** Pods of this node; `a` is behind the device of the test run. */
  readonly a: string
  readonly b: string
  /** Pod of node 2. */
  readonly c: string
  /** Pod of node 3, which has no tunnel. */
  readonly d: string
  /** This node's own address in its pod range, and node 2's. */
  readonly own1: string
  readonly own2: string
  /** In this node's range, but nobody has it. */
  readonly vacant: string
  readonly service: string
  readonly stranger: string
  /** InternalIPs. */
  readonly node1: string
  readonly node2: string
  readonly multicast: string
  readonly linkLocal: string
  readonly ranges: readonly (readonly [prefix: string, prefixLen: number, node: number])[]
}

export const ipv4: Actors = {
  family: 4,
  a: '10.244.1.10',
  b: '10.244.1.11',
  c: '10.244.2.10',
  d: '10.244.3.10',
  own1: '10.244.1.1',
  own2: '10.244.2.1',
  vacant: '10.244.1.99',
  service: '10.96.0.10',
  stranger: '198.51.100.7',
  node1: '192.0.2.1',
  node2: '192.0.2.2',
  multicast: '224.0.0.251',
  linkLocal: '169.254.1.1',
  ranges: [
    ['10.244.1.0', 96 + 24, NODE_1],
    ['10.244.2.0', 96 + 24, NODE_2],
    ['10.244.3.0', 96 + 24, NODE_3],
  ],
}

export const ipv6: Actors = {
  family: 6,
  a: 'fd00:1::10',
  b: 'fd00:1::11',
  c: 'fd00:2::10',
  d: 'fd00:3::10',
  own1: 'fd00:1::1',
  own2: 'fd00:2::1',
  vacant: 'fd00:1::99',
  service: 'fd00:96::10',
  stranger: '2001:db8:ffff::7',
  node1: '2001:db8::1',
  node2: '2001:db8::2',
  multicast: 'ff02::fb',
  linkLocal: 'fe80::1',
  ranges: [
    ['fd00:1::', 64, NODE_1],
    ['fd00:2::', 64, NODE_2],
    ['fd00:3::', 64, NODE_3],
  ],
}

export const families: readonly Actors[] = [ipv4, ipv6]

export const podA: Endpoint = {
  ifindex: IFINDEX_HERE,
  id: 101,
  incarnation: INCARNATION_A,
  flags: ENDPOINT_LOCAL_POD,
  podMac: mac.a,
  hostMac: mac.aHost,
  mtu: MTU,
}
export const podB: Endpoint = {
  ...podA,
  ifindex: IFINDEX_B,
  id: 102,
  incarnation: INCARNATION_B,
  podMac: mac.b,
  hostMac: mac.bHost,
}
export const nodeOwn: Endpoint = {
  ifindex: 0,
  id: 0,
  incarnation: 0,
  flags: ENDPOINT_NODE_OWN,
  podMac: '00:00:00:00:00:00',
  hostMac: '00:00:00:00:00:00',
  mtu: 0,
}

/** Outer UDP port. */
export const TUNNEL_PORT = 8472

export const readyConfig = {
  generation: GENERATION,
  flags: CONFIG_READY,
  ownNode: NODE_1,
  overlayIfindex: IFINDEX_OVERLAY,
  vni: VNI,
  overlayMac: mac.overlay1,
  tunnelPort: TUNNEL_PORT,
  uplinkIfindex: 0,
  tunnelLocal4: ipv4.node1,
  tunnelLocal6: ipv6.node1,
  portMin: 32768,
  portMax: 65535,
} as const

/** Metadata of a packet that came from node 2. */
export const tunnelIn = {
  source: ipv4.node2,
  destination: ipv4.node1,
  vni: VNI,
  tos: 0,
  ttl: 64,
  flags: 0,
} as const

export const base: Rows<Shapes> = {
  sb_config: [[0, readyConfig]],
  sb_timeouts: [[0, DEFAULT_TIMEOUTS]],
  sb_endpoints: families.flatMap(({ a, b, own1, node1 }) => [
    [a, podA] as const,
    [b, podB] as const,
    [own1, nodeOwn] as const,
    [node1, nodeOwn] as const,
  ]),
  sb_nodes: [
    [NODE_1, { tunnel: ipv4.node1, mac: mac.overlay1, mtu: MTU, flags: NODE_VALID }],
    [NODE_2, { tunnel: ipv4.node2, mac: mac.overlay2, mtu: MTU, flags: NODE_VALID }],
    [NODE_3, { tunnel: '::', mac: '00:00:00:00:00:00', mtu: 0, flags: 0 }],
  ],
  sb_node_ids: families.map(({ node2 }) => [node2, NODE_2] as const),
  sb_ipcache: families.flatMap(({ ranges }) =>
    ranges.map(
      ([prefix, prefixLen, id]) =>
        [
          { prefixLen, addr: prefix },
          { node: id, identity: 0, flags: 0 },
        ] as const,
    ),
  ),
  test_tunnel: [[0, tunnelIn]],
}

/** What differs on a node without a tunnel, to which node 2 is a neighbour on the uplink. */
export const nativeRows: Rows<Shapes> = {
  sb_config: [
    [
      0,
      {
        ...readyConfig,
        flags: CONFIG_READY | CONFIG_NATIVE,
        overlayIfindex: 0,
        uplinkIfindex: IFINDEX_UPLINK,
      },
    ],
  ],
  sb_nodes: [
    [
      NODE_2,
      { tunnel: ipv4.node2, mac: mac.overlay2, mtu: MTU, flags: NODE_VALID | NODE_ON_UPLINK },
    ],
  ],
}

/** What differs on node 2, where pod c is behind the device of the test run. */
export const node2Rows: Rows<Shapes> = {
  sb_config: [
    [
      0,
      {
        ...readyConfig,
        ownNode: NODE_2,
        overlayMac: mac.overlay2,
        tunnelLocal4: ipv4.node2,
        tunnelLocal6: ipv6.node2,
      },
    ],
  ],
  sb_endpoints: families.flatMap(({ c, own2, node2 }) => [
    [c, { ...podA, podMac: mac.c, hostMac: mac.cHost, incarnation: INCARNATION_C }] as const,
    [own2, nodeOwn] as const,
    [node2, nodeOwn] as const,
  ]),
  sb_node_ids: families.map(({ node1 }) => [node1, NODE_1] as const),
  test_tunnel: [
    [0, { source: ipv4.node1, destination: ipv4.node2, vni: VNI, tos: 0, ttl: 64, flags: 0 }],
  ],
}

const REDIRECTS = ['unknown', 'peer', 'device', 'neighbour'] as const

function readRedirect({ cb }: SkBuff): Redirect | undefined {
  const [kind = 0, ifindex = 0] = cb
  return kind === 0 ? undefined : { kind: REDIRECTS[kind] ?? 'unknown', ifindex }
}

export interface WorldOptions {
  /** Rows that differ from the base, by the same keys. */
  readonly rows?: Rows<Shapes>
  readonly maxFlows?: number
  readonly maxAffinity?: number
  readonly maxSlots?: number
  /** Where there are routes; default: this process's. */
  readonly netns?: Namespace | undefined
}

/** Maps are emptied before each vector, which takes as long as they are large. */
const SMALL: Readonly<Record<string, number>> = {
  sb_nodes: 16,
  sb_services: 256,
  sb_slots: 1024,
  sb_backends: 256,
  sb_affinity: 1024,
}

/** Every program and the forms of them that vectors need; the caller closes it. */
export async function loadWorld(options: WorldOptions = {}): Promise<World> {
  const { rows = {}, maxFlows = 1024, maxAffinity, maxSlots, netns } = options
  const sizes: Readonly<Record<string, number>> = {
    ...{ ...SMALL, sb_flows: maxFlows },
    ...(maxAffinity === undefined ? {} : { sb_affinity: maxAffinity }),
    ...(maxSlots === undefined ? {} : { sb_slots: maxSlots }),
  }
  return await TestNode.load<Shapes, Redirect>({
    objects: [
      testObject('vector_from_pod'),
      objectPath('to_pod'),
      testObject('vector_from_overlay'),
      testObject('vector_to_overlay'),
      objectPath('from_uplink'),
      objectPath('to_uplink'),
      objectPath('xdp_uplink'),
      objectPath('sweep'),
    ],
    netns,
    maps: shapes,
    maxEntries: (map) => sizes[map],
    base: { ...base, ...rows },
    watch: ['sb_flows', 'sb_counters'],
    readRedirect,
  })
}

/** Expected: one more packet for that outcome, making `total`, and of no other. */
export function counted(place: Place, symbol: string, bytes?: number, total = 1) {
  const outcome = OUTCOMES.find((one) => one.symbol === symbol)
  if (outcome === undefined) throw new TypeError(`no outcome ${symbol}`)
  const key = counterIndex(PLACES.indexOf(place), outcome.number)
  const value = (actual: { packets: bigint; bytes: bigint }) =>
    actual.packets === BigInt(total) && (bytes === undefined || actual.bytes === BigInt(bytes))
  return { changed: [[key, value] as const] }
}

export interface FlowSpec {
  readonly source: string
  readonly target: string
  readonly proto: number
  readonly sport?: number
  readonly dport?: number
  readonly icmpClass?: number
}

export function keyOf({ source, target, proto, sport = 0, dport = 0, icmpClass = 0 }: FlowSpec) {
  const key: FlowKey = { saddr: source, daddr: target, sport, dport, proto, icmpClass }
  return key
}

export function reverse({ source, target, sport = 0, dport = 0, ...rest }: FlowSpec): FlowSpec {
  return { ...rest, source: target, target: source, sport: dport, dport: sport }
}

export interface RowSpec {
  readonly kind: WayKind
  readonly node?: number
  readonly generation?: number
  readonly sourceIncarnation?: number
  readonly targetIncarnation?: number
  readonly sourceNode?: number
  readonly flags?: number
  readonly to?: Translation
  readonly mtu?: number
}

/** A whole flow row, old enough to be looked at by the sweep if `idleUnits` says so. */
export function flowRow(spec: RowSpec): Flow {
  const { kind, node: to = 0, generation = GENERATION } = spec
  return {
    way: encodeWay({ kind, node: to, generation }),
    sourceIncarnation: spec.sourceIncarnation ?? 0,
    targetIncarnation: spec.targetIncarnation ?? 0,
    sourceNode: spec.sourceNode ?? 0,
    flags: spec.flags ?? 0,
    seen: 0,
    created: 0,
    to: spec.to ?? NOT_TRANSLATED,
    mtu: spec.mtu ?? 0,
  }
}

/** The same as an expectation: times may be anything but zero, and who opened the flow is not asked. */
export function flowExpected(spec: RowSpec) {
  const { seen: _seen, created: _created, flags, ...row } = flowRow(spec)
  const isExpected = (actual: number) => (actual & ~FLOW_OPENER) === (flags & ~FLOW_OPENER)
  return { ...row, flags: isExpected, seen: isSet, created: isSet }
}

function isSet(value: number): boolean {
  return value > 0
}
