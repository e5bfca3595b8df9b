// The rule set on a real kernel: what is written, repaired, removed, and what a packet sees.
import { execFileSync } from 'node:child_process'
import { netnsName } from '@sinabro/libbpf-ts/testing'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createNft } from './nft.ts'
import { MasqueradeTarget } from './target.ts'

const signal = new AbortController().signal
const rules = {
  pods: ['10.1.0.0/24', 'fd01::/64'],
  exempt: [],
  keep: ['10.1.0.0/16', 'fd01::/48'],
  tunnelPort: 8472,
}
const ns = netnsName()
const outside = `${ns}-o`
const nft = createNft(['ip', 'netns', 'exec', ns])
const target = () => new MasqueradeTarget('sb_test', nft)

const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' })

beforeEach(() => {
  for (const name of [ns, outside]) ip('netns', 'add', name)
  ip('-n', ns, 'link', 'add', 'up0', 'type', 'veth', 'peer', 'name', 'up0', 'netns', outside)
  for (const [name, last] of [
    [ns, 1],
    [outside, 2],
  ] as const) {
    ip('-n', name, 'addr', 'add', `192.0.2.${last}/24`, 'dev', 'up0')
    ip('-n', name, 'addr', 'add', `2001:db8::${last}/64`, 'dev', 'up0', 'nodad')
    for (const device of ['lo', 'up0']) ip('-n', name, 'link', 'set', device, 'up')
  }
  // The pod's addresses on lo stand for a pod: what postrouting sees is the same.
  ip('-n', ns, 'addr', 'add', '10.1.0.9/32', 'dev', 'lo')
  ip('-n', ns, 'addr', 'add', 'fd01::9/128', 'dev', 'lo', 'nodad')
})

afterEach(() => {
  for (const name of [ns, outside]) ip('netns', 'del', name)
})

test('a row written is listed as equal, once changed by somebody it is not', async () => {
  const written = target()
  expect(await written.list(signal)).toEqual([])
  await written.update(rules, signal)
  const [actual] = await written.list(signal)
  expect(actual && written.isEqual(rules, actual)).toBe(true)
  await nft(['-f', '-'], 'flush chain inet sb_test postrouting\n', signal)
  const [changed] = await written.list(signal)
  expect(changed && written.isEqual(rules, changed)).toBe(false)
})

test('remove() takes our table away, again without complaint, and leaves others', async () => {
  await nft(['-f', '-'], 'table inet foreign {}\n', signal)
  const written = target()
  await written.update(rules, signal)
  await written.remove({ text: '' }, signal)
  await written.remove({ text: '' }, signal)
  expect(await nft(['list', 'tables'], '', signal)).toBe('table inet foreign\n')
})

test('list() and update() say so when nft is missing', async () => {
  const missing = new MasqueradeTarget('sb_test', (args, script, signal) =>
    createNft(['/nonexistent/nft'])(args, script, signal),
  )
  expect(await missing.list(signal)).toEqual([])
  await expect(missing.update(rules, signal)).rejects.toMatchObject({ code: 'missing' })
})

test.each([
  ['IPv4', '10.1.0.9', '192.0.2.2'],
  ['IPv6', 'fd01::9', '2001:db8::2'],
])('%s: the outside answers a pod although it has no route back', async (_, pod, host) => {
  const ping = (): string =>
    execFileSync('ip', ['netns', 'exec', ns, 'ping', '-c5', '-i0.2', '-W1', '-I', pod, host], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  expect(ping).toThrow()
  await target().update(rules, signal)
  expect(ping()).toMatch(/[1-5] received/)
})

test('destinations in the kept ranges see the pod itself, which needs a route back', async () => {
  const ping = (): string =>
    ip('netns', 'exec', ns, 'ping', '-c5', '-i0.2', '-W1', '-I', '10.1.0.9', '192.0.2.2')
  await target().update({ ...rules, keep: [...rules.keep, '192.0.2.0/24'] }, signal)
  expect(ping).toThrow()
  ip('-n', outside, 'route', 'add', '10.1.0.9/32', 'via', '192.0.2.1')
  expect(ping()).toMatch(/[1-5] received/)
})
