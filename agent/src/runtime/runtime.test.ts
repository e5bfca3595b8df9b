// Jobs, health, lifecycle, back-off, lock and log: what the process stands on.
import { mkdtempSync, rmdirSync, symlinkSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Backoff } from './backoff.ts'
import { systemClock } from './clock.ts'
import { crashPointOf } from './crash.ts'
import { Health } from './health.ts'
import { Jobs } from './jobs.ts'
import { Lifecycle } from './lifecycle.ts'
import { lockDirectory } from './lock.ts'
import { createLog, silentLog } from './log.ts'
import { addProcessMetrics, Metrics } from './metrics.ts'
import { FakeClock, settle } from './testing/fake-clock.ts'

function runtime() {
  const clock = new FakeClock()
  const health = new Health(clock)
  const backoff = { firstMs: 100, longestMs: 1_000, random: () => 0.999999 }
  const jobs = new Jobs({ log: silentLog, health, clock, backoff })
  return { clock, health, jobs }
}

test('Backoff doubles up to the longest, with jitter in the upper half, and starts anew after a reset', () => {
  const low = new Backoff({ firstMs: 100, longestMs: 1_000, random: () => 0 })
  expect([1, 2, 3, 4, 5, 6].map(() => low.nextMs())).toEqual([50, 100, 200, 400, 500, 500])
  low.reset()
  expect(low.nextMs()).toBe(50)
  const forever = new Backoff({ firstMs: 100, longestMs: 1_000 })
  for (let failure = 0; failure < 10_000; failure++) {
    expect(forever.nextMs()).toBeLessThanOrEqual(1_000)
  }
})

test('Jobs tries a failing job again after growing delays and shows it in health meanwhile', async () => {
  const { clock, health, jobs } = runtime()
  const starts: number[] = []
  jobs.start('flaky', async (_signal, alive) => {
    starts.push(clock.now())
    if (starts.length < 4) throw Object.assign(new Error('no luck'), { code: 'luck' })
    alive()
    await new Promise(() => undefined)
  })
  await settle()
  expect(health.snapshot().components).toMatchObject([
    { component: 'flaky', state: 'degraded', code: 'luck', message: 'no luck' },
  ])
  await clock.advance(10_000)
  const begin = starts[0] ?? 0
  expect(starts.map((at) => Math.round(at - begin))).toEqual([0, 100, 300, 700])
  expect(health.snapshot()).toMatchObject({ isHealthy: true })
})

test('Jobs starts a back-off anew for a job that had worked for long', async () => {
  const { clock, jobs } = runtime()
  let starts = 0
  jobs.start('long', async (signal) => {
    starts++
    if (starts > 3) await clock.sleep(5_000, signal)
    throw new Error('ended')
  })
  await clock.advance(700)
  expect(starts).toBe(4)
  await clock.advance(5_099)
  expect(starts).toBe(4)
  await clock.advance(1)
  expect(starts).toBe(5)
  await jobs.stop()
})

test('Jobs ends all jobs and takes no new ones', async () => {
  const { clock, health, jobs } = runtime()
  for (const name of ['one', 'two']) jobs.start(name, (signal) => clock.sleep(1e9, signal))
  expect(() => jobs.start('one', async () => undefined)).toThrow('already running')
  expect(await jobs.end('one')).toBe(true)
  expect(await jobs.end('one')).toBe(false)
  expect(jobs.names).toEqual(['two'])
  await jobs.stop()
  expect(jobs.names).toEqual([])
  expect(() => jobs.start('three', async () => undefined)).toThrow('stopping')
  expect(health.snapshot().components).toEqual([])
})

test('Jobs lets a job that returns be over', async () => {
  const { health, jobs } = runtime()
  jobs.start('once', async () => undefined)
  await settle()
  expect(jobs.names).toEqual([])
  expect(health.snapshot().isHealthy).toBe(true)
})

test('Health is ready when nothing is starting, and stays ready when something degrades later', async () => {
  const { health } = runtime()
  health.starting('disk')
  health.starting('net')
  const ready = health.whenReady(new AbortController().signal)
  health.degraded('disk', new Error('slow'))
  health.ok('net')
  expect(health.snapshot()).toMatchObject({ isReady: false })
  expect(health.snapshot().components[0]).toMatchObject({ state: 'starting', message: 'slow' })
  health.ok('disk')
  await ready
  health.degraded('disk', new Error('gone'))
  expect(health.snapshot()).toMatchObject({ isReady: true, isHealthy: false })
})

test('Health keeps since when a component is in its state, through changing messages', async () => {
  const { clock, health } = runtime()
  health.degraded('disk', new Error('first'))
  const since = clock.now()
  await clock.advance(5_000)
  health.degraded('disk', new Error('second'))
  expect(health.snapshot().components).toMatchObject([{ since, message: 'second' }])
})

