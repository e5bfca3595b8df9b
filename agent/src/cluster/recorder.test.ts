// What is told to the cluster: remembered once with how often, conditions with since when, sinks that fail keep nobody from hearing.
import { expect, test } from 'vitest'
import { Health } from '../runtime/health.ts'
import { silentLog } from '../runtime/log.ts'
import { FakeClock } from '../runtime/testing/fake-clock.ts'
import { announceHealth } from './announce-health.ts'
import { Recorder } from './recorder.ts'
import type { ClusterEvent, ClusterSink } from './sink.ts'

const about = { kind: 'Node', name: 'n1' } as const
const event = (message: string): ClusterEvent => ({
  type: 'Warning',
  reason: 'Bad',
  message,
  about,
})

test('the same event again is counted, and comes last', async () => {
  const clock = new FakeClock()
  const recorder = new Recorder({ clock, log: silentLog })
  const start = clock.now()
  recorder.event(event('a'))
  recorder.event(event('b'))
  await clock.advance(1000)
  recorder.event(event('a'))
  expect(recorder.events()).toEqual([
    { ...event('b'), count: 1, firstSeen: start, lastSeen: start },
    { ...event('a'), count: 2, firstSeen: start, lastSeen: start + 1000 },
  ])
  expect([...recorder.totals()]).toEqual([['Bad', 3]])
})

test('of very many events the latest hundred are remembered', () => {
  const recorder = new Recorder({ clock: new FakeClock(), log: silentLog })
  for (let index = 0; index < 250; index++) recorder.event(event(`${index}`))
  expect(recorder.events().map(({ message }) => message)).toEqual(
    Array.from({ length: 100 }, (_, index) => `${150 + index}`),
  )
  expect(recorder.totals().get('Bad')).toBe(250)
})

test('events about one kind of object are told up to a number, and then as time goes by; those about others all the same', async () => {
  const clock = new FakeClock()
  const heard: string[] = []
  const sink: ClusterSink = {
    event: ({ message }) => heard.push(message),
    condition: () => undefined,
    annotation: () => undefined,
  }
  const recorder = new Recorder({ clock, log: silentLog, to: [sink] })
  const ofService = (n: number): ClusterEvent => ({
    ...event(`${n}`),
    about: { kind: 'Service', namespace: 'shop', name: `s${n}` },
  })
  for (let n = 0; n < 10_000; n++) recorder.event(ofService(n))
  expect(heard).toHaveLength(25)
  recorder.event(event('of the node'))
  expect(heard.at(-1)).toBe('of the node')
  await clock.advance(60_000)
  for (let n = 0; n < 100; n++) recorder.event(ofService(n))
  expect(heard).toHaveLength(32)
  await clock.advance(3_600_000)
  for (let n = 0; n < 100; n++) recorder.event(ofService(n))
  expect(heard).toHaveLength(57)
  expect(recorder.totals().get('Bad')).toBe(10_201)
})

test('a condition changes its time with its status only, and is handed on when anything changed', async () => {
  const clock = new FakeClock()
  const heard: string[] = []
  const sink: ClusterSink = {
    event: () => undefined,
    condition: (c) => heard.push(c.message),
    annotation: ({ name }) => heard.push(name),
  }
  const broken: ClusterSink = {
    event: () => undefined,
    condition: () => {
      throw new Error('away')
    },
    annotation: () => undefined,
  }
  const recorder = new Recorder({ clock, log: silentLog, to: [broken, sink] })
  const start = clock.now()
  const condition = { type: 'T', status: 'True', reason: 'R', message: 'one' } as const
  recorder.condition(condition)
  await clock.advance(1000)
  recorder.condition(condition)
  recorder.condition({ ...condition, message: 'two' })
  expect(recorder.conditions()).toEqual([{ ...condition, message: 'two', since: start }])
  recorder.condition({ ...condition, status: 'False' })
  expect(recorder.conditions()[0]?.since).toBe(start + 1000)
  recorder.annotation({ name: 'of the Node', value: 'x' })
  expect(heard).toEqual(['one', 'two', 'one', 'of the Node'])
})

test('announceHealth() keeps pods away while something starts, not when something fails later', () => {
  const recorder = new Recorder({ clock: new FakeClock(), log: silentLog })
  const health = new Health(new FakeClock())
  health.starting('overlay', 'waits')
  const end = announceHealth(health, recorder)
  const say = () => recorder.conditions().map((c) => `${c.type}=${c.status} ${c.message}`)
  expect(say()).toEqual([
    'NetworkUnavailable=True overlay: waits',
    'SinabroHealthy=False overlay: waits',
  ])
  health.ok('overlay')
  expect(say()).toEqual([
    'NetworkUnavailable=False pods can be given a network',
    'SinabroHealthy=True every component works',
  ])
  health.degraded('overlay', new Error('gone'))
  expect(say()).toEqual([
    'NetworkUnavailable=False pods can be given a network',
    'SinabroHealthy=False overlay: gone',
  ])
  end()
})
