// The captured rules: what is in them, and that nft of this machine takes them.
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { proxyRules, sizeOfRules } from './proxy-rules.ts'

test('they are those of a hundred services, most with three endpoints', () => {
  const rules = proxyRules()
  expect(rules.match(/^\tchain service-[A-Z0-9]{8}-/gm)).toHaveLength(100)
  expect(rules.match(/^\tchain endpoint-[A-Z0-9]{8}-/gm)).toHaveLength(99 * 3 + 1)
  expect(rules).toContain('comment "rules for kube-proxy"')
})

test('nft takes the rules in a namespace of its own', (ctx) => {
  ctx.skip(process.getuid?.() !== 0, 'needs root: it makes a network namespace')
  const listed = execFileSync('unshare', ['--net', 'sh', '-c', 'nft -f - && nft -j list ruleset'], {
    input: proxyRules(),
    encoding: 'utf8',
    maxBuffer: 16 << 20,
  })
  const { chains, rules } = sizeOfRules(JSON.parse(listed))
  expect(chains).toBe(proxyRules().match(/^\tchain /gm)?.length)
  expect(rules).toBeGreaterThan(700)
})
