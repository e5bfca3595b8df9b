// Addresses asked for by name: given when they can be, refused with a code and without a trace when not.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../runtime/log.ts'
import { FakeClock } from '../runtime/testing/fake-clock.ts'
import type { AllocationRequest } from './allocation.ts'
import { parseAsked } from './asked.ts'
import { Ipam } from './ipam.ts'

let dir: string
let ipam: Ipam

const open = async (ranges = ['10.1.0.0/29', 'fd00:1::/64']): Promise<Ipam> => {
  const opened = await Ipam.open({ dir, clock: new FakeClock(), log: silentLog })
  opened.setRanges(ranges)
  return opened
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sinabro-asked-'))
  ipam = await open()
})
afterEach(() => {
  rmSync(dir, { recursive: true })
})

function ask(containerId: string, ...addresses: string[]): AllocationRequest {
  return { key: { network: 'n', containerId, ifname: 'eth0' }, netns: '/n', addresses }
}

const given = async (...args: Parameters<typeof ask>) =>
  (await ipam.allocate(ask(...args))).addresses

test.each([
  [['10.1.0.4'], ['10.1.0.4']],
  [['10.1.0.4/24'], ['10.1.0.4']],
  [['10.1.0.4/24', '10.1.0.4'], ['10.1.0.4']],
  [
    ['FD00:1:0::5/64', '10.1.0.4'],
    ['fd00:1::5', '10.1.0.4'],
  ],
])('parseAsked(%j) is %j', (texts, addresses) => {
  expect(parseAsked(texts)).toEqual(addresses)
})

test.each([
  [['']],
  [['10.1.0']],
  [['10.1.0.4/']],
  [['10.1.0.4/33']],
  [['10.1.0.4/24/1']],
  [['fd00::1%eth0']],
  [['web-0']],
  [['10.1.0.4', '10.1.0.5']],
  [['fd00::5', 'fd00::6']],
])('parseAsked(%j) is refused', (texts) => {
  expect(() => parseAsked(texts)).toThrow(expect.objectContaining({ code: 'address-invalid' }))
})

test('allocate() gives what is asked for, any address of the other family, and again after a restart', async () => {
  expect(await given('a', '10.1.0.5')).toEqual(['10.1.0.5', 'fd00:1::2'])
  expect(await given('b', 'fd00:1::7', '10.1.0.2')).toEqual(['10.1.0.2', 'fd00:1::7'])
  expect(await given('c', 'fd00:1::1234:5678:9abc:def0')).toEqual([
    '10.1.0.3',
    'fd00:1::1234:5678:9abc:def0',
  ])
  ipam = await open()
  expect(await given('c')).toEqual(['10.1.0.3', 'fd00:1::1234:5678:9abc:def0'])
  await expect(given('d', 'fd00:1::7')).rejects.toMatchObject({ code: 'address-taken' })
  expect(await given('d')).toEqual(['10.1.0.4', 'fd00:1::3'])
})

test('allocate() passes over what others asked for, and gives it again after its release', async () => {
  await given('a', '10.1.0.3')
  expect((await given('b'))[0]).toBe('10.1.0.2')
  expect((await given('c'))[0]).toBe('10.1.0.4')
  await ipam.release(ask('a').key)
  expect((await given('d'))[0]).toBe('10.1.0.5')
  expect((await given('e'))[0]).toBe('10.1.0.6')
  expect((await given('f'))[0]).toBe('10.1.0.3')
})

test.each([
  ['another family than the node has', 'address-outside', ['fd00:2::5']],
  ['an address of no range', 'address-outside', ['192.0.2.1']],
  ['the network address', 'address-outside', ['10.1.0.0']],
  ["the node's own", 'address-outside', ['10.1.0.1']],
  ["IPv4's last", 'address-outside', ['10.1.0.7']],
  ["the node's own of IPv6", 'address-outside', ['fd00:1::1', '10.1.0.4']],
  ['a taken one', 'address-taken', ['10.1.0.3']],
  ['one free and one taken', 'address-taken', ['10.1.0.4', 'fd00:1::3']],
])('allocate() refuses %s with %s and changes nothing', async (_, code, addresses) => {
  await ipam.allocate(ask('holder', '10.1.0.3', 'fd00:1::3'))
  const usage = ipam.usage()
  await expect(given('a', ...addresses)).rejects.toMatchObject({ code })
  expect(ipam.usage()).toEqual(usage)
  expect(readdirSync(join(dir, 'allocations'))).toHaveLength(1)
  expect(await given('b')).toEqual(['10.1.0.2', 'fd00:1::2'])
})

test('allocate() gives nothing when the other family is full, and the asked address keeps its place', async () => {
  ipam.setRanges(['fd00:1::/64', '10.1.0.0/30'])
  await given('a')
  await expect(given('b', 'fd00:1::3')).rejects.toMatchObject({ code: 'pool-exhausted' })
  await expect(given('c', 'fd00:1::3')).rejects.toMatchObject({ code: 'pool-exhausted' })
  expect(ipam.usage().map(({ used }) => used)).toEqual([1, 1])
})

test('allocate() of the same key again takes what it has, and refuses what it has not', async () => {
  await given('a', '10.1.0.5')
  expect(await given('a', '10.1.0.5')).toEqual(['10.1.0.5', 'fd00:1::2'])
  expect(await given('a')).toEqual(['10.1.0.5', 'fd00:1::2'])
  await expect(given('a', '10.1.0.4')).rejects.toMatchObject({ code: 'address-differs' })
})

test('of many at once that ask for one address, one gets it', async () => {
  const results = await Promise.allSettled(
    Array.from({ length: 8 }, (_, index) => given(`c${index}`, '10.1.0.4')),
  )
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  expect(ipam.list()).toHaveLength(1)
})

test('an address kept out of use for a damaged record is not given to who asks for it', async () => {
  await given('a', '10.1.0.5')
  const { rename, writeFile } = await import('node:fs/promises')
  const folder = join(dir, 'allocations')
  const [name = ''] = readdirSync(folder)
  await writeFile(join(folder, 'x'), 'damaged')
  await rename(join(folder, 'x'), join(folder, name))
  ipam = await open()
  await expect(given('b', '10.1.0.5')).rejects.toMatchObject({ code: 'address-taken' })
})
