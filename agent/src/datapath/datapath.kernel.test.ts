// The datapath on a real kernel: maps that outlive the process, programs replaced in place, errors that say what to do.
import { chmodSync, chownSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BpfMap } from '@sinabro/libbpf-ts'
import {
  CONFIG_CSUM_IPV6,
  CONFIG_FIB_SOURCE,
  encodeWay,
  FLOW_SEEN,
  NOT_TRANSLATED,
} from '@sinabro/libbpf-ts/layouts'
import { mountBpffs, type PrivateBpffs } from '@sinabro/libbpf-ts/testing'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Features, probeFeatures } from '../features/features.ts'
import { FEATURE_NAMES, type FeatureName } from '../features/table.ts'
import { systemClock } from '../runtime/clock.ts'
import { Health } from '../runtime/health.ts'
import { Jobs } from '../runtime/jobs.ts'
import { silentLog } from '../runtime/log.ts'
import { FakeClock } from '../runtime/testing/fake-clock.ts'
import { Datapath, type DatapathOptions } from './datapath.ts'
import { pinPaths } from './load.ts'
import type { SweepResult } from './sweep.ts'

const features = await probeFeatures()

let bpffs: PrivateBpffs
let netns: NetworkNamespace
let netlink: RouteNetlink
let options: DatapathOptions
let opened: Datapath[]

beforeEach(async () => {
  bpffs = mountBpffs()
  netns = NetworkNamespace.create()
  netlink = RouteNetlink.open({ netns })
  await netlink.links.add({ kind: 'veth', name: 'sbaaaaaaaaaaaaa', peer: { name: 'peer' } })
  opened = []
  options = {
    bpfDir: join(bpffs.path, 'sinabro'),
    attach: features.has('tcx') ? 'tcx' : 'clsact',
    features,
    netlink,
    netns,
    flowsMax: 512,
    clock: systemClock,
    log: silentLog,
  }
})

afterEach(() => {
  for (const datapath of opened) datapath.close()
  netlink.close()
  netns.close()
  bpffs.unmount()
})

async function open(change: Partial<DatapathOptions> = {}): Promise<Datapath> {
  const datapath = await Datapath.open({ ...options, ...change })
  opened.push(datapath)
  return datapath
}

async function device() {
  const link = await netlink.links.get({ name: 'sbaaaaaaaaaaaaa' })
  if (link === undefined) throw new Error('no device')
  return link
}

test('maps of services take no room while nobody is served, and keep their size while somebody is', async () => {
  const sizes = async (servicesMax?: number) => {
    const { maps } = await open({ servicesMax })
    const { services, slots, backends } = maps
    return { services, sizes: [services, slots, backends].map(({ map }) => map.info.maxEntries) }
  }
  expect((await sizes()).sizes).toEqual([1, 1, 1])
  const { services, sizes: made } = await sizes(1024)
  expect(made).toEqual([1024, 4096, 2048])
  const key = { addr: '10.96.0.1', port: 80, proto: 6 }
  services.set(key, { id: 1, flags: 0, internal: 1, external: 1, affinitySec: 0 })
  expect((await sizes(2048)).sizes).toEqual([1024, 4096, 2048])
  const left = await sizes()
  expect(left.sizes).toEqual([1024, 4096, 2048])
  left.services.delete(key)
  expect((await sizes()).sizes).toEqual([1, 1, 1])
})

test('maps, configuration and the size of the flow table outlive the process', async () => {
  const first = await open()
  first.config.change({ vni: 7 })
  first.config.markReady()
  first.config.bumpGeneration()
  const { generation } = first.config.value
  const endpoint = {
    ifindex: 5,
    id: 1,
    incarnation: 9,
    podMac: '02:00:00:00:00:01',
    hostMac: '06:00:00:00:00:01',
    mtu: 1450,
    isNetkit: false,
    isShaped: true,
  }
  first.setEndpoint('10.0.0.1', endpoint)
  first.close()
  const next = await open({ flowsMax: 4096 })
  expect(next.config.value).toMatchObject({ vni: 7, generation })
  expect(next.config.isReady).toBe(true)
  expect([...next.podEndpoints()]).toMatchObject([['10.0.0.1', endpoint]])
  expect(next.maps.flows.map.info.maxEntries).toBe(512)
})

