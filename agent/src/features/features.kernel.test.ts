// Probing on this kernel: every feature gets an answer that its own use confirms, nothing stays behind, and each can be switched off.
import { readdirSync } from 'node:fs'
import { probeNetkit, probeTcx } from '@sinabro/libbpf-ts'
import { RouteNetlink } from '@sinabro/node-netlink'
import { expect, test } from 'vitest'
import { choosePodDevice } from './choose.ts'
import { FeatureError, Features, probeFeatures } from './features.ts'
import { FEATURE_NAMES, type FeatureName } from './table.ts'

test('probeFeatures() finds all that is required, and what it says of the others holds', async () => {
  const features = await probeFeatures()
  expect(() => features.require()).not.toThrow()
  expect(features.has('tcx')).toBe(probeTcx())
  expect(features.has('netkit')).toBe(probeNetkit())
  // As of Linux 6.6.
  expect(features.has('xdp')).toBe(probeTcx())
  // 5.2 to 5.17, so every kernel that we start on.
  for (const name of ['map_batch', 'ring_buffer', 'socket_lookup', 'loop'] as const) {
    expect(features.has(name), name).toBe(true)
  }
})

test('probeFeatures() leaves no device, descriptor or socket', async () => {
  using netlink = RouteNetlink.open()
  const { links } = netlink
  await probeFeatures()
  const before = [readdirSync('/proc/self/fd').length, (await links.list()).length]
  await probeFeatures()
  expect([readdirSync('/proc/self/fd').length, (await links.list()).length]).toEqual(before)
})

test('a feature switched off is not there, and is shown as off', async () => {
  const features = await probeFeatures(['tcx'])
  expect(features.has('tcx')).toBe(false)
  const [row] = features.view().filter(({ feature }) => feature === 'tcx')
  expect(row).toMatchObject({ present: probeTcx() ? 'off' : 'no', used: false })
})

test('view() says what is used: not what nothing uses yet, nor what a setting leaves out', () => {
  const used = (features: Features, unused: FeatureName[] = []) =>
    features.view(unused).flatMap((row) => (row.used ? [row.feature] : []))
  const all = new Features(FEATURE_NAMES)
  expect(used(all)).toContain('tcx')
  expect(used(all)).not.toContain('ring_buffer')
  expect(used(all, ['tcx'])).not.toContain('tcx')
  expect(used(new Features([]))).toEqual([])
})

test('view() says for what a feature is used on this node', () => {
  const use = (features: Features, details = {}) =>
    features.view([], details).find(({ feature }) => feature === 'xdp')?.use
  const all = new Features(FEATURE_NAMES)
  expect(use(all)).toBe('services before the stack')
  expect(use(all, { xdp: 'native on eth0' })).toBe('services before the stack: native on eth0')
})

test('require() names all that is missing, in one sentence', () => {
  const lacking = new Features(
    FEATURE_NAMES.filter((name) => name !== 'veth'),
    ['redirect_peer'],
  )
  expect(() => lacking.require()).toThrow(FeatureError)
  expect(() => lacking.require()).toThrow(
    /^this kernel \(\S+\) lacks redirect_peer, veth, which there is no other way for: use Linux 6\.1 or newer/,
  )
})

test('choosePodDevice() takes netkit where it is there, and refuses to where it is not', () => {
  const all = new Features(FEATURE_NAMES)
  const none = new Features(FEATURE_NAMES, ['netkit'])
  expect([choosePodDevice('auto', all), choosePodDevice('auto', none)]).toEqual(['netkit', 'veth'])
  expect([choosePodDevice('veth', all), choosePodDevice('netkit', all)]).toEqual(['veth', 'netkit'])
  expect(() => choosePodDevice('netkit', none)).toThrow(expect.objectContaining({ code: 'kernel' }))
})
