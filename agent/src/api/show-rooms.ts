// What `sinabro addresses`, `nodes`, `programs` and `flows` show to people.
import { age, count, duration, formatTable, shorten } from './table.ts'
import type {
  AddressesView,
  FlowEnd,
  FlowsView,
  FlowView,
  MasqueradeView,
  NodeView,
  PodRef,
  ProgramsView,
} from './views.ts'

export function showAddresses(view: AddressesView, now: number): string {
  const parts = [
    view.ranges.length === 0
      ? 'this node has no range'
      : formatTable([
          ['RANGE', "NODE'S OWN", 'USED', 'CAPACITY'],
          ...view.ranges.map(({ range, nodeAddress, used, capacity }) => [
            range,
            nodeAddress,
            `${used}`,
            `${capacity}`,
          ]),
        ]),
  ]
  if (view.addresses.length > 0) {
    const rows = view.addresses.map((one) => [
      one.address,
      one.range ?? 'an earlier one',
      podName(one.pod) ?? shorten(one.containerId),
      one.ifname,
      one.network,
      age(Date.parse(one.since), now),
    ])
    parts.push(formatTable([['ADDRESS', 'RANGE', 'POD', 'INTERFACE', 'NETWORK', 'AGE'], ...rows]))
  }
  if (view.keptOutOfUse.length > 0) {
    const rows = view.keptOutOfUse.map(({ addresses, file, reason }) => [
      addresses.join(','),
      file,
      reason,
    ])
    parts.push(formatTable([['KEPT OUT OF USE', 'RECORD', 'REASON'], ...rows]))
  }
  return parts.join('\n\n')
}

export function showNodes(nodes: readonly NodeView[]): string {
  if (nodes.length === 0) return 'no nodes: the source has no Node object'
  return formatTable([
    ['NAME', 'POD RANGES', 'ADDRESSES', 'TUNNEL', 'MTU', 'WAY', 'MESSAGE'],
    ...nodes.map((node) => [
      node.name,
      node.podCIDRs.join(',') || '-',
      node.internalIPs.join(',') || '-',
      node.tunnelAddress ?? '-',
      node.mtu === undefined ? '-' : String(node.mtu),
      node.way === 'tunnel' ? `tunnel (${node.mode})` : node.way,
      node.message ?? '',
    ]),
  ])
}

export function showPrograms({ programs, mode, attached }: ProgramsView): string {
  const loaded = formatTable([
    ['PROGRAM', 'ID', 'TYPE', 'VERIFIED', 'JITED', 'RUNS', 'AVERAGE'],
    ...programs.map((one) => [
      one.name,
      String(one.id),
      one.type,
      `${one.verifiedInstructions} instructions`,
      `${one.jitedBytes} bytes`,
      one.runs === 0 ? '-' : String(one.runs),
      one.runs === 0 ? '-' : duration(one.runTimeNs / one.runs),
    ]),
  ])
  if (attached.length === 0) return `${loaded}\n\nnothing is attached: no device of ours`
  const hooks = formatTable([
    ['DEVICE', 'DIRECTION', 'WAY', 'PROGRAM', 'STATE', 'OF'],
    ...attached.map((one) => [
      one.device,
      one.direction,
      one.way,
      one.program ?? `id ${one.programId}`,
      one.state,
      one.of,
    ]),
  ])
  const foot = { bpf: '', kernel: NOT_ON_OVERLAY, none: NO_OVERLAY }[mode]
  return `${loaded}\n\n${hooks}${foot}`
}

