// The operator's page on kernels has a row for every feature, in the words that the agent says.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { describeFeature, FEATURE_NAMES } from './table.ts'

test('docs/kernels.md shows every feature once, in order, with what it is for and what is done without', () => {
  const page = readFileSync(new URL('../../../docs/kernels.md', import.meta.url), 'utf8')
  const [, table = ''] = /^FEATURE +PRESENT .*\n([^`]*)```/m.exec(page) ?? []
  const shown = table
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/))
    .map(([feature, , , use, without]) => ({ feature, use, without }))
  expect(shown).toEqual(
    FEATURE_NAMES.map((feature) => {
      const { use = 'nothing yet', without } = describeFeature(feature)
      return { feature, use, without }
    }),
  )
})
