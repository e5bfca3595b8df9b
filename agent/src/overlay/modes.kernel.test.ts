// Modes kernel and none on a real kernel: what stands, what is repaired, what follows nodes, and what a change of mode leaves behind.
import {
  CONFIG_NATIVE,
  CONFIG_TUNNEL_IPV6,
  NODE_ON_UPLINK,
  NODE_TAKES_DSR,
  NODE_VALID,
} from '@sinabro/libbpf-ts/layouts'
import type { RouteNetlink } from '@sinabro/node-netlink'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WAY_FLAGS } from '../datapath/config-row.ts'
import { OVERLAY_ALIAS, OVERLAY_DEVICE, OWN_DEVICE } from '../marks.ts'
import { DSR_ANNOTATION, DSR_TAKEN } from './compute.ts'
import type { TunnelMode } from './rows.ts'
import { join2, nodeRow, type Running, type StartOptions, TestNode } from './testing/nodes.ts'

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

async function start(...options: Parameters<TestNode['start']>): Promise<Running> {
  const agent = await one.start(...options)
  running.push(agent)
  await agent.health.whenReady(AbortSignal.timeout(10_000))
  return agent
}

async function change(tunnel: TunnelMode, rows = both): Promise<Running> {
  for (const agent of running) await agent.stop()
  running = []
  return start(rows, { tunnel })
}

async function linkOf(index: number) {
  return await one.netlink.links.get(index)
}

async function indexOf(name: string): Promise<number> {
  return (await one.netlink.links.get({ name }))?.index ?? 0
}

/** All of ours but pods', in words. */
async function whole() {
  const { netlink } = one
  const links = await netlink.links.list()
  const names = new Map(links.map(({ index, name }) => [index, name]))
  const ours = links.filter(({ alias }) => alias === OVERLAY_ALIAS)
  const neighbours = await Promise.all(ours.map(({ index }) => netlink.neighbours.list({ index })))
  const fdb = await Promise.all(ours.map(({ index }) => netlink.fdb.list({ index })))
  const addresses = await Promise.all(ours.map(({ index }) => netlink.addresses.list({ index })))
  return {
    devices: ours.map(
      ({ name, kind, isUp, mtu }) => `${name} ${kind} ${isUp ? 'up' : 'down'} ${mtu}`,
    ),
    addresses: addresses.flat().map(({ address }) => address),
    routes: (await netlink.routes.list({ protocol: 91 }))
      .map(({ type, dst, via, index = 0, prefsrc }) =>
        type === 'unicast'
          ? `${dst} via ${via} ${names.get(index)} src ${prefsrc}`
          : `${type} ${dst}`,
      )
      .sort(),
    neighbours: neighbours
      .flat()
      .filter(({ state }) => state === 'permanent')
      .map(({ address, mac }) => `${address} ${mac}`)
      .sort(),
    fdb: fdb
      .flat()
      .filter(({ dst }) => dst !== undefined)
      .map(({ mac, dst }) => `${mac} ${dst}`),
  }
}

const vacant = ['unreachable 10.244.1.0/24', 'unreachable fd00:10:244:1::/64']
const addresses = ['10.244.1.1', 'fd00:10:244:1::1']
const mac2 = '0e:5b:ac:1f:00:02'
const tunnelled = {
  devices: [`${OVERLAY_DEVICE} vxlan up 1450`],
  addresses,
  routes: [
    `10.244.2.0/24 via 10.244.2.1 ${OVERLAY_DEVICE} src 10.244.1.1`,
    `fd00:10:244:2::/64 via fd00:10:244:2::1 ${OVERLAY_DEVICE} src fd00:10:244:1::1`,
    ...vacant,
  ],
  neighbours: [`10.244.2.1 ${mac2}`, `fd00:10:244:2::1 ${mac2}`],
}
const expected = {
  bpf: { ...tunnelled, fdb: [] },
  kernel: { ...tunnelled, fdb: [`${mac2} 172.31.0.2`] },
  none: {
    devices: [`${OWN_DEVICE} bridge up 1500`],
    addresses,
    routes: [
      '10.244.2.0/24 via 172.31.0.2 eth0 src 10.244.1.1',
      'fd00:10:244:2::/64 via fd31::2 eth0 src fd00:10:244:1::1',
      ...vacant,
    ],
    neighbours: [],
    fdb: [],
  },
} as const

