// The room on a real kernel: what the maps say before the programs' part is turned on, what follows changes, and what is left of another mode.
import {
  CONFIG_MASQUERADE,
  CONFIG_TRANSLATED,
  encodeWay,
  FLOW_SEEN,
  FLOW_TRANSLATED,
  IPCACHE_STACK,
} from '@sinabro/libbpf-ts/layouts'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Cluster, createCluster } from '../cluster/cluster.ts'
import { decodeService } from '../cluster/decode-service.ts'
import { KernelSettings } from '../kernel-settings.ts'
import { parseKey } from '../overlay/prefix.ts'
import { join2, nodeRow, type Running, TestNode } from '../overlay/testing/nodes.ts'
import { systemClock } from '../runtime/clock.ts'
import { Jobs } from '../runtime/jobs.ts'
import { silentLog } from '../runtime/log.ts'
import { Table } from '../state/table.ts'
import { ExemptAddresses, Exemptions } from './exemptions.ts'
import { createMasquerade, type Masquerade, type MasqueradeDeps } from './masquerade.ts'
import { createNft } from './nft.ts'

const PORTS = { first: 40_000, last: 40_999 }
const TABLE = 'sb_test'
const PATIENTLY = { timeout: 10_000 }
let one: TestNode
let two: TestNode
let rooms: Rooms[]

interface Rooms extends Running {
  readonly masquerade: Masquerade
  readonly cluster: Cluster
  nft(): Promise<string>
}

beforeEach(async () => {
  one = new TestNode(1)
  two = new TestNode(2)
  rooms = []
  await join2(one, two)
})

afterEach(async () => {
  for (const each of rooms) await each.stop()
  one.close()
  two.close()
})

async function start(change: Partial<MasqueradeDeps> = {}): Promise<Rooms> {
  const { mode = 'ebpf' } = change
  const running = await one.start([nodeRow(1), nodeRow(2)], { isMasquerading: mode === 'ebpf' })
  const { overlay, datapath, health, nodes, pods } = running
  const cluster = createCluster()
  cluster.namespaces.markReady()
  cluster.pods.markReady()
  const common = { log: silentLog, clock: systemClock, health }
  const jobs = new Jobs(common)
  const path = `/proc/${process.pid}/fd/${one.netns.fd}`
  const nft = createNft(['nsenter', `--net=${path}`])
  const exemptions = new Exemptions(cluster.pods, cluster.namespaces)
  const masquerade = createMasquerade({
    ...{ mode, table: TABLE, ports: PORTS, reservedPorts: [{ first: 40_007, last: 40_009 }] },
    ...{ nodes, services: cluster.services, uplinks: overlay.uplinkSource, datapath, nft },
    exempt: new ExemptAddresses(exemptions, pods.live, datapath),
    settings: new KernelSettings(one.netns),
    ...{ nodeName: 'node1', clusterCIDRs: ['10.244.0.0/16'], nonMasqueradeCIDRs: [] },
    ...{ serviceCIDRs: ['10.96.0.0/12'], keepsTowardsNodes: false, tunnelPort: 8472 },
    ...common,
    refreshMs: 300,
    ...change,
  })
  masquerade.start(jobs)
  const all: Rooms = {
    ...running,
    masquerade,
    cluster,
    nft: () => nft(['list', 'tables'], '', AbortSignal.timeout(5000)),
    async stop() {
      await jobs.stop()
      await running.stop()
    },
  }
  rooms.push(all)
  return all
}

const kept = ({ datapath }: Rooms, prefix: string): boolean =>
  datapath.maps.ipcache.get(parseKey(prefix))?.flags === IPCACHE_STACK

function service(
  cluster: Cluster,
  name: string,
  clusterIP: string,
  ...externalIPs: string[]
): void {
  const metadata = { namespace: 'shop', name }
  const spec = { clusterIPs: [clusterIP], externalIPs }
  cluster.services.upsert(decodeService({ metadata, spec }))
}

