// From the first layout to this one on a real kernel: every row, killed at every point, with programs that go on meanwhile.
import { chownSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  addr,
  BpfMap,
  be16,
  type Codec,
  listTcx,
  type MapSpec,
  mac,
  pad,
  struct,
  TypedMap,
  u8,
  u32,
  u64,
} from '@sinabro/libbpf-ts'
import { CONFIG_CSUM_IPV6, CONFIG_FIB_SOURCE, NOT_TRANSLATED } from '@sinabro/libbpf-ts/layouts'
import { mountBpffs, type PrivateBpffs } from '@sinabro/libbpf-ts/testing'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { probeFeatures } from '../features/features.ts'
import { systemClock } from '../runtime/clock.ts'
import { silentLog } from '../runtime/log.ts'
import { Datapath, type DatapathOptions } from './datapath.ts'
import { Hooks } from './hooks.ts'
import { pinPaths } from './load.ts'
import { MIGRATION_CRASH_POINTS } from './migrate.ts'

// As version 0.1.0 had them. Never to be changed: nodes run it.
const v1 = {
  config: struct('config', {
    ...{ generation: u32, flags: u32, ownNode: u32, overlayIfindex: u32, vni: u32 },
    ...{ overlayMac: mac, tunnelPort: be16, uplinkIfindex: u32 },
    ...{ tunnelLocal4: addr, tunnelLocal6: addr },
  }),
  endpoint: struct('endpoint', {
    ...{ ifindex: u32, id: u32, incarnation: u32, flags: u32 },
    ...{ podMac: mac, hostMac: mac, mtu: u32 },
  }),
  node: struct('node', { tunnel: addr, mac, pad: pad(2), mtu: u32, flags: u32 }),
  prefixKey: struct('prefix_key', { prefixLen: u32, addr }),
  ipcacheEntry: struct('ipcache_entry', { node: u32, identity: u32, flags: u32, pad: pad(4) }),
  flowKey: struct('flow_key', {
    ...{ saddr: addr, daddr: addr, sport: be16, dport: be16 },
    ...{ proto: u8, icmpClass: u8, pad: pad(2) },
  }),
  flow: struct('flow', {
    ...{ way: u64, sourceIncarnation: u32, targetIncarnation: u32, sourceNode: u32 },
    ...{ flags: u32, seen: u32, created: u32 },
  }),
  opener: struct('opener', { kind: u32, incarnation: u32, addr }),
  pair: struct('pair', { flows: u32, recount: u32 }),
}
const BPF_F_NO_PREALLOC = 1
const FLOWS_MAX = 2048

const config = {
  ...{ generation: 41, flags: 1, ownNode: 0, overlayIfindex: 9, vni: 1, tunnelPort: 8472 },
  ...{ overlayMac: '0e:5b:00:00:00:01', uplinkIfindex: 0, tunnelLocal4: '172.31.0.1' },
  tunnelLocal6: '::',
}
const endpoint = {
  ...{ ifindex: 5, id: 1, incarnation: 9, flags: 1, mtu: 1450 },
  ...{ podMac: '02:00:00:00:00:01', hostMac: '06:00:00:00:00:01' },
}
const node = { tunnel: '172.31.0.2', mac: '0e:5b:00:00:00:02', mtu: 1450, flags: 1 }
const key = { saddr: '10.244.1.5', daddr: '10.244.2.5', sport: 4000, dport: 80, proto: 6 }
const flow = {
  ...{ way: (2n << 56n) | (3n << 32n) | 41n, sourceIncarnation: 9, targetIncarnation: 0 },
  ...{ sourceNode: 0, flags: 17, seen: 7, created: 6 },
}
const flowKey = (sport: number) => ({ ...key, sport, icmpClass: 0 })

const features = await probeFeatures()
const hasTcx = features.has('tcx')
let bpffs: PrivateBpffs
let netns: NetworkNamespace
let netlink: RouteNetlink
let options: DatapathOptions
let opened: Datapath[]
/** Held open, as programs of the first layout hold theirs. */
let oldFlows: TypedMap<ReturnType<typeof flowKey>, typeof flow>

