// Durations by label, counted in fixed buckets: what a histogram metric reads.

export interface HistogramSample {
  readonly labels: Readonly<Record<string, string>>
  /** Upper bound in seconds and how many were at most that: cumulative, without the infinite one. */
  readonly buckets: readonly (readonly [number, number])[]
  readonly count: number
  readonly sum: number
}

interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly counts: number[]
  count: number
  sum: number
}

/** From half a millisecond to half a minute: calls between processes of one machine. */
export const CALL_BUCKETS_SEC = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2, 10, 30]

export class Histogram {
  readonly #bounds: readonly number[]
  readonly #series = new Map<string, Series>()

  constructor(boundsSec: readonly number[] = CALL_BUCKETS_SEC) {
    this.#bounds = boundsSec
  }

  /** Labels come from a fixed set of words, never from callers. */
  observe(labels: Readonly<Record<string, string>>, valueSec: number): void {
    const key = JSON.stringify(labels)
    let series = this.#series.get(key)
    if (series === undefined) {
      series = { labels, counts: this.#bounds.map(() => 0), count: 0, sum: 0 }
      this.#series.set(key, series)
    }
    const bucket = this.#bounds.findIndex((bound) => valueSec <= bound)
    if (bucket >= 0) series.counts[bucket] = (series.counts[bucket] ?? 0) + 1
    series.count++
    series.sum += valueSec
  }

  samples(): HistogramSample[] {
    return [...this.#series.values()].map(({ labels, counts, count, sum }) => {
      let below = 0
      const buckets = this.#bounds.map((bound, index): [number, number] => {
        below += counts[index] ?? 0
        return [bound, below]
      })
      return { labels, buckets, count, sum }
    })
  }
}