test('Health whenReady() gives up with its signal', async () => {
  const { health } = runtime()
  health.starting('disk')
  const stop = new AbortController()
  const ready = health.whenReady(stop.signal)
  stop.abort('enough')
  await expect(ready).rejects.toBe('enough')
})

test('Lifecycle stops in reverse, goes on after a part that fails and after one that hangs', async () => {
  const clock = new FakeClock()
  const lifecycle = new Lifecycle({ log: silentLog, clock })
  const seen: string[] = []
  const note = (what: string) => () => {
    seen.push(what)
  }
  await lifecycle.begin('a', { start: note('+a'), stop: note('-a') })
  await lifecycle.begin('b', {
    start: note('+b'),
    stop: () => {
      seen.push('-b')
      throw new Error('b would not')
    },
  })
  await lifecycle.begin('c', {
    start: note('+c'),
    stop: () => new Promise(() => undefined),
    stopWithinMs: 1_000,
  })
  const stopped = lifecycle.stop()
  await clock.advance(999)
  expect(seen).toEqual(['+a', '+b', '+c'])
  await clock.advance(1)
  expect(await stopped).toBe(false)
  expect(seen).toEqual(['+a', '+b', '+c', '-b', '-a'])
})

test('Lifecycle begin() hands the part on, and a part that did not start is not stopped', async () => {
  const lifecycle = new Lifecycle({ log: silentLog, clock: systemClock })
  const stopped: string[] = []
  expect(await lifecycle.begin('a', { start: () => 'A', stop: (part) => stopped.push(part) })).toBe(
    'A',
  )
  const failing = lifecycle.begin('b', {
    start: () => Promise.reject(new Error('no')),
    stop: () => stopped.push('B'),
  })
  await expect(failing).rejects.toThrow('no')
  expect(await lifecycle.stop()).toBe(true)
  expect(stopped).toEqual(['A'])
})

test('lockDirectory() lets one in, by whatever path, and the next one after it', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sinabro-lock-'))
  const other = `${dir}-link`
  symlinkSync(dir, other)
  try {
    const lock = await lockDirectory(dir)
    await expect(lockDirectory(other)).rejects.toMatchObject({ code: 'already-running' })
    await lock.release()
    await (await lockDirectory(other)).release()
  } finally {
    unlinkSync(other)
    rmdirSync(dir)
  }
})

test('createLog() writes lines of JSON, errors with code and cause, and no secrets', () => {
  const lines: string[] = []
  const log = createLog({ level: 'info', to: { write: (line) => lines.push(line) } })
  const cause = Object.assign(new Error('inner'), { code: 'EIO' })
  const error = Object.assign(new Error('outer', { cause }), { code: 'storage' })
  log.debug('not this')
  log.warn({ error, peer: { name: 'x', privateKey: 'QUJD' }, token: 'QUJD' }, 'told')
  expect(lines).toHaveLength(1)
  const line = JSON.parse(lines[0] ?? '')
  expect(line).toMatchObject({
    level: 'warn',
    msg: 'told',
    error: { code: 'storage', message: 'outer', cause: { code: 'EIO', message: 'inner' } },
    peer: { name: 'x' },
  })
  expect(lines[0]).not.toContain('QUJD')
})

test('Metrics shows what it can read in the format of Prometheus', async () => {
  const { health } = runtime()
  health.ok('disk')
  const metrics = new Metrics()
  addProcessMetrics(metrics, health)
  metrics.add({
    kind: 'counter',
    name: 'sinabro_things_total',
    help: 'Things.',
    labelNames: ['kind'],
    read: () => [
      { labels: { kind: 'a' }, value: 3 },
      { labels: { kind: 'b' }, value: 4 },
    ],
  })
  metrics.add({
    kind: 'gauge',
    name: 'sinabro_broken',
    help: 'Cannot be read.',
    read: () => {
      throw new Error('no')
    },
  })
  const unreadable: string[] = []
  const text = await metrics.text((name) => unreadable.push(name))
  expect(text).toContain('sinabro_things_total{kind="b"} 4')
  expect(text).toContain('sinabro_component_healthy{component="disk"} 1')
  expect(text).toMatch(/^process_resident_memory_bytes \d+$/m)
  expect(unreadable).toEqual(['sinabro_broken'])
  expect(() =>
    metrics.add({ kind: 'gauge', name: 'sinabro_broken', help: '', read: () => [] }),
  ).toThrow('twice')
})

test('crashPointOf() without a plan does nothing', () => {
  expect(crashPointOf(undefined)('anything')).toBeUndefined()
})
