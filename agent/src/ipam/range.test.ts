// Ranges of every size that a node may have: first and last address, what is never given, what may be asked for.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { silentLog } from '../runtime/log.ts'
import { FakeClock } from '../runtime/testing/fake-clock.ts'
import { Ipam } from './ipam.ts'
import { Pool } from './pool.ts'
import { addressAt, canAsk, canGive, capacityOf, nodeAddressOf, parseRange } from './range.ts'

test.each([
  ['10.0.0.0/30', 1, '10.0.0.2', '10.0.0.2'],
  ['10.0.0.8/29', 5, '10.0.0.10', '10.0.0.14'],
  ['10.244.1.0/24', 253, '10.244.1.2', '10.244.1.254'],
  ['10.244.0.0/17', 32_765, '10.244.0.2', '10.244.127.254'],
  ['10.244.0.0/16', 65_533, '10.244.0.2', '10.244.255.254'],
  ['fd00::100/120', 254, 'fd00::102', 'fd00::1ff'],
  ['fd00::/112', 65_534, 'fd00::2', 'fd00::ffff'],
  ['fd00:1::/64', 65_534, 'fd00:1::2', 'fd00:1::ffff'],
  ['2001:db8:7::/48', 65_534, '2001:db8:7::2', '2001:db8:7::ffff'],
])('%s gives %i addresses, %s to %s', (text, capacity, first, last) => {
  const range = parseRange(text)
  expect(capacityOf(range)).toBe(capacity)
  expect(addressAt(range, range.firstOffset)).toBe(first)
  expect(addressAt(range, range.lastOffset)).toBe(last)
  for (const address of [addressAt(range, 0), nodeAddressOf(range)]) {
    expect(canGive(range, address)).toBe(false)
    expect(canAsk(range, address)).toBe(false)
  }
})

test.each([
  ...[28, 27, 26, 25].map((length) => `10.0.0.0/${length}`),
  ...[23, 20, 18].map((length) => `10.0.0.0/${length}`),
  ...[56, 72, 96, 119].map((length) => `fd00::/${length}`),
])('%s can be used', (text) => {
  expect(parseRange(text).text).toBe(text)
})

test('canAsk() reaches the whole of a large range, without the reserved and the foreign', () => {
  const wide = parseRange('fd00:1::/64')
  expect(canAsk(wide, 'fd00:1::ffff:ffff:ffff:ffff')).toBe(true)
  expect(canGive(wide, 'fd00:1::1:0')).toBe(false)
  expect(canAsk(wide, 'fd00:1:0:1::2')).toBe(false)
  expect(canAsk(wide, '10.0.0.2')).toBe(false)
  const narrow = parseRange('10.0.0.0/30')
  expect(canAsk(narrow, '10.0.0.2')).toBe(true)
  expect(canAsk(narrow, '10.0.0.3')).toBe(false)
  expect(canAsk(narrow, '10.0.0.4')).toBe(false)
})

test.each(['10.0.0.0/30', '10.0.0.0/28', 'fd00::/120', '10.0.0.0/16', 'fd00::/48'])(
  'a pool of %s gives each address once, then what was given back longest ago',
  (text) => {
    const pool = new Pool(parseRange(text), [], [])
    const given: string[] = []
    for (let address = pool.take(); address !== undefined; address = pool.take()) {
      given.push(address)
    }
    expect(new Set(given).size).toBe(pool.capacity)
    const [first = '', ...others] = given
    const back = [...others.slice(-3), first]
    for (const address of back) pool.release(address)
    expect(back.map(() => pool.take())).toEqual(back)
    expect(pool.take()).toBeUndefined()
  },
)

test('the largest ranges of both families give and remember without being walked', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sinabro-range-'))
  try {
    const open = async (): Promise<Ipam> => {
      const ipam = await Ipam.open({ dir, clock: new FakeClock(), log: silentLog })
      ipam.setRanges(['10.244.0.0/16', 'fd00:1::/48'])
      return ipam
    }
    const request = (containerId: string) => ({
      key: { network: 'n', containerId, ifname: 'eth0' },
      netns: '/n',
    })
    const before = await open()
    await before.allocate(request('a'))
    await before.release(request('a').key)
    const { addresses } = await (await open()).allocate(request('b'))
    expect(addresses).toEqual(['10.244.0.3', 'fd00:1::3'])
  } finally {
    rmSync(dir, { recursive: true })
  }
})
