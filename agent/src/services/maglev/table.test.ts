// Maglev tables: how alike backends share one, how little moves when one goes or comes, and that all nodes make the same.
import { expect, test } from 'vitest'
import { buildTable, sizeFor, TABLE_SIZES, type TableBackend } from './table.ts'

const nameOf = (n: number): string => `10.244.${n >> 8}.${n & 255}:8080`
const some = (count: number): TableBackend[] =>
  Array.from({ length: count }, (_, n) => ({ name: nameOf(n) }))

/** By entry, whose it is. */
function named(backends: readonly TableBackend[], size?: number): string[] {
  return Array.from(buildTable(backends, size), (index) => backends[index]?.name ?? '')
}

function counts(table: readonly string[]): Map<string, number> {
  const found = new Map<string, number>()
  for (const name of table) found.set(name, (found.get(name) ?? 0) + 1)
  return found
}

function isPrime(n: number): boolean {
  for (let by = 2; by * by <= n; by++) if (n % by === 0) return false
  return n > 1
}

/** Share of the entries that `one` did not give to what went, and that are another's in `other`. */
function shareMoved(one: readonly string[], other: readonly string[], gone: string): number {
  const kept = one.flatMap((name, at) => (name === gone ? [] : [other[at] === name]))
  return kept.filter((isSame) => !isSame).length / kept.length
}

test('sizes are prime, and each backend has a hundred entries as far as the largest goes', () => {
  expect(TABLE_SIZES.every(([, size]) => isPrime(size))).toBe(true)
  for (const [most, size] of TABLE_SIZES) expect(size).toBeGreaterThan(Math.min(most, 1310) * 100)
  expect([1, 3, 4, 20, 21, 300, 301, 5000].map(sizeFor)).toEqual([
    ...[2_039, 2_039, 16_381, 16_381],
    ...[65_521, 65_521, 131_071, 131_071],
  ])
})

test.each([1, 2, 3, 20, 100, 1000])('%i backends have alike', (count) => {
  const table = named(some(count))
  const each = [...counts(table).values()]
  expect(each).toHaveLength(count)
  // They take turns: nobody is more than one behind.
  expect(Math.max(...each) - Math.min(...each)).toBeLessThanOrEqual(1)
  expect(Math.max(...each) / (table.length / count)).toBeLessThan(1.01)
})

test.each([
  [3, 0.01],
  [100, 0.01],
  [1000, 0.01],
])('when 1 of %i goes, others keep all but a share of %f of theirs', (count, most) => {
  const all = some(count)
  const before = named(all)
  const moved = [0, 1, count - 1].map((at) => {
    const left = all.filter((_, n) => n !== at)
    return shareMoved(before, named(left), nameOf(at))
  })
  expect(Math.max(...moved)).toBeLessThan(most)
})

test('when one comes, it takes its share, and little else moves', () => {
  const before = named(some(100))
  const after = named(some(101))
  const changed = after.filter((name, at) => name !== before[at])
  const taken = changed.filter((name) => name === nameOf(100))
  expect(taken.length / after.length).toBeCloseTo(1 / 101, 3)
  expect((changed.length - taken.length) / after.length).toBeLessThan(0.01)
})

test('whatever order they are told in, all nodes make the same table', () => {
  const all = some(50)
  const other = all
    .toReversed()
    .toSorted((a, b) => (a.name.at(-6) ?? '').localeCompare(b.name.at(-6) ?? ''))
  expect(other).not.toEqual(all)
  expect(named(other)).toEqual(named(all))
})

test('the table of three backends stays what it is, from version to version', () => {
  // A node of another version must choose as this one does: a change here is a break.
  const head = Array.from(buildTable(some(3)).subarray(0, 24)).join('')
  expect(head).toBe('022011020211200212110011')
})

test('heavier ones have more, in proportion; who weighs nothing has nothing', () => {
  const weights = [1, 2, 5, 0]
  const table = named(weights.map((weight, n) => ({ name: nameOf(n), weight })))
  const found = counts(table)
  for (const [n, weight] of weights.entries()) {
    const share = (found.get(nameOf(n)) ?? 0) / table.length
    expect(share).toBeCloseTo(weight / 8, 2)
  }
})

test('without backends, or any that weighs something, there is no table', () => {
  expect(buildTable([])).toHaveLength(0)
  expect(buildTable([{ name: 'one', weight: 0 }])).toHaveLength(0)
})

test('of one twice, both are in it, as their names tell nobody apart', () => {
  const table = buildTable([{ name: 'one' }, { name: 'one' }])
  expect(new Set(table)).toEqual(new Set([0, 1]))
})
