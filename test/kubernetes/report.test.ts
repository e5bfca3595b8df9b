// What a run says: a second try is named, a second failure counts, and nothing that ran is no success.
import { expect, test } from 'vitest'
import { Report } from './report.ts'

function told(): { report: Report; lines: string[] } {
  const lines: string[] = []
  const report = new Report((line) => lines.push(line.replace(/ {2}\d+\.\d s/, '')))
  return { report, lines }
}

test('what passes at the second try is named, with what was wrong first', async () => {
  const { report, lines } = told()
  let tries = 0
  await report.check('talks', async () => {
    if (++tries === 1) throw new Error('no answer')
    return '3 nodes'
  })
  expect(report.end()).toBe(0)
  expect(lines).toEqual([
    'again talks\n      no answer',
    'ok    talks  3 nodes',
    'flaky: talks',
    '1 passed, 0 failed',
  ])
})

test('what fails twice has failed', async () => {
  const { report, lines } = told()
  await report.check('talks', () => Promise.reject(new Error('no answer')))
  expect(report.end()).toBe(1)
  expect(lines.slice(1)).toEqual([
    'FAIL  talks\n      no answer',
    'failed: talks',
    '0 passed, 1 failed',
  ])
})

test('a run in which nothing ran is none that passed', () => {
  expect(told().report.end()).toBe(1)
})
