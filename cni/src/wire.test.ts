// The rules that executable and agent share: which removal may undo which ADD, and how queue files sort.
import { expect, test } from 'vitest'
import { mayUndo, queueFileName, type Sequence } from './wire.ts'

const [now, before] = [
  '11111111-1111-4111-8111-111111111111',
  '00000000-0000-4000-8000-000000000000',
]
const at = (bootTimeUs: number, bootId = now): Sequence => ({ bootId, bootTimeUs })

test.each([
  ['a later removal undoes', at(20), at(10), true],
  ['an earlier removal does not', at(10), at(20), false],
  ['a tie keeps the attachment', at(10), at(10), false],
  ['a removal of an earlier boot does not undo an ADD of this one', at(99, before), at(10), false],
  ['an ADD of an earlier boot always goes', at(10), at(99, before), true],
  ['both of an earlier boot: the attachment goes', at(10, before), at(99, before), true],
])('mayUndo(): %s', (_, removal, add, expected) => {
  expect(mayUndo(removal, add, now)).toBe(expected)
})

test('queueFileName() sorts by time and cannot begin with a dot', () => {
  const names = [at(9), at(10), at(1_000_000), at(12_345_678_901_234)].map((one) =>
    queueFileName(one, 7),
  )
  expect(names.toSorted()).toEqual(names)
  expect(names[0]).toBe('11111111-1111-4111-8111-111111111111-0000000000000009-7.json')
})
