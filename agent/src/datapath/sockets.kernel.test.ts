// The datapath on sockets: attached where it is told, replaced by the next process, taken off with services; who is in the way is named.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BpfMap, BpfObject, CgroupAttachment, listCgroup, objectPath } from '@sinabro/libbpf-ts'
import { mountBpffs, type PrivateBpffs, TestCgroup } from '@sinabro/libbpf-ts/testing'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { probeFeatures } from '../features/features.ts'
import { systemClock } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { SOCKET_HOOKS } from './cgroup-hooks.ts'
import { Datapath, type DatapathOptions } from './datapath.ts'
import { pinPaths } from './load.ts'

const features = await probeFeatures()

let bpffs: PrivateBpffs
let cgroup: TestCgroup
let netns: NetworkNamespace
let netlink: RouteNetlink
let options: DatapathOptions
let opened: Datapath[]

beforeEach(() => {
  bpffs = mountBpffs()
  cgroup = TestCgroup.open()
  netns = NetworkNamespace.create()
  netlink = RouteNetlink.open({ netns })
  opened = []
  options = {
    bpfDir: join(bpffs.path, 'sinabro'),
    attach: 'clsact',
    features,
    netlink,
    netns,
    flowsMax: 512,
    servicesMax: 1024,
    cgroupRoot: cgroup.path,
    clock: systemClock,
    log: silentLog,
  }
})

afterEach(() => {
  for (const datapath of opened) datapath.close()
  netlink.close()
  netns.close()
  bpffs.unmount()
  cgroup.close()
})

async function open(change: Partial<DatapathOptions> = {}): Promise<Datapath> {
  const datapath = await Datapath.open({ ...options, ...change })
  opened.push(datapath)
  return datapath
}

/** How many programs are on each hook. */
const attached = () => SOCKET_HOOKS.map((hook) => listCgroup({ path: cgroup.path, hook }).length)
const all = (count: number) => SOCKET_HOOKS.map(() => count)

function sizeOf(map: string): number | undefined {
  const path = join(pinPaths(options.bpfDir).maps, map)
  if (!existsSync(path)) return undefined
  using pinned = BpfMap.openPinned(path)
  return pinned.info.maxEntries
}

test('attached to every hook, they stay without us and are replaced by the next process', async () => {
  const first = await open()
  expect(attached()).toEqual(all(0))
  expect(first.areSocketsAttached()).toBe(false)
  for (let i = 0; i < 2; i++) await first.attachSockets()
  expect(first.areSocketsAttached()).toBe(true)
  expect(attached()).toEqual(all(1))
  first.close()
  const next = await open()
  expect(attached()).toEqual(all(1))
  expect(next.areSocketsAttached()).toBe(false)
  await next.attachSockets()
  expect(next.areSocketsAttached()).toBe(true)
  expect(attached()).toEqual(all(1))
  expect(await next.detachSockets()).toBe(true)
  expect(attached()).toEqual(all(0))
  expect(await next.detachSockets()).toBe(false)
})

test('without services nothing is attached, and what an earlier agent attached goes', async () => {
  const serving = await open()
  await serving.attachSockets()
  const size = sizeOf('sb_services')
  expect(size).toBeGreaterThan(1)
  expect(serving.unusedFeatures).not.toContain('cgroup2')
  serving.close()
  const idle = await open({ servicesMax: undefined })
  expect(attached()).toEqual(all(0))
  expect(readdirSync(pinPaths(options.bpfDir).cgroup)).toEqual([])
  expect(sizeOf('sb_services') ?? 1).toBe(1)
  expect(sizeOf('sb_sock')).toBeUndefined()
  expect(idle.areSocketsAttached()).toBe(false)
  expect(idle.unusedFeatures).toContain('cgroup2')
  await expect(idle.attachSockets()).rejects.toThrow(TypeError)
  idle.close()
  const again = await open()
  expect(sizeOf('sb_services')).toBe(size)
  await again.attachSockets()
  expect(attached()).toEqual(all(1))
})

