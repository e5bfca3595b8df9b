// The process' metrics: definitions that rooms add, read only when somebody asks; the library behind them is loaded then too.
import type { Metric, Registry } from 'prom-client'
import type { Health } from './health.ts'
import type { HistogramSample } from './histogram.ts'

export interface Sample {
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

interface Definition<Kind, Row> {
  readonly kind: Kind
  readonly name: string
  readonly help: string
  readonly labelNames?: readonly string[]
  /** The whole present state of the metric; a counter's values must not go back. */
  read(): Iterable<Row> | Promise<Iterable<Row>>
}

/** Names and units as Prometheus wants them: `sinabro_…`, base units, counters end in `_total`. */
export type MetricDefinition =
  | Definition<'gauge' | 'counter', Sample>
  | Definition<'histogram', HistogramSample>

export class Metrics {
  readonly #definitions = new Map<string, MetricDefinition>()

  add(definition: MetricDefinition): void {
    const { name } = definition
    if (this.#definitions.has(name)) throw new Error(`metric ${name}: defined twice`)
    this.#definitions.set(name, definition)
  }

  get names(): readonly string[] {
    return [...this.#definitions.keys()]
  }

  /** For the page that lists them. */
  definitions(): readonly MetricDefinition[] {
    return [...this.#definitions.values()]
  }

  /** In Prometheus' text format. One metric that cannot be read does not keep the others from being shown. */
  async text(onError: (name: string, error: unknown) => void): Promise<string> {
    // 80 ms and 13 MB that a node without Prometheus never pays.
    const { Counter, Gauge, Registry } = await import('prom-client')
    const registry = new Registry()
    for (const definition of this.#definitions.values()) {
      const { name, help, labelNames = [] } = definition
      const options = { name, help, labelNames, registers: [registry] }
      try {
        if (definition.kind === 'histogram') {
          registerHistogram(registry, definition, await definition.read())
        } else if (definition.kind === 'gauge') {
          const gauge = new Gauge(options)
          for (const { labels = {}, value } of await definition.read()) gauge.set(labels, value)
        } else {
          const counter = new Counter(options)
          for (const { labels = {}, value } of await definition.read()) counter.inc(labels, value)
        }
      } catch (error) {
        registry.removeSingleMetric(name)
        onError(name, error)
      }
    }
    return await registry.metrics()
  }
}

/** The library's own histogram counts observations; ours are counted already, so it gets what it would have made of them. */
function registerHistogram(
  registry: Registry,
  { name, help }: Pick<MetricDefinition, 'name' | 'help'>,
  samples: Iterable<HistogramSample>,
): void {
  const values = [...samples].flatMap(({ labels, buckets, count, sum }) => [
    ...[...buckets, ['+Inf', count] as const].map(([le, value]) => ({
      metricName: `${name}_bucket`,
      labels: { ...labels, le },
      value,
    })),
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ])
  const shown = { name, help, type: 'histogram', aggregator: 'sum', values }
  registry.registerMetric({ name, get: async () => shown } as unknown as Metric)
}

/** What every process says of itself. */
export function addProcessMetrics(metrics: Metrics, health: Health): void {
  metrics.add({
    kind: 'gauge',
    name: 'process_resident_memory_bytes',
    help: 'Memory of the process that is in RAM, shared pages included.',
    read: () => [{ value: process.memoryUsage.rss() }],
  })
  metrics.add({
    kind: 'counter',
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time spent.',
    read: () => {
      const { user, system } = process.cpuUsage()
      return [{ value: (user + system) / 1e6 }]
    },
  })
  metrics.add({
    kind: 'gauge',
    name: 'process_start_time_seconds',
    help: 'Start of the process, since 1970.',
    read: () => [{ value: performance.timeOrigin / 1000 }],
  })
  metrics.add({
    kind: 'counter',
    name: 'sinabro_component_failures_total',
    help: 'By component: rows that could not be written, passes that broke off and jobs that failed, since the start.',
    labelNames: ['component'],
    read: () =>
      [...health.failures()].map(([component, value]) => ({ labels: { component }, value })),
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_component_healthy',
    help: 'By component: 1 if it works, 0 if it is starting or degraded.',
    labelNames: ['component'],
    read: () =>
      health.snapshot().components.map(({ component, state }) => ({
        labels: { component },
        value: state === 'ok' ? 1 : 0,
      })),
  })
}
