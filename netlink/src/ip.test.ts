// Reading and writing addresses: what is taken, what is refused, and the one spelling that comes out.
import { describe, expect, test } from 'vitest'
import { ParseError } from './error.ts'
import {
  canonicalIp,
  formatMac,
  formatPrefix,
  isIp,
  networkOf,
  parseIp,
  parseIpWithPrefix,
  parseMac,
  parsePrefix,
  prefixContains,
} from './ip.ts'

describe('parseIp()', () => {
  test.each([
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['10.244.1.5', '10.244.1.5'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['FD00::0:5', 'fd00::5'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['::ffff:a00:1', '::ffff:10.0.0.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
  ])('%s is written %s', (given, canonical) => {
    expect(canonicalIp(given)).toBe(canonical)
    expect(canonicalIp(canonical)).toBe(canonical)
    expect(isIp(given)).toBe(true)
  })

  test.each([
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.',
    '.1.2.3',
    '1..2.3',
    '256.0.0.1',
    '01.2.3.4',
    '1.2.3.04',
    '0x10.0.0.1',
    '1.2.3.4 ',
    ' 1.2.3.4',
    '+1.2.3.4',
    '-1.2.3.4',
    '1e1.2.3.4',
    '1.2.3.٤',
    '1000.2.3.4',
    ':',
    ':::',
    ':1',
    '1:',
    ':1::',
    '1::2::3',
    '1:::2',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::1:2:3:4:5:6:7:8',
    '1:2:3:4::5:6:7:8',
    '12345::',
    'g::',
    'fe80::1%eth0',
    '[::1]',
    '::1/128',
    '::1.2.3',
    '::1.2.3.4:5',
    '1:2:3:4:5:6:7:1.2.3.4',
    '1.2.3.4::',
    '::256.1.1.1',
    '::ffff:01.2.3.4',
  ])('refuses %j', (text) => {
    expect(() => parseIp(text)).toThrow(ParseError)
    expect(isIp(text)).toBe(false)
  })

  test('every IPv4-shaped number comes back as it was', () => {
    for (let value = 0; value < 256; value++) {
      const text = `${value}.${255 - value}.0.${value}`
      expect(canonicalIp(text)).toBe(text)
    }
  })
})

describe('parsePrefix()', () => {
  test.each(['0.0.0.0/0', '10.244.1.0/24', '10.0.0.1/32', '::/0', 'fd00:1::/64', 'fd00::1/128'])(
    'takes %s',
    (text) => {
      expect(formatPrefix(parsePrefix(text))).toBe(text)
    },
  )

  test.each([
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10.0.0.0/255.0.0.0',
    '10.0.0.1/24',
    'fd00::/129',
    'fd00::1/64',
    '/8',
  ])('refuses %j', (text) => {
    expect(() => parsePrefix(text)).toThrow(ParseError)
  })

  test('parseIpWithPrefix() keeps the bits behind the prefix, networkOf() drops them', () => {
    const address = parseIpWithPrefix('10.244.1.5/22')
    expect(formatPrefix(address)).toBe('10.244.1.5/22')
    expect(formatPrefix(networkOf(address))).toBe('10.244.0.0/22')
  })

  test.each([
    ['10.244.0.0/22', '10.244.3.255', true],
    ['10.244.0.0/22', '10.244.4.0', false],
    ['0.0.0.0/0', '1.2.3.4', true],
    ['0.0.0.0/0', '::1', false],
    ['fd00::/63', 'fd00:0:0:1::5', true],
    ['fd00::/63', 'fd00:0:0:2::5', false],
  ])('prefixContains(%s, %s) is %s', (prefix, address, isInside) => {
    expect(prefixContains(parsePrefix(prefix), parseIp(address))).toBe(isInside)
  })
})

describe('parseMac()', () => {
  test('takes six pairs in any case and writes them in lower case', () => {
    expect(formatMac(parseMac('02:00:aB:CD:ef:09'))).toBe('02:00:ab:cd:ef:09')
  })

  test.each([
    '',
    '02:00:00:00:00',
    '02:00:00:00:00:01:',
    '02:00:00:00:00:1',
    '02-00-00-00-00-01',
    '0200.0000.0001',
    '02:00:00:00:00:0g',
    '02:00:00:00:00:001',
    ' 2:00:00:00:00:01',
  ])('refuses %j', (text) => {
    expect(() => parseMac(text)).toThrow(ParseError)
  })
})