describe.each(['kernel', 'none'] as const)('mode %s', (tunnel) => {
  test('the first pass leaves what it needs, and no program on the device', async () => {
    const agent = await start(both, { tunnel })
    expect(await whole()).toEqual(expected[tunnel])
    const device = { name: OVERLAY_DEVICE, index: await indexOf(OVERLAY_DEVICE) }
    if (device.index !== 0) expect(await agent.datapath.isOverlayAttached(device)).toBe(false)
    const { config } = agent.datapath
    expect(config.isReady).toBe(true)
    expect(config.value.flags & WAY_FLAGS).toBe(tunnel === 'none' ? CONFIG_NATIVE : 0)
    expect(config.value).toMatchObject(
      tunnel === 'none'
        ? { overlayIfindex: 0, tunnelPort: 8472, uplinkIfindex: await indexOf('eth0') }
        : { overlayIfindex: 0, tunnelPort: 8472, vni: 1, uplinkIfindex: 0 },
    )
    expect(agent.datapath.maps.nodes.get(1)).toMatchObject({
      mtu: tunnel === 'none' ? 1500 : 1450,
      flags: tunnel === 'none' ? NODE_VALID | NODE_ON_UPLINK : NODE_VALID,
    })
  })

  test('nodes come, change their address and go', async () => {
    const agent = await start(both, { tunnel })
    agent.nodes.upsert(nodeRow(3))
    const third = async () => {
      const { routes, fdb, neighbours } = await whole()
      return [...routes, ...fdb, ...neighbours].filter((line) => /244[.:]3|0\.3$/.test(line))
    }
    const of = (last: number) =>
      tunnel === 'none'
        ? [
            `10.244.3.0/24 via 172.31.0.${last} eth0 src 10.244.1.1`,
            'fd00:10:244:3::/64 via fd31::3 eth0 src fd00:10:244:1::1',
          ]
        : [
            `10.244.3.0/24 via 10.244.3.1 ${OVERLAY_DEVICE} src 10.244.1.1`,
            `fd00:10:244:3::/64 via fd00:10:244:3::1 ${OVERLAY_DEVICE} src fd00:10:244:1::1`,
            ...(last === 3 ? [`0e:5b:ac:1f:00:03 172.31.0.3`] : []),
            `10.244.3.1 0e:5b:ac:1f:00:0${last}`,
            `fd00:10:244:3::1 0e:5b:ac:1f:00:0${last}`,
          ]
    await expect.poll(third).toEqual(of(3))
    agent.nodes.upsert(nodeRow(3, { internalIPs: ['172.31.0.8', 'fd31::3'] }))
    await expect.poll(third).toEqual(of(8))
    agent.nodes.remove('node3')
    await expect.poll(third).toEqual([])
    await expect.poll(whole).toEqual(expected[tunnel])
  })

  test('a range of its own that changes takes addresses and unreachable routes along', async () => {
    const agent = await start(both, { tunnel })
    agent.nodes.upsert(nodeRow(1, { podCIDRs: ['10.244.9.0/24'] }))
    await expect.poll(whole).toMatchObject({
      addresses: ['10.244.9.1'],
      routes: [expect.stringMatching(/^10.244.2.0.*src 10.244.9.1$/), 'unreachable 10.244.9.0/24'],
    })
  })
})

type Damage = (netlink: RouteNetlink, device: number) => Promise<unknown>
const damages: readonly [TunnelMode, string, Damage][] = [
  ['kernel', 'the device', (n, index) => n.links.del(index)],
  ['kernel', 'a route', (n, index) => n.routes.del({ dst: '10.244.2.0/24', index })],
  ['kernel', 'a neighbour', (n, index) => n.neighbours.del({ index, address: '10.244.2.1' })],
  ['kernel', 'a forwarding entry', (n, index) => n.fdb.del({ index, mac: mac2 })],
  [
    'kernel',
    'a forwarding entry that leads elsewhere',
    (n, index) => n.fdb.replace({ index, mac: mac2, dst: '172.31.0.77' }),
  ],
  ['kernel', 'the state', (n, index) => n.links.set(index, { isUp: false })],
  ['kernel', 'an unreachable route', (n) => n.routes.del({ dst: '10.244.1.0/24' })],
  ['none', 'the device', (n, index) => n.links.del(index)],
  ['none', 'a route', (n) => n.routes.del({ dst: 'fd00:10:244:2::/64' })],
  [
    'none',
    'an address',
    (n, index) => n.addresses.del({ index, address: '10.244.1.1', prefixLen: 32 }),
  ],
  ['none', 'an unreachable route', (n) => n.routes.del({ dst: 'fd00:10:244:1::/64' })],
  [
    'none',
    'the uplink down and up',
    async (n) => {
      const index = (await n.links.get({ name: 'eth0' }))?.index ?? 0
      await n.links.set(index, { isUp: false })
      await n.links.set(index, { isUp: true })
      await n.addresses.replace({ index, address: 'fd31::1', prefixLen: 64, flags: ['nodad'] })
    },
  ],
]

