// Metrics: the page that lists them says what there is, and the runtime's calls are counted by how they ended.
import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { addRoomMetrics, CniCalls, type Measured } from './measure.ts'
import { Health } from './runtime/health.ts'
import { addProcessMetrics, type MetricDefinition, Metrics } from './runtime/metrics.ts'
import { FakeClock } from './runtime/testing/fake-clock.ts'

const PAGE = new URL('../../docs/metrics.md', import.meta.url)

const HEAD = '| name | kind | labels | what |\n| --- | --- | --- | --- |\n'

/** Definitions only: nothing of the rooms is read. */
function allMetrics(): Metrics {
  const metrics = new Metrics()
  addProcessMetrics(metrics, new Health(new FakeClock()))
  addRoomMetrics(metrics, { datapath: { maps: {} } } as unknown as Measured)
  return metrics
}

function row({ name, kind, labelNames = [], help }: MetricDefinition): string {
  const labels = labelNames.map((label) => `\`${label}\``).join(', ')
  return `| \`${name}\` | ${kind} | ${labels} | ${help} |`
}

test('docs/metrics.md lists every metric as it is defined, and no other (UPDATE_GOLDEN=1 writes it)', () => {
  const wanted = allMetrics().definitions().map(row).join('\n')
  const page = readFileSync(PAGE, 'utf8')
  const [before = '', rest = ''] = page.split(HEAD)
  const after = rest.replace(/^(\|.*\n)*/, '')
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(PAGE, `${before}${HEAD}${wanted}\n${after}`)
  const listed = rest.slice(0, rest.length - after.length)
  expect(listed).toBe(`${wanted}\n`)
})

test('names and units are as Prometheus wants them', () => {
  for (const { name, kind, help } of allMetrics().definitions()) {
    expect(name).toMatch(/^(sinabro|process|kubeproxy)_[a-z_]+$/)
    expect(name.endsWith('_total'), name).toBe(kind === 'counter')
    expect(help, name).toMatch(/^[A-Z].*\.$/)
  }
})

test('CniCalls counts by verb and by the code that the runtime was told', async () => {
  const calls = new CniCalls()
  const answered = (path: string | undefined, status: number, body: unknown, tookMs: number) =>
    calls.onAnswered({ method: 'POST', path, status, body, tookMs })
  answered('/v1/cni/add', 200, {}, 3)
  answered('/v1/cni/add', 200, {}, 40)
  answered('/v1/cni/add', 500, { cniVersion: '1.0.0', code: 102, msg: 'full' }, 1)
  answered('/v1/cni/del', 500, 'odd', 60_000)
  answered('/v1/status', 200, {}, 1)
  answered(undefined, 404, {}, 1)
  const metrics = new Metrics()
  addRoomMetrics(metrics, { calls, datapath: { maps: {} } } as unknown as Measured)
  const text = await metrics.text(() => undefined)
  const lines = text.split('\n').filter((line) => line.startsWith('sinabro_cni_call'))
  expect(lines).toContain(
    'sinabro_cni_call_duration_seconds_bucket{verb="ADD",code="0",le="0.002"} 0',
  )
  expect(lines).toContain(
    'sinabro_cni_call_duration_seconds_bucket{verb="ADD",code="0",le="0.005"} 1',
  )
  expect(lines).toContain(
    'sinabro_cni_call_duration_seconds_bucket{verb="ADD",code="0",le="+Inf"} 2',
  )
  const sum = lines.find((line) => line.includes('_sum{verb="ADD",code="0"}'))
  expect(Number(sum?.split(' ')[1])).toBeCloseTo(0.043)
  expect(lines).toContain('sinabro_cni_call_duration_seconds_count{verb="ADD",code="102"} 1')
  expect(lines).toContain(
    'sinabro_cni_call_duration_seconds_bucket{verb="DEL",code="unknown",le="30"} 0',
  )
  expect(text).toContain('# TYPE sinabro_cni_call_duration_seconds histogram')
})
