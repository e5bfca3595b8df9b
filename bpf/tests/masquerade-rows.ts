// Rows of flows that leave under the address of node 1: pod a's to the stranger, and the node's own beside them.
import { BpfError } from '../src/error.ts'
import {
  CONFIG_CSUM_IPV6,
  CONFIG_NATIVE,
  CONFIG_READY,
  CONFIG_TRANSLATED,
  FLOW_OPENER,
  FLOW_SEEN,
  FLOW_TRANSLATED,
} from '../src/layouts.ts'
import { probeChecksumIpv6 } from '../src/probe.ts'
import type { Rows } from '../testing/index.ts'
import {
  type Actors,
  type FlowSpec,
  flowRow,
  IFINDEX_UPLINK,
  INCARNATION_A,
  keyOf,
  nativeRows,
  type RowSpec,
  readyConfig,
  type Shapes,
  type World,
} from './world.ts'

const TRANSLATED = CONFIG_READY | CONFIG_TRANSLATED

/** Each kind of node that sb_from_uplink may find itself on, with translated flows. */
export const modes = {
  'a tunnel': { sb_config: [[0, { ...readyConfig, flags: TRANSLATED }]] },
  'the kernel’s own tunnel': {
    sb_config: [[0, { ...readyConfig, flags: TRANSLATED, overlayIfindex: 0 }]],
  },
  'no tunnel': {
    ...nativeRows,
    sb_config: [
      [
        0,
        {
          ...readyConfig,
          flags: TRANSLATED | CONFIG_NATIVE,
          overlayIfindex: 0,
          uplinkIfindex: IFINDEX_UPLINK,
        },
      ],
    ],
  },
} as const satisfies Record<string, Rows<Shapes>>

export interface Leaving {
  readonly proto: number
  /** The pod's port or echo id, and what it is outside. */
  readonly sport: number
  readonly port: number
  /** 0 for ICMP. */
  readonly dport?: number
  readonly icmpClass?: number
}

/** Both keys of a flow of pod a: as it sends, and as answers come. */
export function keysOf({ a, node1, stranger }: Actors, flow: Leaving) {
  const { proto, sport, port, icmpClass = 0 } = flow
  const dport = icmpClass === 0 ? (flow.dport ?? 0) : sport
  const far = icmpClass === 0 ? dport : port
  const out: FlowSpec = { source: a, target: stranger, proto, sport, dport, icmpClass }
  const back: FlowSpec = {
    source: stranger,
    target: node1,
    proto,
    sport: far,
    dport: port,
    icmpClass,
  }
  return { out, back }
}

export interface RowChanges {
  readonly incarnation?: number
  readonly flags?: number
  readonly generation?: number
}

/** Both rows of such a flow, as they are after a while. */
export function leaving(actors: Actors, flow: Leaving, changes: RowChanges = {}) {
  const { incarnation = INCARNATION_A, flags = FLOW_SEEN, ...rest } = changes
  const { a, node1, stranger } = actors
  const { out, back } = keysOf(actors, flow)
  const row: RowSpec = {
    ...rest,
    kind: 'out',
    node: IFINDEX_UPLINK,
    sourceIncarnation: incarnation,
    flags: flags | FLOW_TRANSLATED | FLOW_OPENER,
    to: { saddr: node1, daddr: stranger, sport: back.dport ?? 0, dport: back.sport ?? 0 },
    mtu: 1500,
  }
  const backRow: RowSpec = {
    ...rest,
    kind: 'local',
    targetIncarnation: incarnation,
    flags: flags | FLOW_TRANSLATED,
    to: { saddr: stranger, daddr: a, sport: out.dport ?? 0, dport: out.sport ?? 0 },
  }
  return [
    [keyOf(out), flowRow(row)],
    [keyOf(back), flowRow(backRow)],
  ] as const
}

/** The same of a flow of the node itself, which has another port outside than its own. */
export function leavingNode({ node1, stranger }: Actors, flow: Leaving) {
  const { proto, sport, port, icmpClass = 0 } = flow
  const dport = icmpClass === 0 ? (flow.dport ?? 0) : sport
  const far = icmpClass === 0 ? dport : port
  const out = { source: node1, target: stranger, proto, sport, dport, icmpClass }
  const back = { source: stranger, target: node1, proto, sport: far, dport: port, icmpClass }
  const flags = FLOW_SEEN | FLOW_TRANSLATED
  const to = { saddr: node1, daddr: stranger, sport: port, dport: far }
  const toNode = { saddr: stranger, daddr: node1, sport: dport, dport: sport }
  return [
    [keyOf(out), flowRow({ kind: 'stack', flags: flags | FLOW_OPENER, to })],
    [keyOf(back), flowRow({ kind: 'stack', flags, to: toNode })],
  ] as const
}

/**
 * Checks a vector; and, where the kernel can, once more as if the device had summed the packet, which a
 * kernel that mends that sum of IPv6 is told to do, and another must not be.
 */
export function summing(world: World): (vector: Parameters<World['check']>[0]) => void {
  const canSum = isRunnable(world)
  const mends = probeChecksumIpv6()
  return (vector) => {
    world.check(vector)
    if (!canSum) return
    world.check({ ...vector, isSummed: true })
    const row = vector.maps?.sb_config?.[0]?.[1]
    if (!mends || row === undefined) return
    const sb_config = [[0, { ...row, flags: row.flags | CONFIG_CSUM_IPV6 }]] as const
    world.check({ ...vector, maps: { ...vector.maps, sb_config }, isSummed: true })
  }
}

function isRunnable(world: World): boolean {
  try {
    world.program('sb_from_uplink').testRun({ data: new Uint8Array(60), isSummed: true })
    return true
  } catch (error) {
    if (error instanceof BpfError && error.code === 'EINVAL') return false
    throw error
  }
}