test('maps that only an earlier version had go, and nothing else does, whatever the settings are', async () => {
  const { maps } = pinPaths(options.bpfDir)
  const first = await open({ xdp: 'generic' })
  const ours = readdirSync(maps).sort()
  first.close()
  const spec = { type: 'hash', keySize: 4, valueSize: 4, maxEntries: 1 } as const
  for (const name of ['sb_earlier', 'theirs']) {
    using map = BpfMap.create({ ...spec, name })
    map.pin(join(maps, name))
  }
  mkdirSync(join(maps, 'sb_folder'))
  // Of those that are still its own, it loads fewer.
  const next = await open({ features: await probeFeatures(['cgroup2']) })
  expect(readdirSync(maps).sort()).toEqual([...ours, 'sb_folder', 'theirs'].sort())
  next.close()
})

test('where there is no cgroup2, services are opened without programs on sockets, and what an earlier agent attached goes', async () => {
  const first = await open()
  await first.attachSockets()
  const features = await probeFeatures(['cgroup2'])
  const next = await open({ features })
  expect(attached()).toEqual(all(0))
  await expect(next.attachSockets()).rejects.toMatchObject({
    code: 'cgroup',
    message: expect.stringContaining('mount -t cgroup2'),
  })
  expect([next.areSocketsAttached(), await next.staleSockets()]).toEqual([false, []])
  expect(next.unusedFeatures).toContain('cgroup2')
})

test('a program that lets no other run beside it is named; once it is gone all is well', async () => {
  const datapath = await open()
  using object = BpfObject.open(objectPath('sockets'))
  await object.load()
  const theirs = object.program('sb_connect6')
  cgroup.attachAlone('connect6', theirs)
  await expect(datapath.attachSockets()).rejects.toMatchObject({
    code: 'cgroup',
    message: expect.stringContaining(`program ${theirs.id} on connect6 of ${cgroup.path}`),
  })
  expect(datapath.areSocketsAttached()).toBe(false)
  cgroup.detachAlone('connect6', theirs)
  await datapath.attachSockets()
  expect(datapath.areSocketsAttached()).toBe(true)
})

test('whoever takes one off is noticed, and it is attached again', async () => {
  const datapath = await open()
  await datapath.attachSockets()
  const pin = join(pinPaths(options.bpfDir).cgroup, 'sendmsg4')
  await CgroupAttachment.detach({ pinPath: pin })
  expect(datapath.areSocketsAttached()).toBe(false)
  await datapath.attachSockets()
  expect(datapath.areSocketsAttached()).toBe(true)
})

test('a root that is none is refused with what to do', async () => {
  for (const cgroupRoot of [tmpdir(), join(cgroup.path, 'none')]) {
    const datapath = await open({ cgroupRoot })
    await expect(datapath.attachSockets()).rejects.toMatchObject({
      code: 'cgroup',
      message: expect.stringContaining('--cgroup-root'),
    })
  }
})

test('in a container that has its own cgroups only, the root that would be found is refused', async () => {
  const hooks = new URL('./cgroup-hooks.ts', import.meta.url)
  const script = `
    const { CgroupHooks } = await import('${hooks}')
    try {
      new CgroupHooks({ linksDir: '/none' }).isAttached({})
    } catch ({ code, message }) {
      console.log(code + ': ' + message)
    }`
  const mountpoint = mkdtempSync(join(tmpdir(), 'sinabro-container-'))
  const mount = 'umount --all --types cgroup2; mount -t cgroup2 cgroup2 "$0" && exec "$@"'
  const inside = ['--input-type=module', '-e', script]
  const container = ['unshare', '--cgroup', '--mount', 'sh', '-c', mount, mountpoint]
  const enter = ['-c', 'echo $$ >"$0/cgroup.procs" && exec "$@"', cgroup.path]
  const said = execFileSync('sh', [...enter, ...container, process.execPath, ...inside])
  rmdirSync(mountpoint)
  expect(`${said}`.trim()).toBe(
    `cgroup: ${mountpoint} has the cgroups of this container only: mount the node's into it, and name where with --cgroup-root`,
  )
})

test('hostNetnsCookie() is that of the node’s namespace', async () => {
  const datapath = await open()
  expect(datapath.hostNetnsCookie()).toBe(netns.cookie())
  using here = NetworkNamespace.current()
  expect(datapath.hostNetnsCookie()).not.toBe(here.cookie())
})
