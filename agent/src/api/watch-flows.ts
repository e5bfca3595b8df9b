// `sinabro flows --watch`: one line for each connection that begins, changes its state or way, or is gone.
import { setTimeout as sleep } from 'node:timers/promises'
import type { OutputFormat } from '../config.ts'
import { ALL_COLUMNS, flowCells } from './show-rooms.ts'
import { formatTable } from './table.ts'
import type { FlowsView, FlowView } from './views.ts'

const INTERVAL_MS = 1000
/** The agent is asked again after so many times what its last answer took. */
const REST = 4

/** As many as the agent lists: what is cut off would seem gone. */
export const WATCH_LIMIT = 100_000

export interface FlowChange {
  readonly flow: FlowView
  readonly isGone: boolean
}

/** Until the process ends. */
export async function watchFlows(
  ask: () => Promise<FlowsView>,
  output: OutputFormat,
  print: (text: string) => void,
): Promise<never> {
  let before = new Map<string, FlowView>()
  const widths: number[] = []
  for (;;) {
    const start = performance.now()
    const after = byEnds(await ask())
    const tookMs = performance.now() - start
    for (const change of changesOf(before, after)) print(formatChange(change, output, widths))
    before = after
    await sleep(Math.max(INTERVAL_MS, REST * tookMs))
  }
}

export function byEnds({ flows }: Pick<FlowsView, 'flows'>): Map<string, FlowView> {
  return new Map(
    flows.map((flow) => {
      const { protocol, source, destination } = flow
      const ends = [source, destination].map(({ address, port }) => `${address} ${port}`)
      return [`${protocol} ${ends.join(' ')}`, flow]
    }),
  )
}

/** What is new or differs in more than its times, then what is gone. */
export function changesOf(
  before: ReadonlyMap<string, FlowView>,
  after: ReadonlyMap<string, FlowView>,
): FlowChange[] {
  const changed = [...after].filter(([ends, flow]) => {
    const known = before.get(ends)
    return known === undefined || known.ageSec > flow.ageSec + 5 || cells(known) !== cells(flow)
  })
  const gone = [...before].filter(([ends]) => !after.has(ends))
  return [
    ...changed.map(([, flow]) => ({ flow, isGone: false })),
    ...gone.map(([, flow]) => ({ flow, isGone: true })),
  ]
}

function cells(flow: FlowView): string {
  return flowCells(flow, ALL_COLUMNS).join(' ')
}

/** @param widths of the columns so far; they only grow */
export function formatChange(
  { flow, isGone }: FlowChange,
  output: OutputFormat,
  widths: number[] = [],
): string {
  if (output !== 'table') return JSON.stringify({ ...flow, isGone })
  const row = flowCells(flow, ALL_COLUMNS, isGone ? 'gone' : flow.state)
  for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length)
  return formatTable([row.map((cell, at) => cell.padEnd(widths[at] ?? 0))])
}