test.each(damages)('mode %s: %s is repaired', async (tunnel, _, damage) => {
  await start(both, { tunnel })
  await damage(one.netlink, await indexOf(tunnel === 'none' ? OWN_DEVICE : OVERLAY_DEVICE))
  await expect.poll(whole, { timeout: 10_000 }).toEqual(expected[tunnel])
})

test.each(['bpf', 'kernel', 'none'] as const)('mode %s: settings are put back', async (tunnel) => {
  await start(both, { tunnel, refreshMs: 200 })
  const device = tunnel === 'none' ? OWN_DEVICE : OVERLAY_DEVICE
  const settings = {
    [`ipv4/conf/${device}/rp_filter`]: ['1', '0'],
    [`ipv6/conf/${device}/accept_ra`]: ['1', '0'],
    'ipv4/conf/all/forwarding': ['0', '1'],
    'ipv6/conf/all/forwarding': ['0', '1'],
  } as const
  for (const [name, [wrong]] of Object.entries(settings)) {
    one.netns.writeFile(`/proc/sys/net/${name}`, wrong)
  }
  for (const [name, [, right]] of Object.entries(settings)) {
    const read = () => one.netns.readFile(`/proc/sys/net/${name}`).trim()
    await expect.poll(read, { timeout: 10_000 }).toBe(right)
  }
})

test('a device of ours that learns is made anew', async () => {
  await one.netlink.links.add({
    kind: 'vxlan',
    name: OVERLAY_DEVICE,
    alias: OVERLAY_ALIAS,
    vni: 1,
    port: 8472,
    local: '172.31.0.1',
    learning: true,
  })
  await start(both, { tunnel: 'kernel' })
  const link = await one.netlink.links.get({ name: OVERLAY_DEVICE })
  expect(link?.vxlan?.learning).toBe(false)
  expect(await whole()).toEqual(expected.kernel)
})

test.each([
  ['bpf', 'kernel'],
  ['kernel', 'bpf'],
  ['bpf', 'none'],
  ['none', 'bpf'],
  ['kernel', 'none'],
  ['none', 'kernel'],
] as const)(
  'from %s to %s leaves nothing of the former, and flows are judged again',
  async (from, to) => {
    const before = await start(both, { tunnel: from })
    const { generation } = before.datapath.config.value
    const after = await change(to)
    await expect.poll(whole, { timeout: 10_000 }).toEqual(expected[to])
    expect(after.datapath.config.value.generation).toBeGreaterThan(generation)
    // clsact filters hang on the device itself: only tcx links are pinned.
    const hasPins = to === 'bpf' && !after.datapath.unusedFeatures.includes('tcx')
    expect(after.datapath.pinnedDevices()).toEqual(hasPins ? [OVERLAY_DEVICE] : [])
  },
)

