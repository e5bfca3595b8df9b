// The operator's page on the doctor has a row for every check.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { CHECKS } from './doctor.ts'

test.each(CHECKS.map(({ name }) => name))('docs/doctor.md says what %s finds', (name) => {
  const page = readFileSync(new URL('../../../docs/doctor.md', import.meta.url), 'utf8')
  expect(page).toContain(`\n| ${name} | `)
})