test.each(features.has('tcx') ? (['tcx', 'clsact'] as const) : (['clsact'] as const))(
  'attached by %s, programs stay without us and are replaced by the next process',
  async (attach) => {
    const first = await open({ attach })
    await first.attachPod(await device())
    expect(await first.isPodAttached(await device())).toBe(true)
    first.close()
    const next = await open({ attach })
    expect(await next.isPodAttached(await device())).toBe(false)
    await next.attachPod(await device())
    expect(await next.isPodAttached(await device())).toBe(true)
  },
)

test('the other mode takes over and leaves nothing of the first', async ({ skip }) => {
  skip(!features.has('tcx'), 'tcx came with Linux 6.6')
  const tcx = await open({ attach: 'tcx' })
  await tcx.attachPod(await device())
  expect(tcx.pinnedDevices()).toEqual(['sbaaaaaaaaaaaaa'])
  const clsact = await open({ attach: 'auto' })
  expect(await clsact.isPodAttached(await device())).toBe(false)
  await clsact.attachPod(await device())
  expect(await clsact.isPodAttached(await device())).toBe(true)
  expect(clsact.pinnedDevices()).toEqual([])
})

test.each([
  ['as the kernel has it', [] as const],
  ['without either', ['fib_lookup_src', 'csum_ipv6'] as const],
])('the programs are told what helpers can do: %s', async (_what, switchedOff) => {
  const here = FEATURE_NAMES.filter((name) => features.has(name))
  const { config } = await open({ features: new Features(here, switchedOff) })
  const isOn = (name: FeatureName) => features.has(name) && !switchedOff.some((one) => one === name)
  expect(config.has(CONFIG_FIB_SOURCE)).toBe(isOn('fib_lookup_src'))
  expect(config.has(CONFIG_CSUM_IPV6)).toBe(isOn('csum_ipv6'))
})

test('a pod that keeps its address is flagged; where nothing is known the row stays as it was', async () => {
  const datapath = await open()
  const pod = {
    ...{ ifindex: 5, id: 1, incarnation: 9, mtu: 1450, isNetkit: false, isShaped: false },
    ...{ podMac: '02:00:00:00:00:01', hostMac: '06:00:00:00:00:01' },
  }
  const keeps = () => [...datapath.podEndpoints()].map(([, { keepsAddress }]) => keepsAddress)
  datapath.setEndpoint('10.0.0.5', { ...pod, keepsAddress: true })
  expect(keeps()).toEqual([true])
  datapath.setEndpoint('10.0.0.5', pod)
  expect(keeps()).toEqual([true])
  datapath.setEndpoint('10.0.0.5', { ...pod, incarnation: 10 })
  expect(keeps()).toEqual([false])
  datapath.setEndpoint('10.0.0.5', { ...pod, keepsAddress: true })
  datapath.setEndpoint('10.0.0.5', { ...pod, keepsAddress: false })
  expect(keeps()).toEqual([false])
})

test('own addresses are exactly those given, beside the pods’', async () => {
  const datapath = await open()
  const pod = {
    ifindex: 5,
    id: 1,
    incarnation: 9,
    podMac: '02:00:00:00:00:01',
    hostMac: '06:00:00:00:00:01',
    mtu: 0,
    isNetkit: false,
    isShaped: false,
  }
  datapath.setEndpoint('10.0.0.5', pod)
  datapath.setOwnAddresses(['10.0.0.1', 'fd00::1'])
  datapath.setOwnAddresses(['10.0.0.1'])
  expect([...datapath.maps.endpoints.keys()].sort()).toEqual(['10.0.0.1', '10.0.0.5'])
  datapath.removeEndpoint('10.0.0.5', 8)
  expect([...datapath.podEndpoints()]).toHaveLength(1)
  datapath.removeEndpoint('10.0.0.5', 9)
  expect([...datapath.podEndpoints()]).toEqual([])
})

