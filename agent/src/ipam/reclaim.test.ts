// Reclaiming: what one look may conclude, two looks a grace time apart, and everything that makes it start again.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { silentLog } from '../runtime/log.ts'
import { FakeClock } from '../runtime/testing/fake-clock.ts'
import { type Allocation, hostDeviceOf, keyText, type Sequence } from './allocation.ts'
import { readBootTimeUs } from './era.ts'
import { lookAtNamespace, looksGone, type NamespaceState, Reclaim } from './reclaim.ts'

const now = { bootId: 'this-boot', hostCookie: '1' }
const GRACE_MS = 60_000

function allocation(containerId: string, era = now, incarnation = 1): Allocation {
  const key = { network: 'n', containerId, ifname: 'eth0' }
  return {
    key,
    netns: `/run/netns/${containerId}`,
    addresses: ['10.1.0.2'],
    endpointId: 1,
    incarnation,
    hostDevice: hostDeviceOf(key),
    createdAt: '',
    era,
  }
}

let clock: FakeClock
let held: Allocation[]
let devices: Set<string>
let namespaces: Record<string, NamespaceState>
let removals: [string, Sequence][]
let isOvertaken: boolean
let bootTimeUs: number
let reclaim: Reclaim

beforeEach(() => {
  clock = new FakeClock()
  held = [allocation('a')]
  devices = new Set()
  namespaces = { '/run/netns/a': 'gone' }
  removals = []
  isOvertaken = false
  bootTimeUs = 1_000
  reclaim = new Reclaim({
    ipam: { list: () => held },
    era: now,
    clock,
    log: silentLog,
    devices: async () => devices,
    namespace: (path) => namespaces[path] ?? 'unknown',
    bootTimeUs: () => bootTimeUs,
    remove: async (key, sequence) => {
      removals.push([keyText(key), sequence])
      if (!isOvertaken) held = held.filter((one) => keyText(one.key) !== keyText(key))
      return !isOvertaken
    },
    graceMs: GRACE_MS,
  })
})

const states: readonly NamespaceState[] = ['there', 'gone', 'folder-gone', 'unknown']
const otherBoot = { ...now, bootId: 'earlier' }
const otherHost = { ...now, hostCookie: '7' }

test('looksGone() needs the device gone and the namespace certainly gone', () => {
  for (const namespace of states) {
    const isGone = (era: typeof now) =>
      looksGone(allocation('a', era), now, { isDeviceThere: false, namespace })
    expect(isGone(now), namespace).toBe(namespace === 'gone')
    for (const era of [otherBoot, otherHost]) {
      expect(isGone(era), namespace).toBe(namespace === 'gone' || namespace === 'folder-gone')
    }
    const sight = { isDeviceThere: true, namespace }
    expect(looksGone(allocation('a', otherBoot), now, sight)).toBe(false)
  }
})

test('looksGone() takes a record that does not say its boot for one of this boot', () => {
  const { era: _, ...old } = allocation('a')
  expect(looksGone(old, now, { isDeviceThere: false, namespace: 'folder-gone' })).toBe(false)
})

test('one look reclaims nothing, nor do two within the grace time; a later one does, as of the first', async () => {
  await reclaim.look()
  await clock.advance(GRACE_MS - 1)
  bootTimeUs = 2_000
  await reclaim.look()
  expect(removals).toEqual([])
  await clock.advance(1)
  await reclaim.look()
  expect(removals).toEqual([['n/a/eth0', { bootId: 'this-boot', bootTimeUs: 1_000 }]])
  await reclaim.look()
  expect(removals).toHaveLength(1)
})

test.each<[string, () => void, () => void]>([
  ['its device', () => devices.add(allocation('a').hostDevice), () => devices.clear()],
  [
    'its namespace',
    () => {
      namespaces['/run/netns/a'] = 'there'
    },
    () => {
      namespaces['/run/netns/a'] = 'gone'
    },
  ],
  [
    'nothing at all',
    () => {
      namespaces['/run/netns/a'] = 'unknown'
    },
    () => {
      namespaces['/run/netns/a'] = 'gone'
    },
  ],
  [
    'another owner',
    () => {
      held = [allocation('a', now, 2)]
    },
    () => undefined,
  ],
])('a look that sees %s starts the time again', async (_, come, go) => {
  await reclaim.look()
  come()
  await clock.advance(GRACE_MS)
  await reclaim.look()
  go()
  await reclaim.look()
  await clock.advance(GRACE_MS / 2)
  await reclaim.look()
  expect(removals).toEqual([])
  await clock.advance(GRACE_MS)
  await reclaim.look()
  expect(removals).toHaveLength(1)
})

test('devices that cannot be listed reclaim nothing', async () => {
  await reclaim.look()
  await clock.advance(GRACE_MS)
  const broken = new Error('no netlink')
  const failing = new Reclaim({
    ipam: { list: () => held },
    era: now,
    clock,
    log: silentLog,
    devices: () => Promise.reject(broken),
    namespace: () => 'gone',
    bootTimeUs: () => 0,
    remove: () => Promise.reject(new Error('removed')),
    graceMs: 0,
  })
  await expect(failing.look()).rejects.toBe(broken)
})

test('an ADD that began later keeps its attachment, and the time starts again', async () => {
  isOvertaken = true
  await reclaim.look()
  await clock.advance(GRACE_MS)
  await reclaim.look()
  expect(removals).toHaveLength(1)
  await reclaim.look()
  await clock.advance(GRACE_MS - 1)
  await reclaim.look()
  expect(removals).toHaveLength(1)
  expect(held).toHaveLength(1)
})

test('lookAtNamespace() tells namespaces from what is left of them and from what it cannot see', () => {
  const dir = mkdtempSync(join(tmpdir(), 'sinabro-reclaim-'))
  try {
    writeFileSync(join(dir, 'left'), '')
    symlinkSync('loop', join(dir, 'loop'))
    mkdirSync(join(dir, 'folder'))
    expect(lookAtNamespace('/proc/self/ns/net')).toBe('there')
    expect(lookAtNamespace(join(dir, 'left'))).toBe('gone')
    expect(lookAtNamespace(join(dir, 'none'))).toBe('gone')
    expect(lookAtNamespace(join(dir, 'none/none'))).toBe('folder-gone')
    expect(lookAtNamespace(join(dir, 'loop'))).toBe('unknown')
    expect(lookAtNamespace(join(dir, 'left/x'))).toBe('unknown')
    expect(lookAtNamespace('')).toBe('unknown')
  } finally {
    rmSync(dir, { recursive: true })
  }
})

test('readBootTimeUs() goes on and is not ahead of the clock of sequences', () => {
  const first = readBootTimeUs()
  expect(first).toBeGreaterThan(0)
  expect(readBootTimeUs()).toBeGreaterThanOrEqual(first)
})
