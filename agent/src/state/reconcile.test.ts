// Stories of a reconciler against a target that lives in memory and a clock that the test moves.
import { expect, test } from 'vitest'
import { Health } from '../runtime/health.ts'
import { silentLog } from '../runtime/log.ts'
import { FakeClock, settle } from '../runtime/testing/fake-clock.ts'
import { Reconciler } from './reconcile.ts'
import { Table } from './table.ts'
import { FakeTarget, type Thing } from './testing/fake-target.ts'

interface Story {
  readonly desired: Table<Thing>
  readonly target: FakeTarget
  readonly clock: FakeClock
  readonly health: Health
  readonly reconciler: Reconciler<Thing, Thing>
  /** What became of each row: 'a done', 'b error 2 refused'. */
  statuses(): string[]
  stop(): Promise<void>
}

function begin(options: {
  target?: FakeTarget
  isReady?: boolean
  readyAfter?: 'no-errors'
  desired?: Table<Thing> | (() => Iterable<Thing>)
  sources?: Table<Thing>[]
}): Story {
  const table = new Table<Thing>('things', (thing) => thing.name)
  if (options.isReady ?? true) table.markReady()
  const target = options.target ?? new FakeTarget()
  const clock = new FakeClock()
  const health = new Health(clock)
  const reconciler = new Reconciler({
    target,
    desired: options.desired ?? table,
    sources: options.sources ?? [],
    log: silentLog,
    clock,
    health,
    refreshMs: 300_000,
    backoff: { firstMs: 100, longestMs: 60_000, random: () => 0.999999 },
    ...(options.readyAfter === undefined ? {} : { readyAfter: options.readyAfter }),
  })
  const stopping = new AbortController()
  const running = reconciler.run(stopping.signal)
  return {
    desired: table,
    target,
    clock,
    health,
    reconciler,
    statuses: () =>
      reconciler
        .statuses()
        .map(({ key, state, failures, message }) =>
          [key, state, failures, message].filter((part) => part !== undefined).join(' '),
        ),
    async stop() {
      stopping.abort()
      await running
    },
  }
}

test('Reconciler brings the target to the rows: adds, replaces, removes, touches nothing that is right', async () => {
  const target = new FakeTarget([
    { name: 'right', size: 1 },
    { name: 'other', size: 1 },
    { name: 'stale', size: 1 },
  ])
  const story = begin({
    target,
    desired: () => [
      { name: 'right', size: 1 },
      { name: 'other', size: 2 },
      { name: 'new', size: 1 },
    ],
  })
  await story.reconciler.settled()
  expect(target.calls).toEqual(['list', 'update other 2', 'update new 1', 'remove stale'])
  expect(story.statuses()).toEqual(['right done', 'other done', 'new done'])
  await story.stop()
})

test('Reconciler has caught up with what was known, though more comes with every row', async () => {
  const target = new FakeTarget()
  const story = begin({ target })
  await story.reconciler.settled()
  let size = 0
  const more = (): void => {
    if (size < 20) story.desired.upsert({ name: 'a', size: ++size })
  }
  const update = target.update.bind(target)
  target.update = async (row, signal) => {
    await update(row, signal)
    more()
  }
  more()
  await story.reconciler.caughtUp()
  const caughtUpAt = size
  expect(story.target.things.size).toBe(1)
  expect(caughtUpAt).toBeLessThan(5)
  await story.reconciler.settled()
  expect(size).toBe(20)
  await story.reconciler.caughtUp()
  await story.stop()
  await story.reconciler.caughtUp()
})

test('Reconciler does for one changed row what that row needs, without a list', async () => {
  const story = begin({})
  for (let index = 0; index < 100; index++) story.desired.upsert({ name: `n${index}`, size: 1 })
  await story.reconciler.settled()
  story.target.calls.length = 0
  story.desired.upsert({ name: 'n7', size: 2 })
  story.desired.remove('n8')
  await story.reconciler.settled()
  expect(story.target.calls).toEqual(['find n8', 'update n7 2', 'remove n8'])
  await story.stop()
})

test('Reconciler takes a burst of changes as one', async () => {
  const story = begin({})
  await story.reconciler.settled()
  for (let size = 1; size <= 50; size++) story.desired.upsert({ name: 'a', size })
  await story.reconciler.settled()
  expect(story.target.calls).toEqual(['list', 'update a 50'])
  await story.stop()
})

test('Reconciler applies what changed while it was working in the next pass', async () => {
  const story = begin({})
  const hold = story.target.hold('update a')
  story.desired.upsert({ name: 'a', size: 1 })
  await hold.reached
  story.desired.upsert({ name: 'a', size: 2 })
  hold.release()
  await story.reconciler.settled()
  expect(story.target.calls).toEqual(['list', 'update a 1', 'update a 2'])
  expect(story.target.things.get('a')?.size).toBe(2)
  await story.stop()
})