test('the programs’ part is turned on only when the Services are known, and every row is there by then', async () => {
  const room = await start()
  const { cluster, datapath, health } = room
  service(cluster, 'web', '10.200.0.1', 'fd96::1')
  await expect.poll(() => kept(room, '10.96.0.0/12'), PATIENTLY).toBe(true)
  expect(datapath.config.has(CONFIG_MASQUERADE)).toBe(false)
  expect(health.snapshot().isReady).toBe(false)
  cluster.services.markReady()
  await health.whenReady(AbortSignal.timeout(10_000))
  expect(datapath.config.has(CONFIG_MASQUERADE)).toBe(true)
  expect(datapath.config.has(CONFIG_TRANSLATED)).toBe(true)
  expect(datapath.config.value).toMatchObject({ portMin: 40_000, portMax: 40_999 })
  for (const prefix of ['10.244.0.0/16', '10.96.0.0/12', '10.200.0.1/32', 'fd96::1/128']) {
    expect(kept(room, prefix), prefix).toBe(true)
  }
  const index = (await one.netlink.links.get({ name: 'eth0' }))?.index ?? 0
  expect([...datapath.maps.uplinks.entries()]).toEqual([
    [index, { source4: '172.31.0.1', source6: 'fd31::1', mtu: 1500, flags: 0 }],
  ])
  expect(await room.nft()).toContain(TABLE)
  expect(room.masquerade.state()).toMatchObject({ isTranslating: true, ports: PORTS })
})

test('a Service that comes or goes is in the map or not; one that claims a pod’s address is not believed', async () => {
  const room = await start()
  room.cluster.services.markReady()
  service(room.cluster, 'web', '10.200.0.1', '10.244.2.7')
  await expect.poll(() => kept(room, '10.200.0.1/32'), PATIENTLY).toBe(true)
  expect(kept(room, '10.244.2.7/32')).toBe(false)
  room.cluster.services.remove('shop/web')
  await expect.poll(() => kept(room, '10.200.0.1/32'), PATIENTLY).toBe(false)
})

test('Services that our programs serve are not left to the kernel, and masquerading waits for that', async () => {
  const serving = new Table<{ key: string }>('Services that are served', ({ key }) => key)
  const room = await start({ serving })
  service(room.cluster, 'web', '10.200.0.1')
  await expect.poll(() => kept(room, '10.244.0.0/16'), PATIENTLY).toBe(true)
  expect(room.datapath.config.has(CONFIG_MASQUERADE)).toBe(false)
  serving.markReady()
  await room.health.whenReady(AbortSignal.timeout(10_000))
  expect(room.datapath.config.has(CONFIG_MASQUERADE)).toBe(true)
  expect(kept(room, '10.244.0.0/16')).toBe(true)
  for (const prefix of ['10.96.0.0/12', '10.200.0.1/32']) expect(kept(room, prefix)).toBe(false)
})

test('ports are there for Services, whoever masquerades', async () => {
  const serving = new Table<{ key: string }>('Services that are served', ({ key }) => key)
  const { datapath } = await start({ mode: 'nftables', serving })
  expect(datapath.config.value).toMatchObject({ portMin: 40_000, portMax: 40_999 })
  expect(datapath.config.has(CONFIG_MASQUERADE)).toBe(false)
})

test('a range that a node had and another setting keeps changes hands both ways', async () => {
  const clusterCIDRs = ['10.244.3.0/24']
  const room = await start({ clusterCIDRs })
  room.cluster.services.markReady()
  await expect.poll(() => kept(room, '10.244.3.0/24'), PATIENTLY).toBe(true)
  room.nodes.upsert(nodeRow(3))
  await expect.poll(() => kept(room, '10.244.3.0/24'), PATIENTLY).toBe(false)
  const owner = () => room.datapath.maps.ipcache.get(parseKey('10.244.3.0/24'))?.node
  await expect.poll(owner, PATIENTLY).toBeGreaterThan(0)
  room.nodes.remove('node3')
  await expect.poll(() => kept(room, '10.244.3.0/24'), PATIENTLY).toBe(true)
})

