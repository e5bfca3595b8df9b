// XDP on uplinks on a real kernel: in the mode that is asked for and no other, over restarts, beside programs of somebody else, and off again.
import { join } from 'node:path'
import { BpfLink, BpfObject, type XdpMode } from '@sinabro/libbpf-ts'
import { mountBpffs, type PrivateBpffs, testObject } from '@sinabro/libbpf-ts/testing'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Datapath } from '../datapath/datapath.ts'
import { probeFeatures } from '../features/features.ts'
import { Uplinks } from '../overlay/uplinks.ts'
import { systemClock } from '../runtime/clock.ts'
import { Health } from '../runtime/health.ts'
import { Jobs } from '../runtime/jobs.ts'
import { silentLog } from '../runtime/log.ts'
import { describePrograms } from '../tell/programs.ts'
import { Xdp } from './xdp.ts'

const features = await probeFeatures()
const PATIENTLY = { timeout: 10_000 }

let bpffs: PrivateBpffs
let netns: NetworkNamespace
let netlink: RouteNetlink
let stops: (() => Promise<void>)[]

beforeEach(async () => {
  bpffs = mountBpffs()
  netns = NetworkNamespace.create()
  netlink = RouteNetlink.open({ netns })
  stops = []
  for (const name of ['eth0', 'eth1.7']) {
    await netlink.links.add({ kind: 'veth', name, isUp: true, peer: { name: `${name}-far` } })
  }
  // Its driver knows no XDP.
  await netlink.links.add({ kind: 'bridge', name: 'br0', isUp: true })
})
afterEach(async () => {
  for (const stop of stops) await stop()
  netlink.close()
  netns.close()
  bpffs.unmount()
})

async function indexOf(name: string): Promise<number> {
  return (await netlink.links.get({ name }))?.index ?? 0
}

async function start(xdp: 'off' | XdpMode, names: readonly string[], has = features) {
  const common = { clock: systemClock, log: silentLog, netlink }
  const datapath = await Datapath.open({
    ...{ bpfDir: join(bpffs.path, 'sinabro'), attach: 'clsact', features: has, netns },
    ...{ flowsMax: 1024, servicesMax: 64, xdp, ...common },
  })
  const health = new Health(systemClock)
  const jobs = new Jobs({ ...common, health })
  const uplinks = new Uplinks()
  const set = async (to: readonly string[]) => {
    const rows = to.map(async (name) => {
      const row = { name, index: await indexOf(name), isL3: name === 'tun0', mtu: 1500, isUp: true }
      return row
    })
    uplinks.set({ uplinks: await Promise.all(rows), problems: [] })
  }
  const room = new Xdp({ ...common, datapath, health, uplinks, refreshMs: 200 })
  room.start(jobs)
  await set(names)
  const stop = async () => {
    await jobs.stop()
    datapath.close()
  }
  stops.push(stop)
  return {
    datapath,
    health,
    room,
    set,
    stop: () => Promise.all(stops.splice(0).map((one) => one())),
  }
}

/** Of the program on the device, whoever's. */
const programOn = async (name: string) => (await netlink.links.get({ name }))?.xdpProgramId

test('on a kernel that could crash of it nothing is attached, and the status says why', async () => {
  const { room, health } = await start('generic', ['eth0'], await probeFeatures(['xdp']))
  await expect
    .poll(() => room.problems(), PATIENTLY)
    .toEqual([expect.stringMatching(/^no XDP on eth0: kernels before Linux 6.6/)])
  expect(await programOn('eth0')).toBeUndefined()
  await health.whenReady(AbortSignal.timeout(10_000))
})

