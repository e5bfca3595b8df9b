// The overlay on a real kernel: what stands after the first pass, what is repaired, what follows nodes and underlay, and pods that talk.
import { execFileSync } from 'node:child_process'
import { IPCACHE_OWN_RANGE, NODE_VALID } from '@sinabro/libbpf-ts/layouts'
import { NetworkNamespace, type RouteNetlink } from '@sinabro/node-netlink'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { OVERLAY_DEVICE } from '../marks.ts'
import { join2, nodeRow, type Running, TestNode } from './testing/nodes.ts'

const never = new AbortController().signal
const both = [nodeRow(1), nodeRow(2)]
let one: TestNode
let two: TestNode
let running: Running[]

beforeEach(async () => {
  one = new TestNode(1)
  two = new TestNode(2)
  running = []
  await join2(one, two)
})

afterEach(async () => {
  for (const agent of running) await agent.stop()
  one.close()
  two.close()
})

async function start(node: TestNode, ...options: Parameters<TestNode['start']>): Promise<Running> {
  const agent = await node.start(...options)
  running.push(agent)
  return agent
}

async function startReady(node: TestNode, ...options: Parameters<TestNode['start']>) {
  const agent = await start(node, ...options)
  await agent.health.whenReady(AbortSignal.timeout(10_000))
  return agent
}

async function kill(agent: Running): Promise<void> {
  running = running.filter((other) => other !== agent)
  await agent.stop()
}

async function device({ netlink }: TestNode) {
  const link = await netlink.links.get({ name: OVERLAY_DEVICE })
  if (link === undefined) return undefined
  const { index } = link
  const global = (a: { readonly address: string }) => !a.address.startsWith('fe80')
  return {
    mac: link.mac,
    mtu: link.mtu,
    isUp: link.isUp,
    alias: link.alias,
    addresses: (await netlink.addresses.list({ index })).filter(global).map((a) => a.address),
    routes: (await routesOf(netlink, index)).sort(),
    neighbours: (await netlink.neighbours.list({ index }))
      .filter(({ state }) => state === 'permanent')
      .map(({ address, mac }) => `${address} ${mac}`)
      .sort(),
  }
}

async function routesOf(netlink: RouteNetlink, index: number): Promise<string[]> {
  const routes = await netlink.routes.list({ protocol: 91, index })
  return routes.map(({ dst, via, prefsrc, mtu }) => `${dst} via ${via} src ${prefsrc} mtu ${mtu}`)
}

const whole = {
  mac: '0e:5b:ac:1f:00:01',
  mtu: 1450,
  isUp: true,
  alias: 'sinabro:overlay',
  addresses: ['10.244.1.1', 'fd00:10:244:1::1'],
  routes: [
    '10.244.2.0/24 via 10.244.2.1 src 10.244.1.1 mtu undefined',
    'fd00:10:244:2::/64 via fd00:10:244:2::1 src fd00:10:244:1::1 mtu undefined',
  ],
  neighbours: ['10.244.2.1 0e:5b:ac:1f:00:02', 'fd00:10:244:2::1 0e:5b:ac:1f:00:02'],
}

function maps({ datapath: { maps } }: Running) {
  return {
    ids: [...maps.nodeIds.entries()].sort(),
    prefixes: [...maps.ipcache.entries()]
      .filter(([, { node }]) => node !== 0)
      .map(([{ addr }, { node }]) => [addr, node])
      .sort(),
    own: [...maps.ipcache.entries()]
      .filter(([, { flags }]) => flags === IPCACHE_OWN_RANGE)
      .map(([{ addr }]) => addr)
      .sort(),
    nodes: [...maps.nodes.entries()].filter(([, { flags }]) => flags === NODE_VALID),
  }
}

test('the first pass leaves device, addresses, routes, neighbours, settings and map rows', async () => {
  const agent = await startReady(one, both)
  expect(await device(one)).toEqual(whole)
  expect(maps(agent)).toEqual({
    ids: [
      ['172.31.0.2', 1],
      ['fd31::2', 1],
    ],
    prefixes: [
      ['10.244.2.0', 1],
      ['fd00:10:244:2::', 1],
    ],
    own: ['10.244.1.0', 'fd00:10:244:1::'],
    nodes: [[1, { tunnel: '172.31.0.2', mac: '0e:5b:ac:1f:00:02', mtu: 1450, flags: NODE_VALID }]],
  })
  expect(agent.datapath.config.value).toMatchObject({
    vni: 1,
    overlayMac: whole.mac,
    tunnelPort: 8472,
    tunnelLocal4: '172.31.0.1',
    tunnelLocal6: '::',
  })
  expect(agent.datapath.config.isReady).toBe(true)
  for (const family of ['ipv4', 'ipv6']) {
    const forwarding = one.netns.readFile(`/proc/sys/net/${family}/conf/all/forwarding`)
    expect(forwarding.trim()).toBe('1')
  }
})