test('ports that are never given: those of the settings, the tunnel’s, and the kernel’s as they are now', async () => {
  const settings = new KernelSettings(one.netns)
  const { datapath } = await start()
  const isReserved = (port: number): boolean => {
    const bits = datapath.maps.reserved.get(Math.floor(port / 64)) ?? 0n
    return ((bits >> BigInt(port % 64)) & 1n) === 1n
  }
  await expect.poll(() => isReserved(40_007), PATIENTLY).toBe(true)
  expect([40_006, 40_009, 40_010, 8472].map(isReserved)).toEqual([false, true, false, true])
  settings.set('ipv4/ip_local_reserved_ports', '40100-40101')
  await expect.poll(() => isReserved(40_100), PATIENTLY).toBe(true)
  settings.set('ipv4/ip_local_reserved_ports', '40200')
  await expect.poll(() => isReserved(40_100), PATIENTLY).toBe(false)
})

test('flows are judged again when an uplink’s address or a route changes, and not for a Service', async () => {
  const room = await start()
  const { datapath, cluster, health } = room
  cluster.services.markReady()
  await health.whenReady(AbortSignal.timeout(10_000))
  const index = (await one.netlink.links.get({ name: 'eth0' }))?.index ?? 0
  const generation = () => datapath.config.value.generation
  let before = generation()
  service(cluster, 'web', '10.200.0.1')
  await expect.poll(() => kept(room, '10.200.0.1/32'), PATIENTLY).toBe(true)
  expect(generation()).toBe(before)
  await one.netlink.addresses.del({ index, address: '172.31.0.1', prefixLen: 24 })
  await one.netlink.addresses.replace({ index, address: '172.31.0.9', prefixLen: 24 })
  await expect.poll(() => datapath.maps.uplinks.get(index)?.source4, PATIENTLY).toBe('172.31.0.9')
  await expect.poll(generation, PATIENTLY).toBeGreaterThan(before)
  before = generation()
  await one.netlink.routes.add({ dst: '198.51.100.0/24', via: '172.31.0.2', index })
  await expect.poll(generation, PATIENTLY).toBeGreaterThan(before)
})

test('the next agent in another mode translates nothing new; uplinks are looked at until the last flow has ended', async () => {
  const first = await start()
  first.cluster.services.markReady()
  await first.health.whenReady(AbortSignal.timeout(10_000))
  await first.stop()
  rooms = []
  const next = await start({ mode: 'nftables' })
  const { datapath } = next
  expect(datapath.config.has(CONFIG_MASQUERADE)).toBe(false)
  expect(datapath.config.has(CONFIG_TRANSLATED)).toBe(true)
  await next.health.whenReady(AbortSignal.timeout(10_000))
  await expect.poll(() => kept(next, '10.96.0.0/12'), PATIENTLY).toBe(false)
  const eth0 = { name: 'eth0', index: [...datapath.maps.uplinks.keys()][0] ?? 0 }
  const key = { saddr: '10.244.1.5', daddr: '192.0.2.9', sport: 1, dport: 2, proto: 17 }
  const { nowTicks } = await datapath.sweep()
  const way = encodeWay({ kind: 'out', node: eth0.index, generation: 1 })
  const row = {
    ...{ way, sourceIncarnation: 0, targetIncarnation: 0, sourceNode: 0, mtu: 0 },
    ...{ flags: FLOW_SEEN | FLOW_TRANSLATED, seen: nowTicks, created: nowTicks },
    to: { saddr: '172.31.0.1', daddr: '192.0.2.9', sport: 40_000, dport: 2 },
  }
  datapath.maps.flows.set({ ...key, icmpClass: 0 }, row)
  expect(await datapath.sweep()).toMatchObject({ translated: 1 })
  datapath.maps.flows.delete({ ...key, icmpClass: 0 })
  expect(datapath.config.has(CONFIG_TRANSLATED)).toBe(true)
  expect(await datapath.sweep()).toMatchObject({ translated: 0 })
  await expect.poll(() => datapath.config.has(CONFIG_TRANSLATED), PATIENTLY).toBe(false)
  expect(await next.nft()).toContain(TABLE)
  await next.stop()
  rooms = []
  const none = await start({ mode: 'none' })
  await expect.poll(() => none.nft(), PATIENTLY).not.toContain(TABLE)
})
