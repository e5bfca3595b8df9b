// The generated rule set: its shape in text, and that nft of this machine takes it.
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { PROXY_TABLE, proxyRules, sizeOfRules } from './proxy-rules.ts'

const rules = proxyRules({ services: 2, endpointsPerService: 2 })

test('every service has an element in the map and a chain that chooses among its endpoints', () => {
  expect(rules).toContain('10.96.0.1 . tcp . 80 : goto service-0')
  expect(rules).toContain('10.96.0.2 . tcp . 80 : goto service-1')
  expect(rules).toContain(
    'numgen random mod 2 vmap { 0 : goto endpoint-1-0, 1 : goto endpoint-1-1 }',
  )
  expect(rules).toContain('meta l4proto tcp dnat to 10.254.0.4:8080')
})

test('nft takes the rules in a namespace of its own', (ctx) => {
  ctx.skip(process.getuid?.() !== 0, 'needs root: it makes a network namespace')
  const script = 'nft -f - && nft -j list ruleset'
  const listed = execFileSync('unshare', ['--net', 'sh', '-c', script], {
    input: proxyRules({ services: 100, endpointsPerService: 3 }),
    encoding: 'utf8',
  })
  expect(listed).toContain(PROXY_TABLE)
  const { chains, rules: count } = sizeOfRules(JSON.parse(listed))
  expect(chains).toBe(100 * 4 + 14)
  expect(count).toBe(100 * 8 + 20)
})