test('a node that is not described yet waits, drops nothing of a running one, and says what for', async () => {
  const agent = await start(one, [nodeRow(2)])
  await expect
    .poll(() => agent.health.snapshot().components.find((c) => c.component === 'overlay'))
    .toMatchObject({ state: 'starting', message: expect.stringContaining('no Node object') })
  expect(await device(one)).toBeUndefined()
  agent.nodes.upsert(nodeRow(1))
  await agent.health.whenReady(AbortSignal.timeout(10_000))
  expect(await device(one)).toEqual(whole)
  agent.nodes.remove('node1')
  await expect.poll(() => agent.health.snapshot().isHealthy).toBe(false)
  expect(await device(one)).toEqual(whole)
})

test.each([
  ['the device', (n: RouteNetlink, index: number) => n.links.del(index)],
  ['a route', (n: RouteNetlink, index: number) => n.routes.del({ dst: '10.244.2.0/24', index })],
  [
    'a neighbour',
    (n: RouteNetlink, index: number) => n.neighbours.del({ index, address: 'fd00:10:244:2::1' }),
  ],
  [
    'an address',
    (n: RouteNetlink, index: number) =>
      n.addresses.del({ index, address: '10.244.1.1', prefixLen: 32 }),
  ],
  ['the MTU', (n: RouteNetlink, index: number) => n.links.set(index, { mtu: 1400 })],
  ['the state', (n: RouteNetlink, index: number) => n.links.set(index, { isUp: false })],
  ['the MAC', (n: RouteNetlink, index: number) => n.links.set(index, { mac: '0e:00:00:00:00:01' })],
])('%s is repaired when somebody changes it', async (_, change) => {
  const agent = await startReady(one, both)
  const link = await one.netlink.links.get({ name: OVERLAY_DEVICE })
  await change(one.netlink, link?.index ?? 0)
  await expect.poll(() => device(one), { timeout: 10_000 }).toEqual(whole)
  const now = await one.netlink.links.get({ name: OVERLAY_DEVICE })
  await expect.poll(() => agent.datapath.config.value.overlayIfindex).toBe(now?.index)
  await expect
    .poll(() => agent.datapath.isOverlayAttached({ name: OVERLAY_DEVICE, index: now?.index ?? 0 }))
    .toBe(true)
})

test('what others have stays: routes with our protocol elsewhere, devices, addresses', async () => {
  const eth0 = await one.netlink.links.get({ name: 'eth0' })
  await one.netlink.routes.add({ dst: '192.0.2.0/24', index: eth0?.index, protocol: 91 })
  await one.netlink.links.add({ kind: 'bridge', name: 'sb-bridge' })
  await startReady(one, both)
  expect(await routesOf(one.netlink, eth0?.index ?? 0)).toHaveLength(1)
  expect(await one.netlink.links.get({ name: 'sb-bridge' })).toBeDefined()
})

test('a stranger’s device of our name is left alone, and said to be in the way', async () => {
  await one.netlink.links.add({ kind: 'bridge', name: OVERLAY_DEVICE, alias: 'mine' })
  const agent = await start(one, both)
  await expect
    .poll(() => agent.overlay.statuses().get('overlay device'))
    .toMatchObject([{ state: 'error', code: 'device-taken' }])
  expect((await one.netlink.links.get({ name: OVERLAY_DEVICE }))?.kind).toBe('bridge')
  expect(agent.health.snapshot().isReady).toBe(false)
})

test('the MTU of the underlay is followed by the device and what new pods get', async () => {
  const agent = await startReady(one, both)
  const eth0 = await one.netlink.links.get({ name: 'eth0' })
  await one.netlink.links.set(eth0?.index ?? 0, { mtu: 1400 })
  await expect.poll(async () => (await device(one))?.mtu).toBe(1350)
  expect(agent.overlay.podMtu()).toBe(1350)
  await expect.poll(() => agent.datapath.maps.nodes.get(1)?.mtu).toBe(1350)
})

test('a peer behind a narrower way gets routes that say so, and its row in the map', async () => {
  const eth0 = await one.netlink.links.get({ name: 'eth0' })
  await one.netlink.routes.add({ dst: '172.31.0.2/32', index: eth0?.index, mtu: 1300 })
  const agent = await startReady(one, both)
  expect((await device(one))?.routes[0]).toContain('mtu 1250')
  expect(agent.datapath.maps.nodes.get(1)?.mtu).toBe(1250)
  expect(agent.overlay.podMtu()).toBe(1450)
})

