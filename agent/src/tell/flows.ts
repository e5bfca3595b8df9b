// The connections that the flow table holds: rows put together in pairs, filtered, with names instead of numbers.
import {
  decodeWay,
  FLOW_FIN,
  FLOW_FIN_REPLY,
  FLOW_OPENER,
  FLOW_RST,
  FLOW_SEEN,
  FLOW_SERVICE,
  FLOW_TRANSLATED,
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
      if (!isTo(key.daddr) && !(isTranslated(flow) && isTo(flow.to.daddr))) continue
      const back = table.get(otherKey(key, flow))
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

export function stateOf(
  { proto }: Pick<FlowKey, 'proto'>,
  flow: Flow,
  back: Flow | undefined,
): FlowState {
  const flags = flow.flags
  const backFlags = back?.flags ?? 0
  const isAnswered = (flags & backFlags & FLOW_SEEN) !== 0
  if (proto !== TCP) return isAnswered ? 'replied' : 'unreplied'
  if (((flags | backFlags) & FLOW_RST) !== 0) return 'closed'
  const hasEnded = (flags & FLOW_FIN) !== 0 || (backFlags & FLOW_FIN_REPLY) !== 0
  const hasBackEnded = (flags & FLOW_FIN_REPLY) !== 0 || (backFlags & FLOW_FIN) !== 0
  if (hasEnded && hasBackEnded) return 'closed'
  if (hasEnded || hasBackEnded) return 'closing'
  return isAnswered ? 'established' : 'opening'
}

/** The opener's row, if they say so; else the only one that was seen; else the one towards the lower port, the server's nearly always. */
function isForward(key: FlowKey, flow: Flow, back: Flow | undefined): boolean {
  if (back === undefined) return true
  for (const flag of [FLOW_OPENER, FLOW_SEEN]) {
    const has = (flow.flags & flag) !== 0
    if (has !== ((back.flags & flag) !== 0)) return has
  }
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
    ...(isTranslated(flow) && isOther(key.saddr, key.sport, flow.to.saddr, flow.to.sport)
      ? { as: { address: flow.to.saddr, port: flow.to.sport } }
      : {}),
    // Of an echo whose identifier changes both ports do.
    ...((flow.flags & FLOW_SERVICE) !== 0 &&
    isOther(key.daddr, key.dport, flow.to.daddr, flow.to.dport)
      ? { backend: end(flow.to.daddr, flow.to.dport, flow.targetIncarnation) }
      : {}),
    state: stateOf(key, flow, back),
    way: wayOf(flow, names),
    ageSec: Math.max(since(flow.created), idle),
    idleSec: idle,
  }
}

function wayOf({ way }: Flow, names: FlowNames): string {
  const decoded = decodeWay(way)
  if (decoded === undefined) return 'unknown'
  if (!['node', 'uplink', 'dsr'].includes(decoded.kind)) return decoded.kind
  return names.node(decoded.node) ?? `node ${decoded.node}`
}

function isOfPod({ source, destination, backend }: FlowView, wanted: string): boolean {
  return [source, destination, ...(backend === undefined ? [] : [backend])].some((end) => {
    const { address, pod } = end
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

function isOther(address: string, port: number, other: string, otherPort: number): boolean {
  return address !== other || port !== otherPort
}

function isTranslated({ flags }: Flow): boolean {
  return (flags & FLOW_TRANSLATED) !== 0
}

/** Of the row of the other direction: what comes back is for whom these packets seem to be from. */
function otherKey(key: FlowKey, flow: Flow): FlowKey {
  const { saddr, daddr, sport, dport } = isTranslated(flow) ? flow.to : key
  return { ...key, saddr: daddr, daddr: saddr, sport: dport, dport: sport }
}

const TCP = 6
/** IPPROTO_* that have a name here. */
export const PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [58, 'icmpv6'],
  [132, 'sctp'],
])
