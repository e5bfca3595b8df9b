// What the command line accepts.
import { expect, test } from 'vitest'
import { OptionError, parseOptions } from './options.ts'

const benches = ['cni-add', 'netlink']

test('parseOptions() runs everything seven times by default', () => {
  expect(parseOptions([], benches)).toEqual({ only: [], runs: 7, json: undefined })
})

test('parseOptions() takes several names, more runs and a file', () => {
  const args = ['--only', 'netlink', '--only', 'cni-add', '--runs', '9', '--json', '/x']
  expect(parseOptions(args, benches)).toEqual({
    only: ['netlink', 'cni-add'],
    runs: 9,
    json: '/x',
  })
})

test.each([
  [['--only', 'nothing'], '--only nothing: expected one of cni-add, netlink'],
  [['--runs', '6'], '--runs 6: expected a whole number from 7 on'],
  [['--runs', '7.5'], '--runs 7.5: expected a whole number from 7 on'],
  [['--fast'], "Unknown option '--fast'"],
])('parseOptions() refuses %j', (args, message) => {
  expect(() => parseOptions(args, benches)).toThrow(OptionError)
  expect(() => parseOptions(args, benches)).toThrow(message)
})