test('Reconciler adds before its sources are ready and prunes only afterwards', async () => {
  const target = new FakeTarget([{ name: 'left', size: 1 }])
  const sources = [
    new Table<Thing>('first', (t) => t.name),
    new Table<Thing>('second', (t) => t.name),
  ]
  const story = begin({ target, sources, desired: () => [{ name: 'new', size: 1 }] })
  await story.reconciler.settled()
  expect([...target.things.keys()]).toEqual(['left', 'new'])
  sources[0]?.markReady()
  await settle()
  expect([...target.things.keys()]).toEqual(['left', 'new'])
  sources[1]?.markReady()
  await settle()
  expect([...target.things.keys()]).toEqual(['new'])
  await story.stop()
})

test('Reconciler removes nothing that a source asks for which became ready while it listed', async () => {
  const target = new FakeTarget([
    { name: 'wanted', size: 1 },
    { name: 'stale', size: 1 },
  ])
  const source = new Table<Thing>('source', ({ name }) => name)
  const list = target.hold('list')
  const story = begin({ target, desired: () => source.values(), sources: [source] })
  await list.reached
  source.upsert({ name: 'wanted', size: 1 })
  source.markReady()
  list.release()
  await story.reconciler.settled()
  expect(target.calls).toEqual(['list', 'list', 'remove stale'])
  await story.stop()
})

test('Reconciler holds back the removal of a row that came and went before its table was ready', async () => {
  const story = begin({ isReady: false })
  story.desired.upsert({ name: 'a', size: 1 })
  await story.reconciler.settled()
  story.desired.remove('a')
  await story.reconciler.settled()
  expect([...story.target.things.keys()]).toEqual(['a'])
  story.desired.markReady()
  await settle()
  expect([...story.target.things.keys()]).toEqual([])
  expect(story.statuses()).toEqual([])
  await story.stop()
})

test('Reconciler retries a failing row with doubling delays, tells since when, and leaves the others in peace', async () => {
  const story = begin({})
  story.target.refuse('update bad')
  story.desired.upsert({ name: 'bad', size: 1 })
  story.desired.upsert({ name: 'good', size: 1 })
  await story.reconciler.settled()
  expect(story.statuses()).toEqual(['bad error 1 update bad refused', 'good done'])
  const since = story.reconciler.statuses()[0]?.since
  const attempts = (): number => story.target.calls.filter((call) => call === 'update bad 1').length
  await story.clock.advance(99)
  expect(attempts()).toBe(1)
  await story.clock.advance(1)
  expect(attempts()).toBe(2)
  await story.clock.advance(199)
  expect(attempts()).toBe(2)
  await story.clock.advance(1)
  expect(attempts()).toBe(3)
  expect(story.reconciler.statuses()[0]?.since).toBe(since)
  expect(story.health.snapshot().components).toMatchObject([
    { component: 'fake', state: 'degraded', message: 'bad: update bad refused' },
  ])
  story.target.allow('update bad')
  await story.clock.advance(400)
  expect(story.statuses()).toEqual(['bad done', 'good done'])
  expect(story.health.snapshot().isHealthy).toBe(true)
  expect(story.target.calls.filter((call) => call === 'update good 1')).toHaveLength(1)
  await story.stop()
})

test('Reconciler tries a changed row at once, however long its back-off was', async () => {
  const story = begin({})
  story.target.refuse('update bad')
  story.desired.upsert({ name: 'bad', size: 1 })
  await story.reconciler.settled()
  await story.clock.advance(10_000)
  story.target.allow('update bad')
  story.desired.upsert({ name: 'bad', size: 2 })
  await story.reconciler.settled()
  expect(story.statuses()).toEqual(['bad done'])
  await story.stop()
})

test('Reconciler retries a failing removal', async () => {
  const story = begin({ target: new FakeTarget([{ name: 'stale', size: 1 }]) })
  story.target.refuse('remove stale')
  await story.reconciler.settled()
  expect(story.statuses()).toEqual(['stale error 1 remove stale refused'])
  story.target.allow('remove stale')
  await story.clock.advance(100)
  expect(story.target.things.size).toBe(0)
  expect(story.statuses()).toEqual([])
  await story.stop()
})

test('Reconciler does not retry early because something outside moved', async () => {
  const story = begin({})
  story.target.refuse('update bad')
  story.desired.upsert({ name: 'bad', size: 1 })
  await story.reconciler.settled()
  for (let kick = 0; kick < 5; kick++) {
    story.reconciler.kick()
    await story.reconciler.settled()
  }
  expect(story.target.calls.filter((call) => call === 'update bad 1')).toHaveLength(1)
  await story.stop()
})

test('Reconciler repairs drift when kicked, and by itself after the refresh time', async () => {
  const story = begin({})
  story.desired.upsert({ name: 'a', size: 1 })
  await story.reconciler.settled()
  story.target.things.delete('a')
  story.reconciler.kick()
  await story.reconciler.settled()
  expect(story.target.things.get('a')).toEqual({ name: 'a', size: 1 })
  story.target.things.set('a', { name: 'a', size: 9 })
  story.target.things.set('foreign', { name: 'foreign', size: 9 })
  await story.clock.advance(330_000)
  expect([...story.target.things.values()]).toEqual([{ name: 'a', size: 1 }])
  await story.stop()
})

