// Uplinks on a real kernel: which devices are found, what hangs on them, what follows changes, and what comes past the tunnel.
import { execFileSync } from 'node:child_process'
import type { NetworkNamespace } from '@sinabro/node-netlink'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { join2, nodeRow, type Running, type StartOptions, TestNode } from './testing/nodes.ts'
import { isL3 } from './uplinks.ts'

const both = [nodeRow(1), nodeRow(2)]
const PATIENTLY = { timeout: 10_000 }
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

async function start(node: TestNode, options: StartOptions = {}): Promise<Running> {
  const agent = await node.start(both, options)
  running.push(agent)
  await agent.health.whenReady(AbortSignal.timeout(10_000))
  return agent
}

async function addBridge(name: string): Promise<number> {
  await one.netlink.links.add({ kind: 'bridge', name, isUp: true })
  return (await one.netlink.links.get({ name }))?.index ?? 0
}

/** Names of the devices that the present program hangs on. */
async function attached({ datapath }: Running): Promise<string[]> {
  const names: string[] = []
  for (const link of await one.netlink.links.list()) {
    if (await datapath.isUplinkAttached({ ...link, isL3: isL3(link) })) names.push(link.name)
  }
  return names.sort()
}

describe.each(['auto', 'clsact'] as const)('attached by %s', (attach) => {
  test('devices with an InternalIP or a default route are uplinks, as long as they have one', async () => {
    await addBridge('br0.7')
    const agent = await start(one, { attach })
    expect(await attached(agent)).toEqual(['eth0'])
    const index = (await one.netlink.links.get({ name: 'br0.7' }))?.index ?? 0
    const route = { dst: 'default', family: 4, index } as const
    await one.netlink.routes.add(route)
    await expect.poll(() => attached(agent)).toEqual(['br0.7', 'eth0'])
    await one.netlink.routes.del(route)
    await expect.poll(() => attached(agent)).toEqual(['eth0'])
  })

  test('those that are named are uplinks, and no others; one that is missing is said to be', async () => {
    await addBridge('br0')
    const agent = await start(one, { attach, uplinks: ['br0', 'eth7'] })
    expect(await attached(agent)).toEqual(['br0'])
    expect(agent.overlay.problems()).toMatchObject([
      { node: 'node1', code: 'uplink', message: expect.stringContaining('eth7') },
    ])
    await addBridge('eth7')
    await expect.poll(() => attached(agent)).toEqual(['br0', 'eth7'])
    expect(agent.overlay.problems()).toEqual([])
  })

  test('the next agent takes over, also what is no uplink any more', async () => {
    await addBridge('br0')
    const first = await start(one, { attach, uplinks: ['br0'] })
    await first.stop()
    running = []
    const next = await start(one, { attach })
    await expect.poll(() => attached(next)).toEqual(['eth0'])
    const br0 = await one.netlink.links.get({ name: 'br0' })
    expect(br0 && (await next.datapath.hasUplinkProgram(br0))).toBe(false)
  })

  test('a device that goes takes its pin with it', async () => {
    const index = await addBridge('br0')
    const agent = await start(one, { attach, uplinks: ['br0', 'eth0'] })
    await one.netlink.links.del(index)
    await expect.poll(() => agent.datapath.pinnedUplinks()).not.toContain('br0')
    expect(await attached(agent)).toEqual(['eth0'])
  })
})

test('a device without an Ethernet header is an uplink too, with programs of its own', async () => {
  inside(one.netns, 'ip', 'tuntap', 'add', 'tun0', 'mode', 'tun')
  inside(one.netns, 'ip', 'link', 'set', 'tun0', 'up', 'mtu', '1400')
  const agent = await start(one, { uplinks: ['eth0', 'tun0'] })
  expect(await attached(agent)).toEqual(['eth0', 'tun0'])
  expect(agent.overlay.uplinks()).toMatchObject([
    { name: 'eth0', isL3: false, mtu: 1500 },
    { name: 'tun0', isL3: true, mtu: 1400 },
  ])
  expect(agent.overlay.problems()).toEqual([])
  const { index = 0 } = (await one.netlink.links.get({ name: 'tun0' })) ?? {}
  expect(await agent.datapath.isUplinkAttached({ name: 'tun0', index })).toBe(false)
})

