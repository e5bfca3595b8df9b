// The operator's page on pods says what every code means, and knows no code that does not exist.
import { readFileSync } from 'node:fs'
import { codes } from '@sinabro/cni/wire'
import { expect, test } from 'vitest'

test('docs/pods.md lists every code once', () => {
  const page = readFileSync(new URL('../../../docs/pods.md', import.meta.url), 'utf8')
  const [, table = ''] = page.split('### Codes')
  const listed = [...table.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code))
  expect(listed).toEqual(Object.values(codes))
})
