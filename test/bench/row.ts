// What a benchmark says: one row per metric, ours beside the peer of the same run.

export interface BenchRow {
  readonly bench: string
  readonly metric: string
  readonly unit: string
  /** Median of the runs. */
  readonly ours: number
  readonly peer: number | null
  readonly peerName: string | null
  /** ours / peer, as the median of the pairs. */
  readonly ratio: number | null
  readonly better: 'lower' | 'higher'
  /** How many interleaved pairs of runs stand behind the medians. */
  readonly runs: number
}

/** One measurement of each side per run, taken in turn; `measure` gives the same metrics each time. */
export interface Side {
  readonly name: string
  measure(): Promise<Readonly<Record<string, number>>>
}

export interface MetricInfo {
  readonly unit: string
  readonly better: 'lower' | 'higher'
}

/**
 * Runs ours and the peer alternately, `runs` times each after one warm-up, the first of a pair changing from pair to pair, so
 * that a machine whose speed drifts moves both sides alike.
 */
export async function compare(
  bench: string,
  metrics: Readonly<Record<string, MetricInfo>>,
  sides: { readonly ours: Side; readonly peer?: Side },
  runs: number,
): Promise<BenchRow[]> {
  const ours: Readonly<Record<string, number>>[] = []
  const peer: Readonly<Record<string, number>>[] = []
  for (let run = -1; run < runs; run++) {
    const order = run % 2 === 0 ? (['ours', 'peer'] as const) : (['peer', 'ours'] as const)
    for (const which of order) {
      const figures = await sides[which]?.measure()
      if (run >= 0 && figures !== undefined) (which === 'ours' ? ours : peer).push(figures)
    }
  }
  return Object.entries(metrics).map(([metric, { unit, better }]) => {
    const a = ours.map((one) => figure(one, metric))
    const b = peer.map((one) => figure(one, metric))
    const ratios = a.map((value, i) => value / (b[i] ?? Number.NaN)).filter(Number.isFinite)
    return {
      bench,
      metric,
      unit,
      ours: median(a),
      peer: b.length === 0 ? null : median(b),
      peerName: sides.peer?.name ?? null,
      ratio: ratios.length === 0 ? null : median(ratios),
      better,
      runs,
    }
  })
}

export function median(values: readonly number[]): number {
  return percentile(values, 50)
}

/** Linear between the two nearest ranks. @throws RangeError on no values */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const at = ((sorted.length - 1) * percent) / 100
  const low = sorted[Math.floor(at)]
  const high = sorted[Math.ceil(at)]
  if (low === undefined || high === undefined) throw new RangeError('no values')
  return low + (high - low) * (at - Math.floor(at))
}

function figure(figures: Readonly<Record<string, number>>, metric: string): number {
  const value = figures[metric]
  if (value === undefined) throw new Error(`no figure for ${metric}`)
  return value
}

export function formatRows(rows: readonly BenchRow[]): string {
  const cells = rows.map((row) => [
    row.bench,
    row.metric,
    `${short(row.ours)} ${row.unit}`,
    row.peer === null ? '–' : `${short(row.peer)} ${row.unit}`,
    row.peerName ?? '–',
    row.ratio === null ? '–' : `${row.ratio.toFixed(2)}×`,
    row.better,
    String(row.runs),
  ])
  const table = [
    ['bench', 'metric', 'ours', 'peer', 'peer is', 'ratio', 'better', 'runs'],
    ...cells,
  ]
  const widths =
    table[0]?.map((_, column) => Math.max(...table.map((row) => (row[column] ?? '').length))) ?? []
  return table
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}
