// What `sinabro status` and `sinabro pods` show to people.
import type { FeatureView } from '../features/features.ts'
import type { PodView, Status } from './status.ts'
import { age, count, formatTable, shorten } from './table.ts'

/** The others are in json and yaml. */
const SHOWN_EVENTS = 10

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
  if (status.features !== undefined) parts.push(showFeatures(status.features))
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

export function showFeatures(features: readonly FeatureView[]): string {
  return formatTable([
    ['FEATURE', 'PRESENT', 'USED', 'FOR', 'WITHOUT'],
    ...features.map(({ feature, present, used, use, without }) => [
      feature,
      present,
      used ? 'yes' : 'no',
      use,
      without,
    ]),
  ])
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
