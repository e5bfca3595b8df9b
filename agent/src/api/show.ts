// Answers of the agent as a person reads them: plain tables, no colour, nothing cut off.
import type { PodView, Status } from './status.ts'

/** The others are in json and yaml. */
const SHOWN_EVENTS = 10

/** Columns as wide as their widest cell, two spaces between; the last one is left ragged. */
export function formatTable(table: readonly (readonly string[])[]): string {
  const rows = table.map((row) => row.map(printable))
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, cell.length)
    }
  }
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Names and messages come from files and callers: what would steer a terminal, or turn text around, is shown instead. */
function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
}

export function showStatus(status: Status, now: number): string {
  const facts = Object.entries(status.facts)
  const parts = [
    formatTable([
      ['node', status.node],
      [
        'agent',
        `${status.version}, pid ${status.pid}, up ${age(Date.parse(status.startedAt), now)}`,
      ],
      ['ready', status.ready ? 'yes' : 'no'],
      ['healthy', status.healthy ? 'yes' : 'no'],
      ['source', `${status.source}, ${count(status.nodeCount, 'node')}`],
      ['pods', String(status.podCount)],
      ...facts,
    ]),
    formatTable([
      ['RANGE', 'USED', 'CAPACITY'],
      ...status.ranges.map(({ range, used, capacity }) => [range, `${used}`, `${capacity}`]),
    ]),
    formatTable([
      ['COMPONENT', 'STATE', 'SINCE', 'MESSAGE'],
      ...status.components.map(({ component, state, since, message }) => [
        component,
        state,
        age(since, now),
        message ?? '',
      ]),
    ]),
  ]
  if (status.conditions.length > 0) {
    const rows = status.conditions.map(({ type, status: value, since, reason, message }) => [
      type,
      value,
      age(since, now),
      reason,
      message,
    ])
    parts.push(formatTable([['CONDITION', 'STATUS', 'SINCE', 'REASON', 'MESSAGE'], ...rows]))
  }
  if (status.events.length > 0) {
    const rows = status.events
      .slice(-SHOWN_EVENTS)
      .map(({ type, reason, count: times, lastSeen, message }) => [
        `${age(lastSeen, now)} ago${times > 1 ? ` (x${times})` : ''}`,
        type,
        reason,
        message,
      ])
    parts.push(formatTable([['EVENT', 'TYPE', 'REASON', 'MESSAGE'], ...rows]))
  }
  if (status.problems.length > 0) {
    const rows = status.problems.map(({ where, object, message }) => [where, object ?? '', message])
    parts.push(formatTable([['PROBLEM AT', 'OBJECT', 'MESSAGE'], ...rows]))
  }
  return parts.join('\n\n')
}

export function showPods(pods: readonly PodView[], now: number): string {
  if (pods.length === 0) return 'no pods'
  return formatTable([
    ['NAMESPACE', 'NAME', 'ADDRESSES', 'DEVICE', 'ID', 'STATE', 'AGE', 'MESSAGE'],
    ...pods.map((pod) => [
      pod.namespace || '-',
      pod.name || shorten(pod.containerId),
      pod.addresses.join(','),
      pod.hostDevice,
      String(pod.endpointId),
      pod.state ?? '-',
      age(Date.parse(pod.createdAt), now),
      pod.message ?? '',
    ]),
  ])
}

function shorten(containerId: string): string {
  return containerId.length > 12 ? `${containerId.slice(0, 12)}…` : containerId
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

/** As kubectl writes ages: the two largest units. */
export function age(fromMs: number, toMs: number): string {
  const seconds = Math.max(0, Math.floor((toMs - fromMs) / 1000))
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  const days = Math.floor(hours / 24)
  if (days > 0) return `${days}d${hours % 24}h`
  if (hours > 0) return `${hours}h${minutes % 60}m`
  if (minutes > 0) return `${minutes}m${seconds % 60}s`
  return `${seconds}s`
}
