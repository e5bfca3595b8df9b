// What the agent refuses before it does anything, and with which code.
import { codes } from '@sinabro/cni/wire'
import { expect, test } from 'vitest'
import { CniError } from './error.ts'
import { decodeAsked, decodeMac, decodeOwner, decodeRequest } from './request.ts'

const good = {
  cniVersion: '1.0.0',
  containerId: 'c1',
  netns: '/run/netns/c1',
  ifname: 'eth0',
  args: '',
  path: '/opt/cni/bin',
  config: { cniVersion: '1.0.0', name: 'sinabro', type: 'sinabro-cni', extra: [1] },
  sequence: { bootId: 'b', bootTimeUs: 12 },
}

test('decodeRequest() takes a whole request and keeps members of the configuration that we do not name', () => {
  expect(decodeRequest(good)).toEqual(good)
})

test.each([
  ['no object', null, codes.decodingFailure],
  ['an array', [], codes.decodingFailure],
  ['no container id', { ...good, containerId: '' }, codes.invalidEnvironment],
  ['a path as container id', { ...good, containerId: '../x' }, codes.invalidEnvironment],
  ['a container id too long', { ...good, containerId: 'a'.repeat(129) }, codes.invalidEnvironment],
  ['an empty interface name', { ...good, ifname: '' }, codes.invalidEnvironment],
  ['".." as interface name', { ...good, ifname: '..' }, codes.invalidEnvironment],
  ['a slash in the interface name', { ...good, ifname: 'a/b' }, codes.invalidEnvironment],
  ['a pattern as interface name', { ...good, ifname: 'eth%d' }, codes.invalidEnvironment],
  ['a blank in the interface name', { ...good, ifname: 'a b' }, codes.invalidEnvironment],
  ['an interface name of 16 bytes', { ...good, ifname: 'é'.repeat(8) }, codes.invalidEnvironment],
  ['a relative namespace', { ...good, netns: 'netns/x' }, codes.invalidEnvironment],
  [
    'a network name with a slash',
    { ...good, config: { ...good.config, name: 'a/b' } },
    codes.invalidConfig,
  ],
  ['no configuration', { ...good, config: undefined }, codes.decodingFailure],
  ['a sequence of another shape', { ...good, sequence: { bootId: 'b' } }, codes.decodingFailure],
  [
    'a negative time',
    { ...good, sequence: { bootId: 'b', bootTimeUs: -1 } },
    codes.decodingFailure,
  ],
])('decodeRequest() refuses %s', (_, body, code) => {
  expect(() => decodeRequest(body)).toThrow(CniError)
  try {
    decodeRequest(body)
  } catch (error) {
    expect(error).toMatchObject({ cniCode: code })
  }
})

test('decodeOwner() reads what Kubernetes puts into CNI_ARGS and leaves the rest alone', () => {
  const args = 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_UID=u;X=a=b'
  expect(decodeOwner(args)).toEqual({ podNamespace: 'default', podName: 'web-0', podUid: 'u' })
  expect(decodeOwner('')).toEqual({})
})

test('decodeAsked() reads the capability, the conventional argument and CNI_ARGS, each address once', () => {
  const config = {
    ...good.config,
    runtimeConfig: { ips: ['10.1.0.4/24', 'fd00::4'] },
    args: { cni: { ips: ['fd00::4', '10.1.0.5'] } },
  }
  expect(decodeAsked({ config, args: 'IgnoreUnknown=1;IP=10.1.0.6,fd00::6' })).toEqual([
    ...['10.1.0.4/24', 'fd00::4', '10.1.0.5', '10.1.0.6', 'fd00::6'],
  ])
  expect(decodeAsked({ config: good.config, args: 'IP=' })).toEqual([])
  expect(decodeAsked({ config: { ...good.config, args: 'x' }, args: '' })).toEqual([])
})

test('decodeAsked() refuses what is no list of text', () => {
  const config = { ...good.config, args: { cni: { ips: '10.1.0.4' } } }
  expect(() => decodeAsked({ config, args: '' })).toThrow(
    expect.objectContaining({ cniCode: codes.invalidConfig }),
  )
})

const MAC = '02:00:0a:01:00:04'

test.each([
  ['the capability', { runtimeConfig: { mac: MAC } }, ''],
  ['the conventional argument', { args: { cni: { mac: MAC } } }, ''],
  ['CNI_ARGS', {}, `IgnoreUnknown=1;MAC=${MAC}`],
  ['the capability before the others', { runtimeConfig: { mac: MAC } }, 'MAC=02:00:00:00:00:09'],
  ['what is filled in', { runtimeConfig: { mac: '' } }, `MAC=${MAC}`],
  ['other spellings', { runtimeConfig: { mac: '02-00-0A-01-00-04' } }, ''],
])('decodeMac() reads %s', (_, members, args) => {
  expect(decodeMac({ config: { ...good.config, ...members }, args })).toBe(MAC)
})

test('decodeMac() is undefined when nobody asks', () => {
  expect(decodeMac({ config: good.config, args: 'X=1' })).toBeUndefined()
})

test.each([
  ['02:00:0a:01:00'],
  ['02:00:0a:01:00:04:05'],
  ['00:00:00:00:00:00'],
  ['01:00:5e:00:00:01'],
  ['ff:ff:ff:ff:ff:ff'],
  ['x'],
  [7],
])('decodeMac() refuses %s', (mac) => {
  const config = { ...good.config, args: { cni: { mac } } }
  expect(() => decodeMac({ config, args: '' })).toThrow(
    expect.objectContaining({ cniCode: codes.invalidConfig }),
  )
})
