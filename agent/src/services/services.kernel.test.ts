// The room on a real kernel: what the maps say before the programs' part is turned on, what a restart keeps, and what is left when it is turned off.
import {
  CONFIG_MAGLEV,
  CONFIG_SERVICES,
  CONFIG_TRANSLATED,
  encodeWay,
  FLOW_OPENER,
  FLOW_SEEN,
  FLOW_SERVICE,
  FLOW_TRANSLATED,
  IPCACHE_SERVICES,
  IPCACHE_STACK,
} from '@sinabro/libbpf-ts/layouts'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Cluster, createCluster } from '../cluster/cluster.ts'
import type { NodeRow } from '../cluster/rows.ts'
import { DatapathError } from '../datapath/error.ts'
import { createNft, type Nft } from '../masquerade/nft.ts'
import { parseKey } from '../overlay/prefix.ts'
import { join2, nodeRow, type Running, TestNode } from '../overlay/testing/nodes.ts'
import { systemClock } from '../runtime/clock.ts'
import { Jobs } from '../runtime/jobs.ts'
import { silentLog } from '../runtime/log.ts'
import { Table } from '../state/table.ts'
import type { ServiceRows } from './rows.ts'
import { createServices, type Services, type ServicesDeps } from './services.ts'
import { backendAt, serviceAt } from './testing/world.ts'

const TABLE = 'sb_test_services'
const SCTP_TABLE = 'sb_test_sctp'
const PATIENTLY = { timeout: 10_000 }
let one: TestNode
let two: TestNode
let rooms: Rooms[]

