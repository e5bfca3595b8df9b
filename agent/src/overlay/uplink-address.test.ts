// The address that packets leave under: the route's word, else the kernel's own order of choice.
import type { Address, AddressFlag, Route } from '@sinabro/node-netlink'
import { expect, test } from 'vitest'
import { chooseAddresses, type DefaultRoute, defaultRoutesOf } from './uplink-address.ts'

function at(index: number, text: string, ...flags: AddressFlag[]): Address {
  const [address = '', length] = text.split('/')
  const family = address.includes(':') ? 6 : 4
  const scope = address.startsWith('fe80') ? 'link' : 'global'
  return { family, index, address, prefixLen: Number(length), scope, flags, unknown: [] }
}

function by(index: number, change: Partial<DefaultRoute> = {}): DefaultRoute {
  return { family: 4, index, metric: 0, isAside: false, ...change }
}

test('the first global address of the device, of each family', () => {
  const addresses = [
    at(1, '10.9.9.9/32'),
    at(2, '192.0.2.5/24'),
    at(2, '192.0.2.6/24', 'secondary'),
    at(2, '198.51.100.5/24'),
    at(2, 'fe80::5/64'),
    at(2, '2001:db8::5/64'),
  ]
  expect(chooseAddresses(2, addresses, [])).toEqual({
    source4: '192.0.2.5',
    source6: '2001:db8::5',
  })
})

test('the address on the gateway’s network comes first, the one a route names before all', () => {
  const addresses = [at(2, '192.0.2.5/24'), at(2, '198.51.100.5/24'), at(3, '203.0.113.1/32')]
  const via = by(2, { via: '198.51.100.1' })
  expect(chooseAddresses(2, addresses, [via]).source4).toBe('198.51.100.5')
  const named = by(2, { via: '198.51.100.1', prefsrc: '203.0.113.1' })
  expect(chooseAddresses(2, addresses, [named]).source4).toBe('203.0.113.1')
})

test('the best route speaks: that of the main table, then that of the lowest metric', () => {
  const addresses = [at(2, '192.0.2.5/24'), at(2, '192.0.2.6/32'), at(2, '192.0.2.7/32')]
  const routes = [
    by(2, { prefsrc: '192.0.2.5', isAside: true }),
    by(2, { prefsrc: '192.0.2.6', metric: 200 }),
    by(2, { prefsrc: '192.0.2.7', metric: 100 }),
  ]
  expect(chooseAddresses(2, addresses, routes).source4).toBe('192.0.2.7')
})

test('a source that is no address of the node any more is not used', () => {
  const route = by(2, { prefsrc: '203.0.113.1' })
  expect(chooseAddresses(2, [at(2, '192.0.2.5/24')], [route]).source4).toBe('192.0.2.5')
})

test('temporary, deprecated and unfinished addresses are passed over, and private IPv6 ones come last', () => {
  const addresses = [
    at(2, 'fd00::5/64'),
    at(2, '2001:db8::1/64', 'secondary'),
    at(2, '2001:db8::2/64', 'deprecated'),
    at(2, '2001:db8::3/64', 'tentative'),
    at(2, '2001:db8::4/64', 'dadfailed', 'permanent'),
    at(2, '2001:db8::5/64', 'tentative', 'optimistic'),
  ]
  expect(chooseAddresses(2, addresses, []).source6).toBe('2001:db8::5')
  expect(chooseAddresses(2, addresses.slice(0, 5), []).source6).toBe('fd00::5')
})

test('a device without an IPv4 address borrows one, if a route leads out by it', () => {
  const addresses = [at(3, '192.0.2.5/24'), at(1, '10.9.9.9/32')]
  expect(chooseAddresses(2, addresses, [by(2)])).toEqual({ source4: '10.9.9.9' })
  expect(chooseAddresses(2, addresses, [])).toEqual({})
})

test('a default route counts once for each of its next hops', () => {
  const route: Route = {
    ...{ dst: 'default', family: 4, table: 254, protocol: 3, scope: 'global', type: 'unicast' },
    ...{ tos: 0, onlink: false, flags: 0, unknown: [] },
  }
  expect(defaultRoutesOf({ ...route, index: 2, via: '192.0.2.1', metric: 5 })).toEqual([
    by(2, { via: '192.0.2.1', metric: 5 }),
  ])
  const nextHops = [{ index: 2, via: '192.0.2.1' }, { index: 3 }]
  expect(defaultRoutesOf({ ...route, nextHops }).map(({ index }) => index)).toEqual([2, 3])
  expect(defaultRoutesOf({ ...route, dst: '10.0.0.0/8', index: 2 })).toEqual([])
})
