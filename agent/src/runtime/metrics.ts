// The process' metrics: definitions that rooms add, read only when somebody asks; the library behind them is loaded then too.
import type { Health } from './health.ts'

export interface Sample {
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

/** Names and units as Prometheus wants them: `sinabro_…`, base units, counters end in `_total`. */
export interface MetricDefinition {
  readonly kind: 'gauge' | 'counter'
  readonly name: string
  readonly help: string
  readonly labelNames?: readonly string[]
  /** The whole present state of the metric; a counter's values must not go back. */
  read(): Iterable<Sample> | Promise<Iterable<Sample>>
}

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

  /** In Prometheus' text format. One metric that cannot be read does not keep the others from being shown. */
  async text(onError: (name: string, error: unknown) => void): Promise<string> {
    // 80 ms and 13 MB that a node without Prometheus never pays.
    const { Counter, Gauge, Registry } = await import('prom-client')
    const registry = new Registry()
    for (const { kind, name, help, labelNames = [], read } of this.#definitions.values()) {
      let samples: Iterable<Sample>
      try {
        samples = await read()
      } catch (error) {
        onError(name, error)
        continue
      }
      const options = { name, help, labelNames, registers: [registry] }
      if (kind === 'gauge') {
        const gauge = new Gauge(options)
        for (const { labels = {}, value } of samples) gauge.set(labels, value)
      } else {
        const counter = new Counter(options)
        for (const { labels = {}, value } of samples) counter.inc(labels, value)
      }
    }
    return await registry.metrics()
  }
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