test.each(['auto', 'clsact'] as const)(
  'by %s: what masquerades hangs on the way out too, until the next agent does not',
  async (attach) => {
    const first = await start(one, { attach, isMasquerading: true })
    const device = { name: 'eth0', index: 0 }
    device.index = (await one.netlink.links.get({ name: 'eth0' }))?.index ?? 0
    expect(await first.datapath.isUplinkAttached(device)).toBe(true)
    await first.stop()
    running = []
    const next = await start(one, { attach })
    await expect.poll(() => next.datapath.isUplinkAttached(device)).toBe(true)
    await next.datapath.detachUplink(device)
    expect(await next.datapath.hasUplinkProgram(device)).toBe(false)
  },
)

test('what an uplink says of itself is followed: addresses, MTU, being up, and routes that move', async () => {
  const agent = await start(one)
  const eth0 = () => agent.overlay.uplinks()[0]
  const { index = 0 } = eth0() ?? {}
  expect(eth0()).toMatchObject({ source4: '172.31.0.1', source6: 'fd31::1', mtu: 1500, isUp: true })
  await one.netlink.addresses.del({ index, address: '172.31.0.1', prefixLen: 24 })
  await one.netlink.addresses.replace({ index, address: '172.31.0.9', prefixLen: 24 })
  await expect.poll(() => eth0()?.source4, PATIENTLY).toBe('172.31.0.9')
  await one.netlink.links.set(index, { mtu: 1480 })
  await expect.poll(() => eth0()?.mtu, PATIENTLY).toBe(1480)
  const { moves } = agent.overlay.uplinkSource
  await one.netlink.routes.add({ dst: '198.51.100.0/24', via: '172.31.0.2', index })
  await expect.poll(() => agent.overlay.uplinkSource.moves, PATIENTLY).toBe(moves + 1)
  await one.netlink.routes.add({ dst: '198.51.100.0/25', index, table: 7 })
  await expect.poll(() => agent.overlay.uplinkSource.moves, PATIENTLY).toBe(moves + 2)
  await one.netlink.links.set(index, { isUp: false })
  await expect.poll(() => agent.overlay.uplinkSource.moves, PATIENTLY).toBeGreaterThan(moves + 2)
})

test('a filter that somebody takes away comes back', async () => {
  const agent = await start(one, { attach: 'clsact' })
  const index = (await one.netlink.links.get({ name: 'eth0' }))?.index ?? 0
  await one.netlink.filters.del({ index, parent: 'ingress', priority: 91, handle: 0x5b })
  await expect.poll(() => attached(agent), { timeout: 10_000 }).toEqual(['eth0'])
})

test.each([
  ['IPv4', '10.244.2.77', '172.31.0.1'],
  ['IPv6', 'fd00:10:244:2::77', 'fd31::1'],
])(
  '%s: what comes past the tunnel in a pod’s name is dropped, and counted',
  async (_, source, target) => {
    const agent = await start(one)
    inside(two.netns, 'ip', 'link', 'set', 'lo', 'up')
    inside(two.netns, 'ip', 'address', 'add', source, 'dev', 'lo')
    const ping = ['ping', '-q', '-c', '1', '-w']
    inside(two.netns, ...ping, '5', target)
    expect(() => inside(two.netns, ...ping, '1', '-I', source, target)).toThrow()
    const dropped = () =>
      agent.datapath
        .counters()
        .find((row) => row.place === 'from_uplink' && row.outcome.symbol === 'DROP_NATIVE_SOURCE')
    expect(dropped()?.packets).toBeGreaterThanOrEqual(1n)
    inside(two.netns, ...ping, '5', target)
  },
)

function inside({ fd }: NetworkNamespace, ...command: string[]): void {
  execFileSync('nsenter', [`--net=/proc/${process.pid}/fd/${fd}`, ...command], { stdio: 'pipe' })
}