beforeEach(async () => {
  bpffs = mountBpffs()
  netns = NetworkNamespace.create()
  netlink = RouteNetlink.open({ netns })
  await netlink.links.add({ kind: 'veth', name: 'sbaaaaaaaaaaaaa', peer: { name: 'peer' } })
  opened = []
  const place = { netlink, netns, clock: systemClock, log: silentLog }
  const bpfDir = join(bpffs.path, 'sinabro')
  const attach = hasTcx ? 'tcx' : 'clsact'
  options = { ...place, bpfDir, attach, features, flowsMax: 512 }
  makeFirstLayout()
})

afterEach(() => {
  for (const datapath of opened) datapath.close()
  oldFlows.map.close()
  netlink.close()
  netns.close()
  bpffs.unmount()
})

async function open(change: Partial<DatapathOptions> = {}): Promise<Datapath> {
  const datapath = await Datapath.open({ ...options, ...change })
  opened.push(datapath)
  return datapath
}

function makeFirstLayout(): void {
  const hash = { type: 'hash', maxEntries: 64 } as const
  const array = { type: 'array', maxEntries: 1 } as const
  make('sb_config', u32, v1.config, array, [[0, config]])
  make('sb_endpoints', addr, v1.endpoint, hash, [['10.244.1.5', endpoint]])
  make('sb_nodes', u32, v1.node, { ...array, maxEntries: 16384 }, [[3, node]])
  make('sb_node_ids', addr, u32, hash, [['172.31.0.2', 3]])
  const trie = { type: 'lpm_trie', maxEntries: 64, flags: BPF_F_NO_PREALLOC } as const
  const range = { node: 3, identity: 0, flags: 0 }
  make('sb_ipcache', v1.prefixKey, v1.ipcacheEntry, trie, [
    [{ prefixLen: 120, addr: '10.244.2.0' }, range],
  ])
  const opener = { kind: 1, incarnation: 9, addr: '::' }
  make('sb_openers', v1.opener, v1.pair, hash, [[opener, { flows: 1, recount: 0 }]])
  make('sb_opened', u32, v1.pair, array, [[0, { flows: 1, recount: 0 }]])
  const flows = { ...hash, maxEntries: FLOWS_MAX }
  make('sb_flows', v1.flowKey, v1.flow, flows, [[flowKey(4000), flow]])
  const held = BpfMap.openPinned(firstPin('sb_flows'))
  oldFlows = new TypedMap(held, v1.flowKey, v1.flow)
}

function make<K, V>(
  name: string,
  keys: Codec<K>,
  values: Codec<V>,
  spec: Pick<MapSpec, 'type' | 'maxEntries' | 'flags'>,
  rows: readonly (readonly [K, V])[],
): void {
  using map = BpfMap.create({ ...spec, name, keySize: keys.size, valueSize: values.size })
  for (const [k, v] of rows) map.update(keys.encode(k), values.encode(v))
  map.pin(firstPin(name))
}

const firstPin = (map: string) => join(pinPaths(options.bpfDir, 1).maps, map)

function expectAll({ maps, config: row }: Datapath): void {
  // The kernel's own features are written at every start.
  const flags = row.value.flags & ~(CONFIG_FIB_SOURCE | CONFIG_CSUM_IPV6)
  expect({ ...row.value, flags }).toEqual({ ...config, portMin: 0, portMax: 0 })
  expect([...maps.endpoints.entries()]).toEqual([['10.244.1.5', endpoint]])
  expect(maps.nodes.get(3)).toEqual(node)
  expect([...maps.nodeIds.entries()]).toEqual([['172.31.0.2', 3]])
  expect(maps.ipcache.get({ prefixLen: 120, addr: '10.244.2.0' })?.node).toBe(3)
  const wide = { ...flow, to: NOT_TRANSLATED, mtu: 0 }
  expect(maps.flows.get(flowKey(4000))).toEqual(wide)
}