test('nodes come, change their address, and go; ids are not used again at once', async () => {
  const agent = await startReady(one, both)
  const generation = agent.datapath.config.value.generation
  agent.nodes.upsert(nodeRow(2, { internalIPs: ['172.31.0.9'] }))
  await expect.poll(() => maps(agent).ids).toEqual([['172.31.0.9', 1]])
  expect(maps(agent).nodes).toMatchObject([[1, { tunnel: '172.31.0.9' }]])
  agent.nodes.remove('node2')
  await expect
    .poll(async () => ({ ...maps(agent), routes: (await device(one))?.routes }))
    .toEqual({
      ids: [],
      prefixes: [],
      own: ['10.244.1.0', 'fd00:10:244:1::'],
      nodes: [],
      routes: [],
    })
  agent.nodes.upsert(nodeRow(3))
  await expect
    .poll(() => maps(agent).ids)
    .toEqual([
      ['172.31.0.3', 2],
      ['fd31::3', 2],
    ])
  expect(agent.datapath.config.value.generation).toBe(generation)
})

test('a range that moves to another node makes every flow be judged again', async () => {
  const third = nodeRow(3, { podCIDRs: [] })
  const agent = await startReady(one, [...both, third])
  const generation = agent.datapath.config.value.generation
  agent.nodes.replaceAll([
    nodeRow(1),
    nodeRow(2, { podCIDRs: ['fd00:10:244:2::/64'] }),
    { ...third, podCIDRs: ['10.244.2.0/24'] },
  ])
  await expect
    .poll(() => maps(agent).prefixes)
    .toEqual([
      ['10.244.2.0', 2],
      ['fd00:10:244:2::', 1],
    ])
  expect(agent.datapath.config.value.generation).toBeGreaterThan(generation)
})

test('a restarted agent takes over ids, generation and device as they are', async () => {
  const first = await startReady(one, [...both, nodeRow(3)])
  first.nodes.remove('node2')
  await expect.poll(() => maps(first).nodes.map(([id]) => id)).toEqual([2])
  first.datapath.config.bumpGeneration()
  const before = {
    maps: maps(first),
    config: first.datapath.config.value,
    device: await device(one),
  }
  const index = (await one.netlink.links.get({ name: OVERLAY_DEVICE }))?.index
  await kill(first)
  const next = await startReady(one, [nodeRow(1), nodeRow(3)])
  expect({
    maps: maps(next),
    config: next.datapath.config.value,
    device: await device(one),
  }).toEqual(before)
  expect((await one.netlink.links.get({ name: OVERLAY_DEVICE }))?.index).toBe(index)
  next.nodes.upsert(nodeRow(4))
  await expect.poll(() => maps(next).nodes.map(([id]) => id)).toEqual([2, 3])
})

test('what nodes left behind while no agent ran goes with the next start', async () => {
  const first = await startReady(one, [...both, nodeRow(3)])
  await kill(first)
  const next = await startReady(one, both)
  await expect.poll(() => maps(next).nodes.map(([id]) => id)).toEqual([1])
  await expect.poll(async () => (await device(one))?.routes).toEqual(whole.routes)
})

test.each([4, 6] as const)(
  'pods of two nodes talk through a tunnel over IPv%i',
  async (tunnelFamily) => {
    const [a, b] = await Promise.all([
      addPod(one, await startReady(one, both, { tunnelFamily }), 'a'),
      addPod(two, await startReady(two, both, { tunnelFamily }), 'b'),
    ])
    for (const address of ['10.244.2.9', 'fd00:10:244:2::9']) ping(a, address)
    for (const address of ['10.244.1.9', 'fd00:10:244:1::9']) ping(b, address)
    // Node to pod of the other node, and a packet as large as the tunnel carries but not larger.
    for (const address of ['10.244.2.9', 'fd00:10:244:2::9']) ping(one.netns, address)
    const room = tunnelFamily === 4 ? 1450 : 1430
    ping(a, '10.244.2.9', ['-M', 'do', '-s', String(room - 28)])
    expect(() => ping(a, '10.244.2.9', ['-M', 'do', '-s', String(room - 27)])).toThrow()
  },
)

async function addPod(node: TestNode, agent: Running, name: string): Promise<NetworkNamespace> {
  const netns = NetworkNamespace.create()
  await agent.pods.add(
    {
      key: { network: 'sinabro', containerId: name, ifname: 'eth0' },
      netns: `/proc/${process.pid}/fd/${netns.fd}`,
      addresses: [`10.244.${node.number}.9`, `fd00:10:244:${node.number}::9`],
      endpointId: 1,
      incarnation: 1,
      hostDevice: 'sbaaaaaaaaaaaaa',
      createdAt: '',
    },
    netns,
    never,
  )
  return netns
}

function ping(from: NetworkNamespace, address: string, more: readonly string[] = []): void {
  const enter = [`--net=/proc/${process.pid}/fd/${from.fd}`, 'ping']
  execFileSync('nsenter', [...enter, '-c', '1', '-W', '2', '-q', ...more, address], {
    stdio: 'pipe',
  })
}
