// What `sinabro services`, `services explain` and `backends` show to people.
import { showEnd } from './show-rooms.ts'
import { count, formatTable } from './table.ts'
import type {
  BackendsView,
  BackendView,
  ExplanationView,
  Forwarding,
  ServicePortView,
  ServicesView,
  ServiceView,
} from './views.ts'

/** Of one port; `sinabro services NAME` and json have all. */
const MOST_SHOWN = 3

/** `isOne`: each backend on its own line. */
export function showServices({ services }: ServicesView, isOne: boolean): string {
  if (services.length === 0) return 'no Services'
  if (isOne) return services.map(showService).join('\n\n')
  const rows = services.flatMap((service) =>
    service.ports.map((port) => [
      service.name,
      service.type ?? '-',
      frontendsOf(port),
      port.name === '' ? port.protocol : `${port.name}/${port.protocol}`,
      shortList(port.internal),
      port.external === undefined ? 'same' : shortList(port.external),
      rulesOf(port),
    ]),
  )
  const columns = ['NAME', 'TYPE', 'ADDRESSES', 'PORT', 'FROM INSIDE', 'FROM OUTSIDE', 'RULES']
  const faults = services.flatMap(({ name, problems }) => problems.map((one) => [name, one]))
  const table = formatTable([columns, ...rows])
  return faults.length === 0
    ? table
    : `${table}\n\n${formatTable([['SERVICE', 'PROBLEM'], ...faults])}`
}

function showService({ name, type, ports, healthCheckNodePort, problems }: ServiceView): string {
  const facts = [
    ['service', name],
    ...(type === undefined ? [] : [['type', type]]),
    ...(healthCheckNodePort === undefined ? [] : [['health check', String(healthCheckNodePort)]]),
    ...problems.map((one) => ['problem', one]),
  ]
  const tables = ports.map((port) => {
    const head = formatTable([
      ['port', port.name === '' ? port.protocol : `${port.name}/${port.protocol}`],
      ['addresses', frontendsOf(port)],
      ...(rulesOf(port) === '-' ? [] : [['rules', rulesOf(port)]]),
    ])
    const external = new Set((port.external ?? port.internal).map(showBackend))
    const internal = new Set(port.internal.map(showBackend))
    const all = new Map(
      [...port.internal, ...(port.external ?? [])].map((b) => [showBackend(b), b]),
    )
    if (all.size === 0) return `${head}\nno backends: connections are refused`
    const rows = [...all].map(([text, { nodeName, isTerminating }]) => [
      text,
      nodeName ?? '-',
      internal.has(text) ? 'yes' : 'no',
      external.has(text) ? 'yes' : 'no',
      isTerminating ? 'terminating' : 'ready',
    ])
    const columns = ['BACKEND', 'NODE', 'FROM INSIDE', 'FROM OUTSIDE', 'STATE']
    return `${head}\n${formatTable([columns, ...rows])}`
  })
  return [formatTable(facts), ...tables].join('\n\n')
}

export function showBackends({ backends, matched }: BackendsView): string {
  if (backends.length === 0) return 'no backends'
  const table = formatTable([
    ['ID', 'BACKEND', 'PROTOCOL', 'NODE', 'STATE', 'SERVICES'],
    ...backends.map((one) => [
      String(one.id),
      showEnd(one),
      one.protocol,
      one.nodeName ?? '-',
      one.isTerminating ? 'terminating' : 'ready',
      one.services.join(', ') || '-',
    ]),
  ])
  const foot =
    matched > backends.length
      ? `${backends.length} of ${count(matched, 'backend')} shown; --limit shows more`
      : count(matched, 'backend')
  return `${table}\n\n${foot}`
}

const OUTCOMES: Readonly<Record<ExplanationView['outcome'], string>> = {
  chosen: 'goes to',
  refused: 'is refused',
  dropped: 'is dropped',
  none: 'is left as it is',
}

const FORWARDED: Readonly<Record<Forwarding, string>> = {
  kept: 'as it is',
  dsr: 'as it is, answers itself (dsr)',
  snat: "in this node's name (snat)",
}

export function showExplanation(view: ExplanationView): string {
  const { address, port, protocol, from, outcome, why, frontend, list } = view
  const caller =
    from.kind === 'pod'
      ? `pod ${showEnd({ address: from.address ?? '', port: 0, ...(from.pod === undefined ? {} : { pod: from.pod }) })}`
      : from.kind === 'node'
        ? 'a process of this node'
        : `outside, ${from.address}`
  const parts = [
    formatTable([
      ['asked', `${showEnd({ address, port })}, ${protocol}`],
      ['from', caller],
      ...(view.service === undefined
        ? []
        : [['service', `${view.service}${view.portName ? `, port ${view.portName}` : ''}`]]),
      ...(frontend === undefined ? [] : [['as', `${frontend.kind} ${showEnd(frontend)}`]]),
      ...(list === undefined ? [] : [['list', list]]),
      [
        'outcome',
        `a new connection ${OUTCOMES[outcome]}${outcome === 'chosen' ? ' ' : ': '}${why}`,
      ],
    ]),
  ]
  if (view.backends.length > 0) {
    const isForwarded = view.backends.some(({ forwarding }) => forwarding !== undefined)
    const rows = view.backends.map((one) => [
      showEnd(one),
      one.nodeName ?? '-',
      `${Math.round(one.chance * 1000) / 10} %`,
      ...(isForwarded ? [one.forwarding === undefined ? '-' : FORWARDED[one.forwarding]] : []),
      [one.isKept ? 'kept' : '', one.isTerminating ? 'terminating' : ''].filter(Boolean).join(', '),
    ])
    const head = ['BACKEND', 'NODE', 'CHANCE', ...(isForwarded ? ['FORWARDED'] : []), '']
    parts.push(formatTable([head, ...rows]))
  }
  if (view.others.length > 0) {
    const rows = view.others.map((one) => [showEnd(one), one.nodeName ?? '-', one.why])
    parts.push(formatTable([['NOT ASKED', 'NODE', 'BECAUSE IT'], ...rows]))
  }
  return parts.join('\n\n')
}

function frontendsOf({ frontends }: ServicePortView): string {
  return frontends
    .map(({ kind, address, port }) => {
      const isAny = address === '0.0.0.0' || address === '::'
      const place = isAny
        ? `${address === '::' ? '[::]' : '*'}:${port}`
        : showEnd({ address, port })
      return kind === 'ClusterIP' ? place : `${place} (${kind})`
    })
    .join(', ')
}

function rulesOf({
  internalTrafficPolicy,
  externalTrafficPolicy,
  affinitySec,
  sourceRanges,
}: ServicePortView): string {
  const rules = [
    ...(internalTrafficPolicy === 'Local' ? ['inside Local'] : []),
    ...(externalTrafficPolicy === 'Local' ? ['outside Local'] : []),
    ...(affinitySec === undefined ? [] : [`affinity ${affinitySec}s`]),
    ...(sourceRanges === undefined ? [] : [`from ${sourceRanges.join(' ') || 'nobody'}`]),
  ]
  return rules.join(', ') || '-'
}

function shortList(backends: readonly BackendView[]): string {
  if (backends.length === 0) return 'none'
  const shown = backends.slice(0, MOST_SHOWN).map(({ address, port }) => showEnd({ address, port }))
  const left = backends.length - shown.length
  return `${shown.join(' ')}${left > 0 ? ` and ${left} more` : ''}`
}

function showBackend(backend: BackendView): string {
  return showEnd(backend)
}