test('Reconciler refreshes although rows keep changing', async () => {
  const story = begin({})
  await story.reconciler.settled()
  story.target.things.set('drift', { name: 'drift', size: 1 })
  for (let minute = 0; minute < 6; minute++) {
    story.desired.upsert({ name: 'a', size: minute })
    await story.clock.advance(60_000)
  }
  expect(story.target.things.has('drift')).toBe(false)
  await story.stop()
})

test('Reconciler writes what changes between the parts of a refresh, mends what a part shows, and takes away what nobody asks for', async () => {
  class InParts extends FakeTarget {
    readonly between: (() => void)[] = []
    async *listInParts() {
      for (const thing of this.things.values()) {
        this.calls.push(`part ${thing.name}`)
        yield [thing]
        this.between.shift()?.()
      }
    }
  }
  const target = new InParts([{ name: 'a', size: 1 }])
  const story = begin({ target })
  for (const name of ['a', 'b', 'c']) story.desired.upsert({ name, size: 1 })
  await story.reconciler.settled()
  target.calls.length = 0
  target.things.set('b', { name: 'b', size: 9 })
  target.things.set('stranger', { name: 'stranger', size: 1 })
  target.between.push(() => story.desired.upsert({ name: 'c', size: 2 }))
  story.reconciler.kick()
  await story.reconciler.settled()
  expect(target.calls).toEqual([
    ...['part a', 'part b', 'update b 1', 'update c 2'],
    ...['part c', 'part stranger', 'remove stranger'],
  ])
  expect(target.things.get('c')?.size).toBe(2)
  await story.stop()
})

test('Reconciler prunes nothing when it could not list or compute, and tries again', async () => {
  const target = new FakeTarget([{ name: 'stale', size: 1 }])
  target.refuse('list')
  let isBroken = true
  const story = begin({
    target,
    desired: () => {
      if (isBroken) throw new Error('compute broke')
      return []
    },
  })
  await settle()
  expect(story.health.snapshot().components).toMatchObject([
    { state: 'starting', message: 'compute broke' },
  ])
  isBroken = false
  await story.clock.advance(100)
  expect(story.health.snapshot().components).toMatchObject([
    { state: 'starting', message: 'list refused' },
  ])
  expect(target.things.size).toBe(1)
  target.allow('list')
  await story.clock.advance(200)
  expect(target.things.size).toBe(0)
  expect(story.health.snapshot().isHealthy).toBe(true)
  await story.stop()
})

test('Reconciler removes first only what stands in the way', async () => {
  const target = new FakeTarget([
    { name: 'old-holder', size: 1, slot: 7 },
    { name: 'harmless', size: 1 },
  ])
  const story = begin({ target, desired: () => [{ name: 'heir', size: 1, slot: 7 }] })
  await story.reconciler.settled()
  expect(target.calls).toEqual(['list', 'remove old-holder', 'update heir 1', 'remove harmless'])
  await story.stop()
})

test('Reconciler with no rows takes away what an earlier life of the feature left', async () => {
  const story = begin({ target: new FakeTarget([{ name: 'left', size: 1 }]), desired: () => [] })
  await story.reconciler.settled()
  expect(story.target.calls).toEqual(['list', 'remove left'])
  await story.stop()
})

test('Reconciler computes again when a source changes and touches only rows that differ', async () => {
  const source = new Table<Thing>('source', (thing) => thing.name)
  source.markReady()
  const story = begin({
    sources: [source],
    desired: () => source.values().map((thing) => ({ ...thing, size: thing.size * 10 })),
  })
  source.replaceAll([
    { name: 'a', size: 1 },
    { name: 'b', size: 2 },
  ])
  await story.reconciler.settled()
  story.target.calls.length = 0
  source.upsert({ name: 'b', size: 3 })
  await story.reconciler.settled()
  expect(story.target.calls).toEqual(['update b 30'])
  await story.stop()
})

test('Reconciler is ready after its first pass, or only without errors if asked to', async () => {
  for (const readyAfter of [undefined, 'no-errors'] as const) {
    const target = new FakeTarget()
    target.refuse('update bad')
    const story = begin({
      target,
      desired: () => [{ name: 'bad', size: 1 }],
      ...(readyAfter === undefined ? {} : { readyAfter }),
    })
    await story.reconciler.settled()
    expect(story.health.snapshot()).toMatchObject({
      isReady: readyAfter === undefined,
      isHealthy: false,
    })
    await story.stop()
  }
})

test('Reconciler stops in the middle of a pass without calling anything a failure', async () => {
  const story = begin({})
  const hold = story.target.hold('update a')
  story.desired.upsert({ name: 'a', size: 1 })
  await hold.reached
  const settled = story.reconciler.settled()
  const stopped = story.stop()
  hold.release()
  await stopped
  await settled
  await story.reconciler.settled()
  expect(story.health.snapshot().components).toMatchObject([{ state: 'starting' }])
})
