// How long changes wait, and what health answers of it, whatever becomes of the wall clock.
import { afterEach, expect, test } from 'vitest'
import { FakeClock, settle } from '../runtime/testing/fake-clock.ts'
import { Table } from '../state/table.ts'
import { answerHealthz, answerLivez } from './health-answers.ts'
import type { ServiceRows } from './rows.ts'
import { WriteLag } from './write-lag.ts'

let stop: AbortController
let running: Promise<void>
afterEach(async () => {
  stop.abort(new Error('over'))
  await running.catch(() => undefined)
})

/** A writer that is done when it is told. */
async function start() {
  const clock = new FakeClock()
  const rows = new Table<ServiceRows>('Service rows', ({ key }) => key)
  let writing = Promise.withResolvers<void>()
  const lag = new WriteLag({
    ...{ rows, sources: [rows], clock, isServing: () => false },
    caughtUp: () => writing.promise,
  })
  stop = new AbortController()
  running = lag.run(stop.signal)
  rows.markReady()
  await settle()
  const write = async (): Promise<void> => {
    writing.resolve()
    writing = Promise.withResolvers()
    await settle()
  }
  const change = async (key: string): Promise<void> => {
    rows.upsert({ key, addresses: [], ports: [] })
    await settle()
  }
  const statuses = (): number[] => [
    answerHealthz(lag.now, false, clock.now()).status,
    answerLivez(lag.now, clock.now()).status,
  ]
  return { clock, lag, write, change, statuses }
}

test.each([3_600_000, -3_600_000])(
  'a wall clock that is set by %i ms makes no change late, and none that is late well',
  async (jumpMs) => {
    const { clock, lag, write, change, statuses } = await start()
    await clock.advance(1_000)
    clock.jump(jumpMs)
    expect(lag.now).toEqual({ waitingMs: 1_000 })
    await write()
    expect(lag.now).toEqual({ lastAt: clock.now() })
    await change('shop/web')
    await clock.advance(59_000)
    clock.jump(-2 * jumpMs)
    expect([lag.now.waitingMs, statuses()]).toEqual([59_000, [200, 200]])
    await clock.advance(1_000)
    clock.jump(jumpMs)
    expect([lag.now.waitingMs, statuses()]).toEqual([60_000, [503, 503]])
    await write()
    expect([lag.now, statuses()]).toEqual([{ lastAt: clock.now() }, [200, 200]])
    expect(lag.batches.samples()).toMatchObject([{ count: 2, sum: 61 }])
  },
)

test('what comes while others are written waits from when it came', async () => {
  const { clock, lag, write, change } = await start()
  await write()
  await change('shop/a')
  await clock.advance(10)
  await change('shop/b')
  await clock.advance(5)
  expect(lag.now.waitingMs).toBe(15)
  await write()
  expect(lag.now.waitingMs).toBe(5)
  await write()
  expect(lag.now).toEqual({ lastAt: clock.now() })
})