test('every row is there, before anything is attached, with room for as many flows as before', async () => {
  const datapath = await open()
  expectAll(datapath)
  expect(datapath.maps.flows.map.info.maxEntries).toBe(FLOWS_MAX)
  expect(await datapath.sweep()).toMatchObject({ rows: 1 })
})

test('flows that began in the meantime come too; those that moved on stay as they are; then the first layout is gone', async () => {
  const datapath = await open()
  oldFlows.set(flowKey(4001), flow)
  oldFlows.set(flowKey(4000), { ...flow, seen: 8 })
  const { flows } = datapath.maps
  const moved = { ...flow, to: NOT_TRANSLATED, mtu: 0, seen: 9 }
  flows.set(flowKey(4000), moved)
  await datapath.endMigration()
  expect(flows.get(flowKey(4000))?.seen).toBe(9)
  expect(flows.get(flowKey(4001))?.seen).toBe(7)
  expect(existsSync(pinPaths(options.bpfDir, 1).root)).toBe(false)
  await datapath.endMigration()
  datapath.close()
  expect([...(await open()).maps.flows.keys()]).toHaveLength(2)
})

const never = new Promise<void>(() => undefined)

/** Opens, and ends what it ends; stops for good at the n-th pass of a point. Says whether it came there. */
async function dieAt(point: string, pass = 1): Promise<boolean> {
  const { promise: died, resolve: die } = Promise.withResolvers<boolean>()
  let left = pass
  const crashPoint = (name: string): Promise<void> | undefined => {
    if (name !== point || --left > 0) return undefined
    die(true)
    return never
  }
  const life = open({ crashPoint }).then(async (datapath) => {
    await datapath.endMigration()
    return false
  })
  return await Promise.race([died, life])
}

test.each(MIGRATION_CRASH_POINTS.filter((point) => point !== 'migrate.link'))(
  'killed at %s, the next start has it all',
  async (point) => {
    expect(await dieAt(point)).toBe(true)
    const next = await open()
    expectAll(next)
    await next.endMigration()
    expectAll(next)
    expect(existsSync(pinPaths(options.bpfDir, 1).root)).toBe(false)
  },
)

test('what was written since is not overwritten by a start that follows a kill', async () => {
  expect(await dieAt('migrate.flows')).toBe(true)
  const next = await open()
  next.config.change({ vni: 77 })
  next.removeEndpoint('10.244.1.5', 9)
  next.close()
  const third = await open()
  expect(third.config.value.vni).toBe(77)
  expect([...third.maps.endpoints.keys()]).toEqual([])
})

test.for([0, 1, 2])(
  'links are taken over, with %d of them moved before a kill: one program on each hook',
  async (moved, { skip }) => {
    skip(!hasTcx, 'tcx came with Linux 6.6')
    const device = { name: 'sbaaaaaaaaaaaaa', index: 0 }
    device.index = (await netlink.links.get({ name: device.name }))?.index ?? 0
    const elsewhere = await open({ bpfDir: join(bpffs.path, 'elsewhere') })
    const [ingress, egress] = elsewhere.programs
    if (ingress === undefined || egress === undefined) throw new TypeError('programs')
    const { links } = pinPaths(options.bpfDir, 1)
    mkdirSync(links, { recursive: true, mode: 0o700 })
    const first = new Hooks({ linksDir: links, mode: 'tcx', netlink, netns })
    await first.attach(device, { ingress, egress })
    if (moved > 0) expect(await dieAt('migrate.link', moved)).toBe(true)
    const next = await open()
    expect(next.pinnedDevices()).toEqual([device.name])
    await next.attachPod(device)
    await next.endMigration()
    expect(await next.isPodAttached(device)).toBe(true)
    for (const direction of ['ingress', 'egress'] as const) {
      expect(listTcx({ ifindex: device.index, direction, netns })).toHaveLength(1)
    }
  },
)

test('pins of the first layout that somebody else could have made are refused', async () => {
  chownSync(pinPaths(options.bpfDir, 1).maps, 65534, 65534)
  await expect(open()).rejects.toMatchObject({ code: 'foreign-pins' })
})