interface Rooms extends Running {
  readonly services: Services
  readonly cluster: Cluster
  readonly rows: Table<ServiceRows>
  /** What was done to sockets, with whether packets were served by then. */
  readonly sockets: string[]
  nft(...args: string[]): Promise<string>
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

const nftOfOne = (): Nft => createNft(['nsenter', `--net=/proc/${process.pid}/fd/${one.netns.fd}`])

async function start(change: Partial<ServicesDeps> = {}): Promise<Rooms> {
  const { mode = 'ebpf' } = change
  const servicesMax = mode === 'ebpf' ? 1024 : undefined
  const running = await one.start([nodeRow(1), nodeRow(2)], { servicesMax })
  const { overlay, datapath, health, nodes, pods } = running
  const cluster = createCluster()
  cluster.serviceCIDRs.markReady()
  const rows = new Table<ServiceRows>('Service rows', ({ key }) => key)
  const common = { log: silentLog, clock: systemClock, health }
  const jobs = new Jobs(common)
  const nft = nftOfOne()
  const sockets: string[] = []
  const note = async (what: string): Promise<void> => {
    sockets.push(`${what} ${datapath.config.has(CONFIG_SERVICES)}`)
  }
  const services = createServices({
    ...{ mode, rows, sources: [], slices: cluster.endpointSlices, nodes, nodeName: 'node1' },
    ...{ nodePortAddresses: 'primary', forwarding: 'snat', serviceCIDRs: ['10.96.0.0/12'] },
    ranges: cluster.serviceCIDRs,
    ownAddresses: () => overlay.plan().self?.ownAddresses,
    isLending: false,
    sockets: {
      attachSockets: () => note('attached'),
      areSocketsAttached: () => sockets.at(-1)?.startsWith('attached') === true,
      detachSockets: () => note('detached'),
      hostNetnsCookie: () => 77n,
    },
    attached: () => pods.settled(),
    ...{ datapath, netlink: one.netlink, hostNamespace: one.netns, table: TABLE, nft },
    sctpTable: SCTP_TABLE,
    ...common,
    refreshMs: 300,
    ...change,
  })
  services.start(jobs)
  const all: Rooms = {
    ...running,
    ...{ services, cluster, rows, sockets },
    nft: (...args) => nft(args, '', AbortSignal.timeout(5000)),
    async stop() {
      await jobs.stop()
      await running.stop()
    },
  }
  rooms.push(all)
  return all
}

const range = ({ datapath }: Rooms, prefix: string): number | undefined =>
  datapath.maps.ipcache.get(parseKey(prefix))?.flags

test('packets are served only when every map says everything, and sockets only then', async () => {
  const room = await start()
  const { rows, cluster, datapath, health, services } = room
  rows.upsert(serviceAt(1, [backendAt(1)]))
  cluster.serviceCIDRs.upsert({ name: 'more', cidrs: ['fd96::/112'] })
  await expect.poll(() => range(room, 'fd96::/112'), PATIENTLY).toBe(IPCACHE_SERVICES)
  expect(health.snapshot().isReady).toBe(false)
  expect([...datapath.maps.services.keys()]).toEqual([])
  expect(datapath.config.has(CONFIG_SERVICES)).toBe(false)
  expect(services.lag.now).toMatchObject({ waitingMs: expect.any(Number) })
  const { generation } = datapath.config.value
  rows.markReady()
  await health.whenReady(AbortSignal.timeout(10_000))
  expect(datapath.config.has(CONFIG_SERVICES)).toBe(true)
  expect(datapath.config.has(CONFIG_TRANSLATED)).toBe(true)
  expect(datapath.config.value.generation).toBeGreaterThan(generation)
  expect(room.sockets).toEqual(['attached true'])
  expect(range(room, '10.96.0.0/12')).toBe(IPCACHE_SERVICES)
  expect(datapath.maps.serviceConfig.get(0)).toEqual({
    hostNetns: 77n,
    source4: '10.244.1.1',
    source6: 'fd00:10:244:1::1',
  })
  expect(Object.fromEntries(datapath.maps.nodeAddrs.entries())).toMatchObject({
    '172.31.0.1': 3,
    'fd31::1': 3,
    '10.244.1.1': 2,
  })
  expect(await room.nft('list', 'table', 'inet', TABLE)).toContain('reject with tcp reset')
  expect(services.state()).toMatchObject({ isServing: true, services: 1, backends: 1, failed: 0 })
})

test('an address that comes to the node or goes is in the map or not', async () => {
  const room = await start({ nodePortAddresses: ['192.0.2.0/24', '2001:db8::/64'] })
  room.rows.markReady()
  const { nodeAddrs } = room.datapath.maps
  await expect.poll(() => nodeAddrs.get('172.31.0.1'), PATIENTLY).toBe(2)
  const index = (await one.netlink.links.get({ name: 'eth0' }))?.index ?? 0
  const address = { index, address: '192.0.2.7', prefixLen: 24 }
  await one.netlink.addresses.replace(address)
  await expect.poll(() => nodeAddrs.get('192.0.2.7'), PATIENTLY).toBe(3)
  await one.netlink.addresses.del(address)
  await expect.poll(() => nodeAddrs.get('192.0.2.7'), PATIENTLY).toBe(undefined)
})

test('after a restart old rows serve until everything is known again, then what is not asked for goes', async () => {
  const first = await start()
  for (const n of [1, 2]) first.rows.upsert(serviceAt(n, [backendAt(n)]))
  first.rows.markReady()
  await first.health.whenReady(AbortSignal.timeout(10_000))
  const before = new Map(first.datapath.maps.services.entries())
  await first.stop()
  rooms.pop()

  const next = await start()
  next.rows.upsert(serviceAt(1, [backendAt(1)]))
  await expect.poll(() => next.datapath.maps.nodeAddrs.get('172.31.0.1'), PATIENTLY).toBe(3)
  expect(new Map(next.datapath.maps.services.entries())).toEqual(before)
  expect(next.datapath.config.has(CONFIG_SERVICES)).toBe(true)
  expect(next.sockets).toEqual([])
  expect(next.services.lag.now).toEqual({})
  next.rows.markReady()
  await expect.poll(() => next.sockets, PATIENTLY).toEqual(['attached true'])
  await expect
    .poll(() => [...next.datapath.maps.services.keys()].map(({ addr }) => addr), PATIENTLY)
    .toEqual(['10.96.0.1', '10.96.0.1'])
  for (const [key, row] of next.datapath.maps.services.entries()) {
    expect(
      [...before].find(([one]) => one.port === key.port && one.addr === key.addr)?.[1],
    ).toEqual(row)
  }
})

test('node ports stay at its addresses until the next agent knows its own node', async () => {
  const first = await start()
  first.rows.markReady()
  await first.health.whenReady(AbortSignal.timeout(10_000))
  await first.stop()
  rooms.pop()

  const nodes = new Table<NodeRow>('nodes', ({ name }) => name)
  const next = await start({ nodes })
  const { nodeAddrs } = next.datapath.maps
  // Ranges are looked at beside the addresses.
  for (const cidr of ['fd96::/112', 'fd97::/112', 'fd98::/112']) {
    next.cluster.serviceCIDRs.upsert({ name: cidr.slice(0, 4), cidrs: [cidr] })
    await expect.poll(() => range(next, cidr), PATIENTLY).toBe(IPCACHE_SERVICES)
    expect(nodeAddrs.get('172.31.0.1')).toBe(3)
  }
  nodes.upsert(nodeRow(1))
  nodes.markReady()
  next.rows.markReady()
  await expect.poll(() => next.sockets, PATIENTLY).toEqual(['attached true'])
  expect(nodeAddrs.get('172.31.0.1')).toBe(3)
})

test('node ports stay while the own Node object is deleted and not back, also over a restart, at addresses that are still there', async () => {
  const nodes = new Table<NodeRow>('nodes', ({ name }) => name)
  nodes.upsert(nodeRow(1))
  nodes.markReady()
  const first = await start({ nodes })
  first.rows.markReady()
  await first.health.whenReady(AbortSignal.timeout(10_000))
  const see = async (room: Rooms, cidr: string): Promise<void> => {
    room.cluster.serviceCIDRs.upsert({ name: cidr.slice(0, 4), cidrs: [cidr] })
    await expect.poll(() => range(room, cidr), PATIENTLY).toBe(IPCACHE_SERVICES)
  }
  nodes.remove('node1')
  // A pass over node addresses has been, as one over the ranges that came after it.
  for (const cidr of ['fd96::/112', 'fd97::/112']) await see(first, cidr)
  expect(first.datapath.maps.nodeAddrs.get('172.31.0.1')).toBe(3)
  await first.stop()
  rooms.pop()

  const next = await start({ nodes })
  next.rows.markReady()
  const index = (await one.netlink.links.get({ name: 'eth0' }))?.index ?? 0
  const { nodeAddrs } = next.datapath.maps
  await one.netlink.addresses.replace({ index, address: '192.0.2.7', prefixLen: 24 })
  await expect.poll(() => nodeAddrs.get('192.0.2.7'), PATIENTLY).toBe(2)
  expect(nodeAddrs.get('172.31.0.1')).toBe(3)
  await one.netlink.addresses.del({ index, address: '192.0.2.7', prefixLen: 24 })
  nodes.upsert({ ...nodeRow(1), internalIPs: ['fd31::1'] })
  await expect.poll(() => nodeAddrs.get('172.31.0.1'), PATIENTLY).toBe(2)
})

test('rules of SCTP Services stay until the next agent knows all Services', async () => {
  const sctp = serviceAt(1, [backendAt(1)], { protocol: 'SCTP' })
  const first = await start()
  first.rows.upsert(sctp)
  first.rows.markReady()
  await first.health.whenReady(AbortSignal.timeout(10_000))
  await first.stop()
  rooms.pop()

  const calls: string[] = []
  const run = nftOfOne()
  const next = await start({
    nft: (args, ...rest) => {
      calls.push(args.includes('-f') ? 'write' : 'look')
      return run(args, ...rest)
    },
  })
  // Two passes over the rules.
  await expect.poll(() => calls.length, PATIENTLY).toBeGreaterThan(4)
  expect(calls).not.toContain('write')
  expect(await run(['list', 'table', 'inet', SCTP_TABLE], '', AbortSignal.timeout(5000))).toContain(
    'sctp',
  )
  next.rows.upsert(sctp)
  next.rows.markReady()
  await expect.poll(() => calls, PATIENTLY).toContain('write')
  expect(await next.nft('list', 'table', 'inet', SCTP_TABLE)).toContain('sctp')
  next.rows.remove(sctp.key)
  await expect.poll(() => next.nft('list', 'tables'), PATIENTLY).not.toContain(SCTP_TABLE)
  expect(await next.nft('list', 'table', 'inet', TABLE)).toContain('reject with tcp reset')
})

test('rules for SCTP that nft refuses leave the answers to nobody’s services alone, and are named', async () => {
  const run = nftOfOne()
  const room = await start({
    nft: (args, script = '', ...rest) => {
      if (script.includes(SCTP_TABLE)) return Promise.reject(new Error('conflicting intervals'))
      return run(args, script, ...rest)
    },
  })
  room.rows.upsert(serviceAt(1, [backendAt(1)], { protocol: 'SCTP' }))
  room.rows.markReady()
  const sctp = () => room.services.statuses().get('SCTP rules')
  await expect
    .poll(sctp, PATIENTLY)
    .toMatchObject([{ state: 'error', message: 'conflicting intervals' }])
  await room.health.whenReady(AbortSignal.timeout(10_000))
  expect(await room.nft('list', 'table', 'inet', TABLE)).toContain('reject with tcp reset')
  const waiting = room.services.whenWritten('shop/s1', AbortSignal.timeout(10_000))
  await expect(waiting).rejects.toThrow('SCTP rules: conflicting intervals')
})

test('after a restart all is served by our programs, and ready said, only with the sockets', async () => {
  const first = await start()
  first.rows.markReady()
  await first.health.whenReady(AbortSignal.timeout(10_000))
  expect(first.services.programs.servesAll()).toBe(true)
  await first.stop()
  rooms.pop()

  const attached = Promise.withResolvers<void>()
  let areAttached = false
  const next = await start({
    sockets: {
      attachSockets: () => attached.promise,
      areSocketsAttached: () => areAttached,
      detachSockets: async () => undefined,
      hostNetnsCookie: () => 77n,
    },
  })
  const states = () =>
    next.health.snapshot().components.map(({ component, state }) => `${component}: ${state}`)
  next.rows.markReady()
  await expect.poll(states, PATIENTLY).toContain('services: ok')
  expect(states()).toContain('service programs: starting')
  expect(next.services.state().isServing).toBe(true)
  expect(next.services.programs.servesAll()).toBe(false)
  areAttached = true
  attached.resolve()
  await next.health.whenReady(AbortSignal.timeout(10_000))
  expect(states()).toContain('service programs: ok')
  expect(next.services.programs.servesAll()).toBe(true)
})

test('without sockets all is served by packets, and said what the node’s own processes lack; later with them', async () => {
  const missing = new DatapathError('cgroup', 'no cgroup2 is mounted: mount it')
  let attach = (): Promise<void> => Promise.reject(missing)
  let areAttached = false
  const room = await start({
    sockets: {
      attachSockets: () => attach(),
      areSocketsAttached: () => {
        if (!areAttached) throw missing
        return true
      },
      detachSockets: async () => undefined,
      hostNetnsCookie: () => 77n,
    },
  })
  const programs = () =>
    room.health.snapshot().components.find(({ component }) => component === 'service programs')
  room.rows.markReady()
  await room.health.whenReady(AbortSignal.timeout(10_000))
  expect(room.datapath.config.has(CONFIG_SERVICES)).toBe(true)
  expect(programs()).toMatchObject({
    state: 'degraded',
    message: expect.stringMatching(/^Services are served for pods.*: no cgroup2 is mounted/),
  })
  expect(room.services.state()).toMatchObject({ isServing: true, isByPacketsAlone: true })
  expect(room.services.programs.servesAll()).toBe(false)
  areAttached = true
  attach = async () => undefined
  await expect.poll(() => programs()?.state, PATIENTLY).toBe('ok')
  expect(room.services.programs.servesAll()).toBe(true)
})

test('changes that never end are late only by the oldest that is not written', async () => {
  const all = new Table<ServiceRows>('Service rows', ({ key }) => key)
  const waited: number[] = []
  let writes = 0
  // Each write takes a second, and with it comes the next change.
  const monotonicMs = (): number => systemClock.monotonicMs() + writes * 1000
  const crashPoint = (): void => {
    writes++
    waited.push(room.services.lag.now.waitingMs ?? 0)
    if (writes < 300) all.upsert(serviceAt(1, [backendAt(writes)]))
  }
  const room = await start({ clock: { ...systemClock, monotonicMs }, crashPoint, rows: all })
  all.upsert(serviceAt(1, [backendAt(1)]))
  all.markReady()
  await expect.poll(() => writes, PATIENTLY).toBeGreaterThan(300)
  expect(Math.max(...waited)).toBeGreaterThan(1000)
  expect(Math.max(...waited)).toBeLessThan(60_000)
  await expect.poll(() => room.services.lag.now.waitingMs, PATIENTLY).toBe(undefined)
  expect(room.services.state()).toMatchObject({ services: 1, backends: 1, failed: 0 })
})

test('turned off, nothing is left but flows that are translated', async () => {
  const on = await start()
  on.rows.upsert(serviceAt(1, [backendAt(1)]))
  on.rows.markReady()
  await on.health.whenReady(AbortSignal.timeout(10_000))
  await on.stop()
  rooms.pop()
  const off = await start({ mode: 'none' })
  expect(off.datapath.config.has(CONFIG_SERVICES)).toBe(false)
  await expect.poll(() => range(off, '10.96.0.0/12'), PATIENTLY).toBe(undefined)
  await expect.poll(() => off.sockets, PATIENTLY).toEqual(['detached false'])
  const { services, slots, backends, nodeAddrs } = off.datapath.maps
  for (const map of [services, slots, backends, nodeAddrs]) {
    await expect.poll(() => [...map.map.keys()].length, PATIENTLY).toBe(0)
  }
  await expect.poll(() => off.nft('list', 'tables'), PATIENTLY).not.toContain(TABLE)
  expect(off.datapath.config.has(CONFIG_TRANSLATED)).toBe(true)
  expect(off.services.state()).toMatchObject({ mode: 'none', isServing: false, services: 0 })
})

test('a hashed Service has a table, which goes with it, and programs look for one only then', async () => {
  const room = await start()
  const { rows, services, datapath } = room
  const nodePort = { kind: 'NodePort', address: '0.0.0.0', port: 30_080 } as const
  rows.upsert(serviceAt(1, [backendAt(1), backendAt(2)], {}, [nodePort]))
  rows.markReady()
  await room.health.whenReady(AbortSignal.timeout(10_000))
  expect(datapath.config.has(CONFIG_MAGLEV)).toBe(false)
  rows.upsert(serviceAt(1, [backendAt(1), backendAt(2)], { isHashed: true }, [nodePort]))
  await expect.poll(() => services.state().tables, PATIENTLY).toBe(1)
  expect(datapath.config.has(CONFIG_MAGLEV)).toBe(true)
  expect([...datapath.maps.maglev.keys()]).toHaveLength(1)
  await room.stop()
  rooms.pop()
  const again = await start()
  expect([...again.datapath.maps.maglev.keys()]).toHaveLength(1)
  again.rows.upsert(serviceAt(2, [backendAt(1)]))
  again.rows.markReady()
  await expect.poll(() => [...again.datapath.maps.maglev.keys()].length, PATIENTLY).toBe(0)
  await expect.poll(() => again.datapath.config.has(CONFIG_MAGLEV), PATIENTLY).toBe(false)
  expect(again.services.problems()).toEqual([])
})

test('a service range that masquerading left to the kernel becomes ours, and one of pods does not', async () => {
  const room = await start({ serviceCIDRs: ['10.96.0.0/12', '10.244.2.0/24'] })
  const { ipcache } = room.datapath.maps
  ipcache.set(parseKey('10.96.0.0/12'), { node: 0, identity: 0, flags: IPCACHE_STACK })
  room.rows.markReady()
  await expect.poll(() => range(room, '10.96.0.0/12'), PATIENTLY).toBe(IPCACHE_SERVICES)
  await expect
    .poll(() => room.services.statuses().get('service ranges'), PATIENTLY)
    .toContainEqual(expect.objectContaining({ key: '10.244.2.0/24', state: 'error' }))
})

test('flows of datagrams move as soon as their backend or their port is gone, a pod’s and those from outside', async () => {
  const room = await start()
  const { rows, health, datapath } = room
  const udp = (n: number, backend: number) =>
    serviceAt(n, [backendAt(backend)], { protocol: 'UDP' })
  for (const n of [1, 2, 3, 4]) rows.upsert(udp(n, n))
  rows.markReady()
  await health.whenReady(AbortSignal.timeout(10_000))
  const device = { ifindex: 1, id: 1, podMac: '02:00:00:00:00:01', hostMac: '02:00:00:00:00:02' }
  const pod = { ...device, incarnation: 9, mtu: 1450, isNetkit: false, isShaped: false }
  datapath.setEndpoint('10.244.1.77', pod)
  const jobs = new Jobs({ log: silentLog, clock: systemClock, health })
  datapath.start(jobs)
  // The next one that nobody asks for comes 30 s after it.
  await expect.poll(() => datapath.lastSweep, PATIENTLY).toBeDefined()
  const { nowTicks = 0 } = datapath.lastSweep ?? {}
  const { flows } = datapath.maps
  for (const n of [1, 2, 3, 4]) {
    for (const saddr of ['10.244.1.77', '203.0.113.9']) {
      const key = { saddr, daddr: `10.96.0.${n}`, sport: 4000, dport: 80, proto: 17, icmpClass: 0 }
      flows.set(key, {
        way: encodeWay({ kind: 'stack', node: 0, generation: 1 }),
        sourceIncarnation: saddr.startsWith('10.') ? 9 : 0,
        ...{ targetIncarnation: 0, sourceNode: 0, mtu: 0, created: nowTicks, seen: nowTicks },
        flags: FLOW_SEEN | FLOW_OPENER | FLOW_SERVICE | FLOW_TRANSLATED,
        to: { saddr, daddr: backendAt(n).address, sport: 4000, dport: 8080 },
      })
    }
  }
  const asked = () => [...flows.keys()].map(({ daddr }) => daddr).sort()
  rows.upsert(udp(1, 10))
  const others = ['10.96.0.2', '10.96.0.3', '10.96.0.4']
  await expect.poll(asked, PATIENTLY).toEqual(others.flatMap((one) => [one, one]))
  rows.remove(udp(2, 2).key)
  await expect.poll(asked, PATIENTLY).toEqual(['10.96.0.3', '10.96.0.3', '10.96.0.4', '10.96.0.4'])
  rows.upsert(udp(3, 10))
  await expect.poll(asked, PATIENTLY).toEqual(['10.96.0.4', '10.96.0.4'])
  await jobs.stop()
})