describe('mode none with a device for direct server return', () => {
  const taken = { annotations: { [DSR_ANNOTATION]: DSR_TAKEN } }
  const rows = [nodeRow(1), nodeRow(2, taken)]
  const narrow = (index: number, mtu: number) => ({ index, mtu, type: 'unicast', protocol: 91 })
  const routes = async () =>
    (await one.netlink.routes.list({ protocol: 91 })).filter(({ dst }) =>
      ['192.0.0.8', '100::8'].some((address) => dst.startsWith(address)),
    )
  const startDsr = (more: StartOptions = {}) =>
    start(rows, { tunnel: 'none', hasDsrDevice: true, ...more })
  const stopAll = async () => {
    for (const agent of running) await agent.stop()
    running = []
  }

  test.each([
    ['auto', 1450],
    [6, 1430],
  ] as const)('made beside what mode none has; outer family %s', async (tunnelFamily, mtu) => {
    const agent = await startDsr({ tunnelFamily })
    const found = await whole()
    expect(found.devices.toSorted()).toEqual([
      `${OVERLAY_DEVICE} vxlan up ${mtu}`,
      `${OWN_DEVICE} bridge up 1500`,
    ])
    expect(found).toMatchObject({ addresses, neighbours: [], fdb: [] })
    expect(found.routes).toEqual(expect.arrayContaining([...expected.none.routes]))
    const index = await indexOf(OVERLAY_DEVICE)
    expect(await routes()).toEqual([
      expect.objectContaining(narrow(index, mtu)),
      expect.objectContaining(narrow(index, mtu)),
    ])
    expect(await agent.datapath.isOverlayAttached({ name: OVERLAY_DEVICE, index })).toBe(true)
    const { value } = agent.datapath.config
    const family = tunnelFamily === 6 ? CONFIG_TUNNEL_IPV6 : 0
    expect(value.flags & WAY_FLAGS).toBe(CONFIG_NATIVE | family)
    expect(value).toMatchObject({
      ...{ overlayIfindex: index, tunnelPort: 8472, vni: 1 },
      ...{ uplinkIfindex: await indexOf('eth0'), overlayMac: (await linkOf(index))?.mac },
    })
    expect(agent.datapath.maps.nodes.get(1)).toMatchObject({
      mtu: 1500,
      flags: NODE_VALID | NODE_ON_UPLINK | NODE_TAKES_DSR,
    })
    expect(agent.overlay.takesDsr()).toBe(true)
    agent.nodes.upsert(nodeRow(2))
    await expect
      .poll(() => agent.datapath.maps.nodes.get(1)?.flags)
      .toBe(NODE_VALID | NODE_ON_UPLINK)
  })

  test('taken over by the next agent, repaired, and taken away when it is not asked for', async () => {
    const first = await startDsr()
    const index = await indexOf(OVERLAY_DEVICE)
    const { generation } = first.datapath.config.value
    await stopAll()
    const second = await startDsr()
    expect(await indexOf(OVERLAY_DEVICE)).toBe(index)
    expect(second.datapath.config.value).toMatchObject({ overlayIfindex: index, generation })
    await one.netlink.links.del(index)
    const isMadeAnew = async () => {
      const found = await indexOf(OVERLAY_DEVICE)
      const { overlayIfindex } = second.datapath.config.value
      return ![0, index].includes(found) && overlayIfindex === found
    }
    await expect.poll(isMadeAnew, { timeout: 10_000 }).toBe(true)
    await expect.poll(async () => (await routes()).length, { timeout: 10_000 }).toBe(2)
    const third = await change('none')
    await expect.poll(whole, { timeout: 10_000 }).toEqual(expected.none)
    expect(third.datapath.config.value).toMatchObject({
      overlayIfindex: 0,
      tunnelPort: 8472,
      vni: 0,
    })
    expect(third.overlay.takesDsr()).toBe(false)
    expect(third.datapath.pinnedDevices()).toEqual([])
  })

  test.each(['bpf', 'kernel'] as const)('from mode %s and back', async (tunnel) => {
    await start(both, { tunnel })
    await stopAll()
    await startDsr()
    await expect
      .poll(async () => (await whole()).devices.toSorted(), { timeout: 10_000 })
      .toEqual([`${OVERLAY_DEVICE} vxlan up 1450`, `${OWN_DEVICE} bridge up 1500`])
    await expect.poll(async () => (await whole()).addresses).toEqual(addresses)
    await change(tunnel)
    await expect.poll(whole, { timeout: 10_000 }).toEqual(expected[tunnel])
  })

  test('a device of somebody else in its place keeps nobody from the pods’ network', async () => {
    await one.netlink.links.add({ kind: 'bridge', name: OVERLAY_DEVICE, isUp: true })
    const agent = await startDsr()
    expect((await whole()).devices).toEqual([`${OWN_DEVICE} bridge up 1500`])
    expect(agent.overlay.takesDsr()).toBe(false)
    expect(agent.overlay.statuses().get('overlay device')).toContainEqual(
      expect.objectContaining({ state: 'error', code: 'device-taken' }),
    )
    await one.netlink.links.del(await indexOf(OVERLAY_DEVICE))
    await expect.poll(() => agent.overlay.takesDsr(), { timeout: 20_000 }).toBe(true)
  })
})

test('without a tunnel a node behind a router is refused, and said to be', async () => {
  const far = nodeRow(3, { internalIPs: ['10.99.0.3', 'fd31::3'] })
  await one.netlink.routes.add({ dst: '10.99.0.0/24', via: '172.31.0.2' })
  const agent = await start([...both, far], { tunnel: 'none' })
  expect((await whole()).routes).not.toContainEqual(expect.stringContaining('10.244.3.0'))
  expect((await whole()).routes).toContainEqual(expect.stringContaining('fd00:10:244:3::/64 via'))
  expect(agent.overlay.problems()).toEqual([
    {
      node: 'node3',
      code: 'not-on-link',
      message:
        'no route to its range 10.244.3.0/24: 10.99.0.3 is not on the same link (the way there is by 172.31.0.2)',
    },
  ])
  // It moves next to us.
  agent.nodes.upsert(nodeRow(3))
  await expect
    .poll(async () => (await whole()).routes)
    .toContainEqual('10.244.3.0/24 via 172.31.0.3 eth0 src 10.244.1.1')
  expect(agent.overlay.problems()).toEqual([])
})

test('a route that somebody else has to a range of ours stays', async () => {
  await one.netlink.links.add({ kind: 'bridge', name: 'cni0', isUp: true })
  const route = { dst: '10.244.1.0/24', index: await indexOf('cni0') }
  await one.netlink.routes.add(route)
  await start(both)
  const routes = await one.netlink.routes.list({ family: 4 })
  expect(routes.filter(({ dst }) => dst === route.dst)).toMatchObject([
    { type: 'unicast', index: route.index },
    { type: 'unreachable', protocol: 91 },
  ])
})
