// The latency from a slice's trigger time to the map: which changes count, and from when.
import { expect, test } from 'vitest'
import { createCluster } from '../cluster/cluster.ts'
import { FakeClock } from '../runtime/testing/fake-clock.ts'
import { ProgrammingLatency } from './programming-latency.ts'

const SLICE = { namespace: 'shop', name: 'web-1', service: 'web', addressType: 'IPv4' as const }

test('from the first of the changes that a write brings, and none from before the start', async () => {
  const clock = new FakeClock()
  const { endpointSlices } = createCluster()
  const startedAt = clock.now()
  const latency = new ProgrammingLatency(endpointSlices, clock)
  const hear = (triggeredAt: number): void => {
    endpointSlices.upsert({ ...SLICE, ports: [], endpoints: [], triggeredAt })
  }
  hear(startedAt - 1)
  latency.written('shop/web')
  expect(latency.histogram.samples()).toEqual([])
  hear(startedAt + 1000)
  hear(startedAt + 2000)
  await clock.advance(4000)
  latency.written('shop/other')
  latency.written('shop/web')
  latency.written('shop/web')
  expect(latency.histogram.samples()).toMatchObject([{ count: 1, sum: 3 }])
})

test('a change that led to no write does not wait for the next that does', async () => {
  const clock = new FakeClock()
  const { endpointSlices } = createCluster()
  const latency = new ProgrammingLatency(endpointSlices, clock)
  endpointSlices.upsert({ ...SLICE, ports: [], endpoints: [], triggeredAt: clock.now() })
  await clock.advance(60_000)
  latency.written('shop/web')
  expect(latency.histogram.samples()).toEqual([])
})

test.each([3_600_000, -3_600_000])(
  'a clock of the node that is set by %i ms in between changes no latency',
  async (jumpMs) => {
    const clock = new FakeClock()
    const { endpointSlices } = createCluster()
    const latency = new ProgrammingLatency(endpointSlices, clock)
    const hear = (triggeredAt: number): void => {
      endpointSlices.upsert({ ...SLICE, ports: [], endpoints: [], triggeredAt })
    }
    await clock.advance(5_000)
    hear(clock.now())
    clock.jump(jumpMs)
    await clock.advance(2_000)
    latency.written('shop/web')
    hear(clock.now())
    await clock.advance(1_000)
    latency.written('shop/web')
    expect(latency.histogram.samples()).toMatchObject([{ count: 2, sum: 3 }])
  },
)