describe('where it is attached', () => {
  beforeEach(({ skip }) => skip(!features.has('xdp'), 'before Linux 6.6 it is not (ADR 0092)'))

  test.each(['generic', 'native'] as const)(
    'in mode %s, by one agent after the other',
    async (mode) => {
      const first = await start(mode, ['eth0'])
      await expect.poll(() => first.room.describe(), PATIENTLY).toBe(`${mode} on eth0`)
      const before = await programOn('eth0')
      expect(before).toBeGreaterThan(0)
      await first.set(['eth0', 'eth1.7'])
      await expect.poll(() => first.room.describe(), PATIENTLY).toBe(`${mode} on eth0, eth1.7`)
      const { attached } = await describePrograms({
        ...{ netlink, netns, features, mode: 'bpf', ownLinks: new Set(), uplinks: ['eth0'] },
        programs: first.datapath.programs,
      })
      expect(attached).toMatchObject([
        { device: 'eth0', way: 'xdp', program: 'sb_xdp_uplink', state: 'current' },
      ])
      await first.stop()
      expect(await programOn('eth0')).toBe(before)

      const next = await start(mode, ['eth1.7'])
      await expect.poll(() => programOn('eth0'), PATIENTLY).toBeUndefined()
      await expect.poll(() => next.room.describe(), PATIENTLY).toBe(`${mode} on eth1.7`)
      expect(await programOn('eth1.7')).not.toBe(before)
      await netlink.links.del({ name: 'eth1.7' })
      await next.set([])
      await expect.poll(() => next.datapath.pinnedXdp(), PATIENTLY).toEqual([])
      expect(next.room.problems()).toEqual([])
    },
  )

  test('another mode takes the place of the first, and off takes it away', async () => {
    const generic = await start('generic', ['eth0'])
    await expect.poll(() => generic.room.describe(), PATIENTLY).toBe('generic on eth0')
    await generic.stop()
    const native = await start('native', ['eth0'])
    await expect.poll(() => native.room.describe(), PATIENTLY).toBe('native on eth0')
    await native.stop()
    const off = await start('off', ['eth0'])
    expect(off.room.describe()).toBe('off')
    // Nobody waits for what is not to be done.
    await off.health.whenReady(AbortSignal.timeout(10_000))
    expect(await programOn('eth0')).toBeUndefined()
    expect(off.datapath.pinnedXdp()).toEqual([])
  })

  test('a driver without mode native is named, and does not get generic instead', async () => {
    const { room } = await start('native', ['eth0', 'br0'])
    await expect.poll(() => room.describe(), PATIENTLY).toBe('native on eth0')
    expect(room.problems()).toEqual([
      expect.stringMatching(
        /^the driver of br0 does not take XDP in mode native .*--xdp generic or off/,
      ),
    ])
    expect(await programOn('br0')).toBeUndefined()
  })

  test.each(['generic', 'native'] as const)(
    'somebody else’s program stays where it is, and is named; mode %s',
    async (mode) => {
      const object = BpfObject.open(testObject('binding_xdp'), {
        pinDir: join(bpffs.path, 'theirs'),
      })
      await object.load()
      const program = object.program('xdp_count')
      const theirs = await BpfLink.createXdp({
        ...{ program, mode: 'native', netns, ifindex: await indexOf('eth0') },
      })
      const { room } = await start(mode, ['eth0', 'eth1.7'])
      await expect.poll(() => room.describe(), PATIENTLY).toBe(`${mode} on eth1.7`)
      expect(room.problems()).toEqual([
        expect.stringContaining(`eth0 has an XDP program ${program.id} that is not ours`),
      ])
      expect(await programOn('eth0')).toBe(program.id)
      await theirs.detach()
      theirs.close()
      object.close()
      await expect.poll(() => room.describe(), PATIENTLY).toBe(`${mode} on eth0, eth1.7`)
      expect(room.problems()).toEqual([])
    },
  )

  test('a device without an Ethernet header is left to the stack', async () => {
    const { room } = await start('generic', ['tun0', 'eth0'])
    await expect.poll(() => room.describe(), PATIENTLY).toBe('generic on eth0')
    expect(room.problems()).toEqual([])
  })
})
