// What the pure parts of test:vm say: the verifier table against what was loaded, the judgement of a run, missing programs.
import { expect, test } from 'vitest'
import { OBJECTS } from '../../bpf/src/objects.ts'
import type { TestResult } from './guest/run-files.ts'
import { KERNELS } from './kernels.ts'
import { missingPrograms } from './programs.ts'
import { judge, type SuiteRun } from './report.ts'
import { differences, formatTable, readTable, updateTable } from './verifier.ts'

const table = { 'from_pod/sb_from_pod': { '6.1': { instructions: 1000, loadMs: 40 } } }
const one = { object: 'from_pod', program: 'sb_from_pod', instructions: 1000, loadMs: 55 }

test('the table in the tree has every object on every kernel, and is written as we write it', () => {
  const kept = readTable()
  for (const object of OBJECTS) {
    const rows = Object.entries(kept).filter(([name]) => name.startsWith(`${object}/`))
    expect(rows.length, object).toBeGreaterThan(0)
    for (const [name, row] of rows) {
      expect(Object.keys(row).sort(), name).toEqual(KERNELS.map((kernel) => kernel.name).sort())
    }
  }
  expect(JSON.parse(formatTable(kept))).toEqual(kept)
})

test.each([
  ['the same', [one], []],
  ['within the tolerance', [{ ...one, instructions: 1020 }], []],
  [
    'more',
    [{ ...one, instructions: 1021 }],
    ['from_pod/sb_from_pod: 1021 instructions, the table has 1000 (2.1 %)'],
  ],
  [
    'fewer',
    [{ ...one, instructions: 900 }],
    ['from_pod/sb_from_pod: 900 instructions, the table has 1000 (-10.0 %)'],
  ],
  ['none', [], ['from_pod/sb_from_pod was not loaded']],
  ['a new one', [one, { ...one, program: 'sb_new' }], ['from_pod/sb_new is not in the table']],
])('differences(): %s', (_, loaded, lines) => {
  expect(differences(table, '6.1', loaded)).toEqual(lines)
})

test('updateTable() keeps the load time of what did not change, and other kernels', () => {
  const two = updateTable(table, { kernel: '6.12', loaded: [{ ...one, instructions: 900 }] })
  expect(two).toEqual({
    'from_pod/sb_from_pod': {
      '6.1': { instructions: 1000, loadMs: 40 },
      '6.12': { instructions: 900, loadMs: 55 },
    },
  })
  expect(updateTable(two, { kernel: '6.1', loaded: [one] })).toEqual(two)
  expect(updateTable(two, { kernel: '6.1', loaded: undefined })).toEqual(two)
  expect(updateTable(table, { kernel: '6.1', loaded: [] })).toEqual({})
})

function run(suite: string, ...results: Partial<TestResult>[]): SuiteRun {
  const whole = results.map((result) => ({
    ...{ file: 'x.test.ts', name: 'does', state: 'passed' as const, ms: 1 },
    ...result,
  }))
  return { kernel: '6.1', suite, results: whole, seconds: 3 }
}

test('judge() counts, names failures, and gives the reasons of skips', () => {
  const skipped = { state: 'skipped', note: 'no x' } as const
  const runs = [
    run('one', {}, { state: 'failed', note: 'why it failed' }, skipped, skipped),
    { ...run('two', { note: 'second try; first: late' }), problem: 'its process ended with 139' },
  ]
  const { lines, passed, failed } = judge(runs, true)
  expect({ passed, failed }).toEqual({ passed: 2, failed: 2 })
  expect(lines.slice(0, 3)).toEqual([
    'FAIL 6.1 one: x.test.ts › does',
    'FAIL 6.1 two: its process ended with 139',
    'flaky 6.1 two: x.test.ts › does',
  ])
  expect(lines.join('\n')).toMatch(/^6\.1 +one +1 +1 +2 +3 +no x \(2\)$/m)
})

test('a skip without a reason fails the run', () => {
  const runs = [run('one', {}, { state: 'skipped' })]
  expect(judge(runs, false)).toMatchObject({ passed: 1, failed: 1 })
})

test('a suite that is skipped everywhere fails a whole run, and no other', () => {
  const runs = [run('one', { state: 'skipped', note: 'no x' }), run('two', {})]
  expect(judge(runs, true)).toMatchObject({ passed: 1, failed: 1 })
  expect(judge(runs, true).lines).toContain('FAIL one: skipped everywhere')
  expect(judge(runs, false)).toMatchObject({ passed: 1, failed: 0 })
})

test('programs that are missing are named with their packages', () => {
  expect(missingPrograms('/nowhere')).toEqual([
    expect.stringMatching(/^not found: qemu-system-x86_64, .*apt-get install .*qemu-system-x86 /),
  ])
})
