// The connections that the flow table holds: rows put together in pairs, filtered, with names instead of numbers.
import {
  decodeWay,
  FLOW_FIN,
  FLOW_FIN_REPLY,
  FLOW_RST,
  FLOW_SEEN,
  type Flow,
  type FlowKey,
  ticksToSec,
} from '@sinabro/libbpf-ts/layouts'
import { parseIp, parsePrefix, prefixContains } from '@sinabro/node-netlink'
import type { FlowState, FlowsView, FlowView, PodRef } from '../api/views.ts'

export interface FlowFilter {
  /** 'name', 'namespace/name' or an address of a pod: at either end. */
  readonly pod?: string
  /** Address or prefix of the destination. */
  readonly to?: string
  readonly state?: FlowState
  /** At most this many are listed; all are counted. */
  readonly limit: number
}

export interface FlowTable {
  /** Some rows at a time, so that others get their turn. */
  chunks(): AsyncIterable<readonly [FlowKey, Flow][]>
  get(key: FlowKey): Flow | undefined
}

export interface FlowNames {
  /** The pod that has the address now, if it is the same one as when the row was made. */
  pod(address: string, incarnation: number): PodRef | undefined
  node(id: number): string | undefined
}

/** The present moment as rows count time. */
export interface FlowTime {
  readonly nowTicks: number
  readonly hz: number
}

export async function describeFlows(
  table: FlowTable,
  names: FlowNames,
  time: FlowTime,
  filter: FlowFilter,
  signal: AbortSignal,
): Promise<FlowsView> {
  const isTo = matchAddress(filter.to)
  const flows: FlowView[] = []
  let matched = 0
  let rows = 0
  for await (const chunk of table.chunks()) {
    signal.throwIfAborted()
    rows += chunk.length
    for (const [key, flow] of chunk) {
      if (!isTo(key.daddr)) continue
      const back = table.get(reverseOf(key))
      // Each pair once: in the direction that looks like the first.
      if (!isForward(key, flow, back)) continue
      const view = viewFlow(key, flow, back, names, time)
      if (filter.state !== undefined && view.state !== filter.state) continue
      if (filter.pod !== undefined && !isOfPod(view, filter.pod)) continue
      matched++
      if (flows.length < filter.limit) flows.push(view)
    }
  }
  return { flows, matched, rows }
}

export function stateOf(flow: Flow, back: Flow | undefined): FlowState {
  const flags = flow.flags
  if ((flags & FLOW_RST) !== 0 || ((back?.flags ?? 0) & FLOW_RST) !== 0) return 'closed'
  const hasEnded = (flags & FLOW_FIN) !== 0 || ((back?.flags ?? 0) & FLOW_FIN_REPLY) !== 0
  const hasBackEnded = (flags & FLOW_FIN_REPLY) !== 0 || ((back?.flags ?? 0) & FLOW_FIN) !== 0
  if (hasEnded && hasBackEnded) return 'closed'
  if (hasEnded || hasBackEnded) return 'closing'
  return ((back?.flags ?? 0) & FLOW_SEEN) !== 0 && (flags & FLOW_SEEN) !== 0 ? 'open' : 'opening'
}

/**
 * The rows of a pair do not say who began. Only one direction seen: that one. Else the one towards the lower port, which is the
 * server's nearly always.
 */
function isForward(key: FlowKey, flow: Flow, back: Flow | undefined): boolean {
  if (back === undefined) return true
  const isSeen = (flow.flags & FLOW_SEEN) !== 0
  const isBackSeen = (back.flags & FLOW_SEEN) !== 0
  if (isSeen !== isBackSeen) return isSeen
  if (key.sport !== key.dport) return key.sport > key.dport
  return key.saddr < key.daddr
}

function viewFlow(
  key: FlowKey,
  flow: Flow,
  back: Flow | undefined,
  names: FlowNames,
  { nowTicks, hz }: FlowTime,
): FlowView {
  const end = (address: string, port: number, incarnation: number) => {
    const pod = names.pod(address, incarnation)
    return { address, port, ...(pod === undefined ? {} : { pod }) }
  }
  const since = (ticks: number): number =>
    Math.round(ticksToSec(Math.max(0, (nowTicks - ticks) | 0), hz))
  const idle = Math.min(since(flow.seen), back === undefined ? Infinity : since(back.seen))
  return {
    protocol: PROTOCOLS.get(key.proto) ?? String(key.proto),
    source: end(key.saddr, key.sport, flow.sourceIncarnation),
    destination: end(key.daddr, key.dport, flow.targetIncarnation),
    state: stateOf(flow, back),
    way: wayOf(flow, names),
    ageSec: Math.max(since(flow.created), idle),
    idleSec: idle,
  }
}

function wayOf({ way }: Flow, names: FlowNames): string {
  const decoded = decodeWay(way)
  if (decoded === undefined) return 'unknown'
  if (decoded.kind !== 'node' && decoded.kind !== 'uplink') return decoded.kind
  return names.node(decoded.node) ?? `node ${decoded.node}`
}

function isOfPod({ source, destination }: FlowView, wanted: string): boolean {
  return [source, destination].some(({ address, pod }) => {
    if (address === wanted) return true
    return pod !== undefined && (pod.name === wanted || `${pod.namespace}/${pod.name}` === wanted)
  })
}

/** @throws ParseError */
function matchAddress(text: string | undefined): (address: string) => boolean {
  if (text === undefined) return () => true
  if (!text.includes('/')) return (address) => address === text
  const prefix = parsePrefix(text)
  return (address) => prefixContains(prefix, parseIp(address))
}

function reverseOf(key: FlowKey): FlowKey {
  const { saddr, daddr, sport, dport } = key
  return { ...key, saddr: daddr, daddr: saddr, sport: dport, dport: sport }
}

/** IPPROTO_* that have a name here. */
export const PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [58, 'icmpv6'],
  [132, 'sctp'],
])