export function showMasquerade(view: MasqueradeView): string {
  const { mode, isTranslating, uplinks, pools, poolCount, capacity } = view
  const facts = [
    ['masquerade', mode === 'ebpf' && !isTranslating ? 'ebpf, by nftables so far' : mode],
    ['ports', `${view.ports}, ${capacity} of them for each destination`],
    ['never given', view.reservedPorts || 'none'],
    ['kept', [...view.keptRanges, 'pod ranges'].join(', ')],
    ['left to the kernel', count(view.keptEntries, 'destination')],
    ['exempt pods', view.exempt.join(', ') || 'none'],
    ['flow rows', `${view.flowRows} of ${view.flowCapacity}, ${view.translatedRows} translated`],
  ]
  const shownFacts = mode === 'none' ? facts.slice(0, 1) : facts
  const parts = [formatTable(shownFacts)]
  parts.push(
    uplinks.length === 0
      ? 'no uplinks'
      : formatTable([
          ['UPLINK', 'IPV4', 'IPV6', 'MTU', 'STATE', 'KIND'],
          ...uplinks.map((one) => [
            one.name,
            one.source4 ?? '-',
            one.source6 ?? '-',
            String(one.mtu),
            one.isUp ? 'up' : 'down',
            one.isL3 ? 'ip' : 'ethernet',
          ]),
        ]),
  )
  if (pools.length === 0) return parts.join('\n\n')
  const table = formatTable([
    ['FROM', 'TO', 'PROTOCOL', 'USED', 'OF', 'FAILED'],
    ...pools.map(({ address, to, port, protocol, used, failed, ...pool }) => [
      address,
      showEnd({ address: to, port }),
      protocol,
      `${used} (${Math.round((100 * used) / Math.max(1, pool.capacity))} %)`,
      String(pool.capacity),
      String(failed),
    ]),
  ])
  const more = poolCount > pools.length ? `\n\n${pools.length} of ${poolCount} destinations` : ''
  return `${parts.join('\n\n')}\n\n${table}${more}`
}

const NOT_ON_OVERLAY =
  '\n\ntunnel mode kernel: none on the overlay device; what comes by the tunnel is judged on the uplinks'
const NO_OVERLAY = '\n\ntunnel mode none: there is no overlay device'

export function showFlows({ flows, matched, rows }: FlowsView): string {
  const foot =
    matched > flows.length
      ? `${flows.length} of ${count(matched, 'connection')} shown; --limit shows more`
      : `${count(matched, 'connection')}, ${count(rows, 'row')} in the table`
  if (flows.length === 0) return foot
  const has = columnsOf(flows)
  const table = formatTable([
    flowColumns(has),
    ...flows.map((flow) => [
      ...flowCells(flow, has),
      age(0, flow.ageSec * 1000),
      age(0, flow.idleSec * 1000),
    ]),
  ])
  return `${table}\n\n${foot}`
}

/** Columns that are there when any has one. */
export interface FlowColumns {
  readonly as: boolean
  readonly backend: boolean
}

export const ALL_COLUMNS: FlowColumns = { as: true, backend: true }

function columnsOf(flows: readonly FlowView[]): FlowColumns {
  return {
    as: flows.some((flow) => flow.as !== undefined),
    backend: flows.some((flow) => flow.backend !== undefined),
  }
}

function flowColumns({ as, backend }: FlowColumns): string[] {
  return [
    ...['PROTOCOL', 'FROM', ...(as ? ['AS'] : []), 'TO', ...(backend ? ['BACKEND'] : [])],
    ...['STATE', 'WAY', 'AGE', 'IDLE'],
  ]
}

/** All but its times. */
export function flowCells(
  flow: FlowView,
  { as, backend }: FlowColumns,
  state: string = flow.state,
): string[] {
  const other = (end: FlowEnd | undefined) => (end === undefined ? '-' : showEnd(end))
  return [
    flow.protocol,
    showEnd(flow.source),
    ...(as ? [other(flow.as)] : []),
    showEnd(flow.destination),
    ...(backend ? [other(flow.backend)] : []),
    state,
    flow.way,
  ]
}

export function showEnd({ address, port, pod }: FlowEnd): string {
  const host = address.includes(':') ? `[${address}]` : address
  const place = port === 0 ? address : `${host}:${port}`
  const name = pod === undefined ? undefined : podName(pod)
  return name === undefined ? place : `${place} (${name})`
}

function podName({ namespace, name }: PodRef): string | undefined {
  if (name === '') return undefined
  return namespace === '' ? name : `${namespace}/${name}`
}