test('sweep() removes expired flows inside the kernel and keeps the others', async () => {
  const datapath = await open()
  const key = { saddr: '10.0.0.1', daddr: '10.0.0.2', sport: 1, dport: 2, proto: 17, icmpClass: 0 }
  const row = {
    way: encodeWay({ kind: 'stack', node: 0, generation: 1 }),
    sourceIncarnation: 0,
    targetIncarnation: 0,
    sourceNode: 0,
    flags: FLOW_SEEN,
    created: 0,
    to: NOT_TRANSLATED,
    mtu: 0,
  }
  const { nowTicks } = await datapath.sweep()
  datapath.maps.flows.set(key, { ...row, seen: nowTicks })
  datapath.maps.flows.set({ ...key, dport: 3 }, { ...row, seen: (nowTicks - 100_000) >>> 0 })
  expect(await datapath.sweep()).toMatchObject({ rows: 2, removed: 1 })
  expect([...datapath.maps.flows.keys()]).toEqual([key])
})

test('a pass that is asked for comes at once, but a second after the last one at least, however many ask', async () => {
  const clock = new FakeClock()
  const datapath = await open({ clock })
  const jobs = new Jobs({ log: silentLog, health: new Health(clock), clock })
  let last: SweepResult | undefined
  const nextPass = async (): Promise<void> => {
    const hasEnded = () => datapath.lastSweep !== last && clock.sleeperCount === 1
    await expect.poll(hasEnded, { timeout: 10_000 }).toBe(true)
    last = datapath.lastSweep
  }
  const noneWithin = async (ms: number): Promise<void> => {
    await clock.advance(ms)
    expect([datapath.lastSweep, clock.sleeperCount]).toEqual([last, 1])
  }
  datapath.start(jobs)
  await nextPass()
  for (let i = 0; i < 1000; i++) datapath.sweepSoon()
  await noneWithin(999)
  await clock.advance(1)
  await nextPass()
  await noneWithin(20_000)
  datapath.sweepSoon()
  await nextPass()
  // One that is under way has passed some rows already.
  await noneWithin(20_000)
  const underWay = datapath.sweep()
  datapath.sweepSoon()
  await underWay
  await nextPass()
  await noneWithin(999)
  await clock.advance(1)
  await nextPass()
  await noneWithin(29_999)
  await clock.advance(1)
  await nextPass()
  await jobs.stop()
})

test('a folder that is not on a bpf file system is refused with what to do', async () => {
  const plain = join(tmpdir(), 'sinabro-plain')
  await expect(open({ bpfDir: plain })).rejects.toMatchObject({
    code: 'no-bpffs',
    message: expect.stringContaining('mount -t bpf'),
  })
})

test('a pinned map of another layout is refused with what to do, and stays', async () => {
  const { maps } = pinPaths(options.bpfDir)
  mkdirSync(maps, { recursive: true })
  const path = join(maps, 'sb_endpoints')
  {
    using foreign = BpfMap.create({
      type: 'hash',
      keySize: 16,
      valueSize: 8,
      maxEntries: 10,
      name: 'sb_endpoints',
    })
    foreign.pin(path)
  }
  await expect(open()).rejects.toMatchObject({
    code: 'layout',
    message: expect.stringMatching(/sb_endpoints.*valueSize.*drain the node/s),
  })
  using still = BpfMap.openPinned(path)
  expect(still.info.valueSize).toBe(8)
})

test.each([
  ['made by somebody else', (path: string) => chownSync(path, 65534, 65534)],
  ['open to everybody', (path: string) => chmodSync(path, 0o777)],
  [
    'a link',
    (path: string) => {
      rmSync(path, { recursive: true })
      symlinkSync('.', path)
    },
  ],
])('a pin folder that is %s is refused', async (_what, change) => {
  for (const path of [options.bpfDir, pinPaths(options.bpfDir).root]) {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    change(path)
    await expect(open()).rejects.toMatchObject({ code: 'foreign-pins' })
    rmSync(options.bpfDir, { recursive: true })
  }
})
