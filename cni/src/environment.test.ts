// The environment's table against the good values; the bad ones meet the real executable in bad-input.exec.test.ts.
import { expect, test } from 'vitest'
import { checkContainerId, checkInterfaceName, parseEnvironment, quote } from './environment.ts'
import { verbs } from './verbs.ts'

test.each(['a', '0', 'A-b_c.d', 'a'.repeat(128), 'cnitool-77383ca0a0715733ca6f', 'a..b'])(
  'checkContainerId() takes %j',
  (value) => {
    expect(checkContainerId(value)).toBe(undefined)
  },
)

test.each(['e', 'eth0', 'eth0.100', 'a'.repeat(15), '...', 'net1@x', '!~', 'k8s_x-1'])(
  'checkInterfaceName() takes %j',
  (value) => {
    expect(checkInterfaceName(value)).toBe(undefined)
  },
)

test('checkInterfaceName() refuses every ASCII character that the kernel refuses, and control characters', () => {
  const taken = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code)).filter(
    (character) => checkInterfaceName(`e${character}`) === undefined,
  )
  expect(taken.join('')).toBe(
    '!"#$%&\'()*+,-.0123456789;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~',
  )
})

test('parseEnvironment() checks what is given even where it is not needed', () => {
  const env: Record<string, string> = {
    CNI_CONTAINERID: 'a',
    CNI_IFNAME: 'eth0',
    CNI_NETNS: 'relative',
  }
  expect(() => parseEnvironment(verbs.DEL, (name) => env[name])).toThrow(
    'CNI_NETNS must be an absolute path',
  )
})

test('quote() keeps messages short and on one line', () => {
  expect(quote('a\n"b"')).toBe('"a\\n\\"b\\""')
  expect(quote('x'.repeat(500))).toHaveLength(82)
})
