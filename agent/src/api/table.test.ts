// What a person sees of the agent's answers.
import { expect, test } from 'vitest'
import { formatTable } from './table.ts'

test('formatTable() makes columns as wide as their widest cell', () => {
  expect(
    formatTable([
      ['A', 'LONG'],
      ['long', 'b'],
    ]),
  ).toBe('A     LONG\nlong  b')
})

test('formatTable() shows what would steer a terminal instead of sending it', () => {
  const rows = [['\u001b]0;owned\u0007', '\u009b2J', 'a\nb', '\u202etxt', 'é ✓']]
  expect(formatTable(rows)).toBe(
    String.raw`\u{1b}]0;owned\u{7}  \u{9b}2J  a\u{a}b  \u{202e}txt  é ✓`,
  )
})
