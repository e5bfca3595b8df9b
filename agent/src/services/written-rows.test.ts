// Who waits for a row to be in the maps hears of it when that row is, and of no other.
import { expect, test } from 'vitest'
import { Table } from '../state/table.ts'
import type { ServiceRows } from './rows.ts'
import { WrittenRows } from './written-rows.ts'

const row = (key: string, address: string): ServiceRows => ({
  key,
  addresses: [address],
  ports: [],
})

test('when() waits for the row that is wanted by then, and for nothing where none is', async () => {
  const rows = new Table<ServiceRows>('rows', ({ key }) => key)
  const inMaps = new Set<ServiceRows>()
  const written = new WrittenRows(rows, (one) => inMaps.has(one))
  const write = (key: string): void => {
    const wanted = rows.get(key)
    if (wanted !== undefined) inMaps.add(wanted)
    written.tell()
  }
  const never = new AbortController().signal
  await written.when('a', never)
  rows.upsert(row('a', '10.96.0.1'))
  rows.upsert(row('b', '10.96.0.2'))
  let isDone = false
  const waiting = written.when('a', never).then(() => {
    isDone = true
  })
  write('b')
  rows.upsert(row('a', '10.96.0.3'))
  await Promise.resolve()
  expect(isDone).toBe(false)
  write('a')
  await waiting
  await written.when('a', never)

  rows.upsert(row('a', '10.96.0.4'))
  const stop = new AbortController()
  const cut = written.when('a', stop.signal)
  stop.abort(new Error('too late'))
  await expect(cut).rejects.toThrow('too late')
  const gone = written.when('a', never)
  rows.remove('a')
  await gone
})
