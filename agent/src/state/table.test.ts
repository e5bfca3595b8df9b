// A table: rows by key, frozen, changes told once and only when something changed.
import { expect, test } from 'vitest'
import { type Change, Table } from './table.ts'

interface Row {
  readonly name: string
  readonly list: readonly { readonly n: number }[]
}

function watched(): { table: Table<Row>; seen: (readonly Change<Row>[])[] } {
  const table = new Table<Row>('rows', (row) => row.name)
  const seen: (readonly Change<Row>[])[] = []
  table.subscribe((changes) => seen.push(changes))
  return { table, seen }
}

test('upsert() tells what changed, with what was there before, and nothing when nothing did', () => {
  const { table, seen } = watched()
  const first = { name: 'a', list: [{ n: 1 }] }
  const second = { name: 'a', list: [{ n: 2 }] }
  expect(table.upsert(first)).toBe(true)
  expect(table.upsert({ name: 'a', list: [{ n: 1 }] })).toBe(false)
  expect(table.upsert(second)).toBe(true)
  expect(seen).toEqual([[{ key: 'a', row: first }], [{ key: 'a', row: second, previous: first }]])
  expect(table.revision).toBe(2)
})

test('upsertAll() is one change of what differs, and takes nothing away', () => {
  const { table, seen } = watched()
  const row = (name: string, n: number): Row => ({ name, list: [{ n }] })
  expect(table.upsertAll([row('a', 1), row('b', 1)])).toBe(2)
  expect(table.upsertAll([row('a', 1), row('b', 2), row('c', 1)])).toBe(2)
  expect(table.upsertAll([row('a', 1)])).toBe(0)
  expect(seen.map((changes) => changes.map(({ key }) => key))).toEqual([
    ['a', 'b'],
    ['b', 'c'],
  ])
  expect(table.size).toBe(3)
})

test('upsert() freezes the row, all the way down', () => {
  const { table } = watched()
  const row = { name: 'a', list: [{ n: 1 }] }
  table.upsert(row)
  expect(() => Object.assign(row, { name: 'b' })).toThrow(TypeError)
  expect(() => Object.assign(row.list[0] ?? {}, { n: 2 })).toThrow(TypeError)
})

test('remove() of an absent row is no change', () => {
  const { table, seen } = watched()
  expect(table.remove('a')).toBe(false)
  expect(seen).toEqual([])
})

test('replaceAll() is one change of only what differs', () => {
  const { table, seen } = watched()
  table.replaceAll(['a', 'b', 'c'].map((name) => ({ name, list: [] })))
  seen.length = 0
  const changed = table.replaceAll([
    { name: 'd', list: [] },
    { name: 'c', list: [{ n: 3 }] },
    { name: 'a', list: [] },
  ])
  expect(changed).toBe(3)
  expect(seen).toHaveLength(1)
  expect(seen[0]?.map(({ key, row }) => [key, row !== undefined])).toEqual([
    ['b', false],
    ['d', true],
    ['c', true],
  ])
  expect(table.replaceAll(table.values())).toBe(0)
  expect(seen).toHaveLength(1)
})

test('replaceAll() refuses two rows of one key and changes nothing', () => {
  const { table } = watched()
  table.upsert({ name: 'a', list: [] })
  const twice = [
    { name: 'b', list: [] },
    { name: 'b', list: [] },
  ]
  expect(() => table.replaceAll(twice)).toThrow('two rows with the key b')
  expect(table.values()).toEqual([{ name: 'a', list: [] }])
})

test('changed() and whenReady() resolve when it is so, or reject with the signal', async () => {
  const { table } = watched()
  const stop = new AbortController()
  const changed = table.changed(0, stop.signal)
  table.upsert({ name: 'a', list: [] })
  expect(await changed).toBe(1)
  expect(await table.changed(0, stop.signal)).toBe(1)
  const never = table.changed(1, stop.signal)
  const ready = table.whenReady(stop.signal)
  table.markReady()
  await ready
  stop.abort('enough')
  await expect(never).rejects.toBe('enough')
})

test('subscribe() is told when the table becomes ready, once, and not after its end', () => {
  const { table } = watched()
  const seen: number[] = []
  const end = table.subscribe((changes) => seen.push(changes.length))
  table.markReady()
  table.markReady()
  end()
  table.upsert({ name: 'a', list: [] })
  expect(seen).toEqual([0])
})
