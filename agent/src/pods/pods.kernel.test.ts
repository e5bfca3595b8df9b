// Birth, death and adoption of pods on a real kernel, in namespaces of their own; an agent is killed or made to fail at every point.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isShaped } from '../bandwidth/shape.ts'
import { PodError } from './error.ts'
import { type Agent, requestFor, Stage, snapshot } from './testing/stage.ts'

const never = new AbortController().signal
let stage: Stage
let stateDir: string
let running: Agent[]
/** Ends the work of agents that were killed in the middle of it, so that their descriptors are closed. */
let buried: (() => Promise<void>)[]

beforeEach(() => {
  stage = new Stage()
  stateDir = mkdtempSync(join(tmpdir(), 'sinabro-state-'))
  running = []
  buried = []
})

afterEach(async () => {
  for (const agent of running) await agent.stop()
  for (const end of buried) await end()
  stage.close()
  rmSync(stateDir, { recursive: true })
})

async function start(
  options: Omit<Parameters<Stage['start']>[0], 'stateDir'> = {},
): Promise<Agent> {
  const agent = await stage.start({ ...options, stateDir })
  running.push(agent)
  return agent
}

/** The process is gone: nothing of it runs any more, the kernel stays as it is. */
async function kill(agent: Agent): Promise<void> {
  running = running.filter((one) => one !== agent)
  await agent.stop()
}

async function addPod(agent: Agent, name: string, path: string, netns: NetworkNamespace) {
  const allocation = await agent.ipam.allocate(requestFor(name, path))
  const row = await agent.pods.add(allocation, netns, never)
  return { allocation, row }
}

test('whether a pod keeps its address is followed, also when it changes in the middle of its birth', async () => {
  let keepsAddress = false
  const agent: Agent = await start({
    keepsAddress: () => keepsAddress,
    crashPoint: (point) => {
      if (point !== 'pods.endpoints') return
      keepsAddress = true
      agent.pods.lookAgain()
    },
  })
  const { netns, path } = stage.namespace()
  await addPod(agent, 'web', path, netns)
  const flags = () =>
    [...agent.datapath.podEndpoints()].map(([, endpoint]) => endpoint.keepsAddress)
  await expect.poll(flags).toEqual([true, true])
  keepsAddress = false
  agent.pods.lookAgain()
  await expect.poll(flags).toEqual([false, false])
})

test('add() leaves a pod whole: both ends, addresses, routes, neighbours, programs and map rows', async () => {
  const agent = await start()
  const { netns, path } = stage.namespace()
  const { row, allocation } = await addPod(agent, 'web', path, netns)
  expect(await snapshot(stage, agent)).toEqual([
    `attached ${row.hostDevice} true`,
    `endpoint 10.244.1.2 ${row.hostDevice} ${JSON.stringify({
      id: row.endpointId,
      incarnation: row.incarnation,
      podMac: row.podMac,
      hostMac: row.hostMac,
      mtu: 1450,
      isNetkit: stage.podDevice === 'netkit',
      isShaped: false,
      keepsAddress: false,
    })}`,
    expect.stringMatching(/^endpoint fd00:10:244:1::/),
    `link ${row.hostDevice} sinabro:pod/${row.endpointId}/${row.incarnation}/default/web/eth0 ${row.hostMac} 1450 up=true`,
    `neighbour 10.244.1.2 ${row.podMac} ${row.hostDevice}`,
    expect.stringMatching(/^neighbour fd00:10:244:1::/),
    ...(stage.hasPins ? [`pins ${row.hostDevice}`] : []),
    `route 10.244.1.2/32 ${row.hostDevice}`,
    expect.stringMatching(/^route fd00:10:244:1::.*\/128/),
  ])
  using inPod = RouteNetlink.open({ netns })
  const eth0 = await inPod.links.get({ name: 'eth0' })
  expect(eth0).toMatchObject({ mac: row.podMac, mtu: 1450, isUp: true, hasCarrier: true })
  const host = await stage.netlink.links.get({ name: row.hostDevice })
  // Not told, the kernel makes one for each possible CPU and takes all but one away, and everybody waits for that.
  for (const end of [eth0, host]) expect(end).toMatchObject({ txQueues: 1, rxQueues: 1 })
  expect((await inPod.links.get({ name: 'lo' }))?.isUp).toBe(true)
  const defaults = (await inPod.routes.list()).filter(({ dst }) => dst === 'default')
  expect(defaults.map(({ via }) => via).sort()).toEqual(['169.254.1.1', 'fe80::1'])
  const addresses = await inPod.addresses.list({ index: eth0?.index })
  for (const address of allocation.addresses) {
    const found = addresses.find((one) => one.address === address)
    expect(found?.flags).not.toContain('tentative')
  }
  await agent.pods.check(allocation, netns)
})

test('add() brings IPv6 into a namespace that starts with it switched off', async () => {
  const agent = await start()
  const { netns, path } = stage.namespace()
  netns.writeFile('/proc/sys/net/ipv6/conf/default/disable_ipv6', '1')
  const { allocation } = await addPod(agent, 'web', path, netns)
  await agent.pods.check(allocation, netns)
})

test('add() repeated answers the same and changes nothing', async () => {
  const agent = await start()
  const { netns, path } = stage.namespace()
  const first = await addPod(agent, 'web', path, netns)
  const before = await snapshot(stage, agent)
  const second = await addPod(agent, 'web', path, netns)
  expect(second).toEqual(first)
  expect(await snapshot(stage, agent)).toEqual(before)
})

test('add() of an interface name that is taken fails and changes nothing', async () => {
  const agent = await start()
  const { netns, path } = stage.namespace()
  using inPod = RouteNetlink.open({ netns })
  await inPod.links.add({ kind: 'veth', name: 'eth0', peer: { name: 'other' } })
  const before = await inPod.links.get({ name: 'eth0' })
  const allocation = await agent.ipam.allocate(requestFor('web', path))
  await expect(agent.pods.add(allocation, netns, never)).rejects.toMatchObject({
    name: 'PodError',
    code: 'interface-taken',
  })
  expect(await snapshot(stage, agent)).toEqual([])
  expect(await inPod.links.get({ name: 'eth0' })).toEqual(before)
})

test('remove() takes away everything, and again is fine', async () => {
  const agent = await start()
  const { netns, path } = stage.namespace()
  const { allocation } = await addPod(agent, 'web', path, netns)
  await agent.pods.remove(allocation)
  await agent.pods.remove(allocation)
  expect(await snapshot(stage, agent)).toEqual([])
  using inPod = RouteNetlink.open({ netns })
  expect(await inPod.links.get({ name: 'eth0' })).toBeUndefined()
})

test('remove() is fine when the namespace took the device with it', async () => {
  const agent = await start()
  const netns = NetworkNamespace.create()
  const { allocation, row } = await addPod(
    agent,
    'web',
    `/proc/${process.pid}/fd/${netns.fd}`,
    netns,
  )
  netns.close()
  await expect.poll(() => stage.netlink.links.get({ name: row.hostDevice })).toBeUndefined()
  await agent.pods.remove(allocation)
  expect(await snapshot(stage, agent)).toEqual([])
})

test('running pods follow the MTU of the underlay, but an end that somebody has set to less stays', async () => {
  const agent = await start()
  const own = stage.namespace()
  const tuned = stage.namespace()
  const { row } = await addPod(agent, 'own', own.path, own.netns)
  const other = await addPod(agent, 'tuned', tuned.path, tuned.netns)
  using inOwn = RouteNetlink.open({ netns: own.netns })
  using inTuned = RouteNetlink.open({ netns: tuned.netns })
  await inTuned.links.set({ name: 'eth0' }, { mtu: 1380 })
  await kill(agent)
  for (const [mtu, tunedMtu] of [
    [1400, 1380],
    [1300, 1300],
    [8950, 8950],
  ]) {
    const next = await start({ podMtu: () => mtu ?? 0 })
    const rows = [...next.datapath.podEndpoints()].map(([, endpoint]) => endpoint.mtu)
    expect(rows).toEqual([mtu, mtu, mtu, mtu])
    for (const { hostDevice } of [row, other.row]) {
      expect(await stage.netlink.links.get({ name: hostDevice })).toMatchObject({ mtu })
    }
    expect(await inOwn.links.get({ name: 'eth0' })).toMatchObject({ mtu })
    expect(await inTuned.links.get({ name: 'eth0' })).toMatchObject({ mtu: tunedMtu })
    await kill(next)
  }
})

test('check() names everything that is missing', async () => {
  const agent = await start({ isIdle: true })
  const { netns, path } = stage.namespace()
  const { allocation, row } = await addPod(agent, 'web', path, netns)
  const host = await stage.netlink.links.get({ name: row.hostDevice })
  await stage.netlink.routes.del({ dst: '10.244.1.2/32', index: host?.index })
  agent.datapath.removeEndpoint('10.244.1.2', row.incarnation)
  using inPod = RouteNetlink.open({ netns })
  await inPod.routes.del({ dst: 'default', family: 4 })
  await expect(agent.pods.check(allocation, netns)).rejects.toMatchObject({
    code: 'check-failed',
    message: expect.stringMatching(
      /map row of 10\.244\.1\.2 is gone; route 10\.244\.1\.2\/32 .*; default route of IPv4 is gone/,
    ),
  })
})

const BIRTH = ['pair', 'settings', 'programs', 'endpoints', 'inside', 'up'] as const
const DEATH = ['unwire.endpoints', 'unwire.pair', 'unwire.pins'] as const

describe.each(BIRTH)('at point pods.%s', (point) => {
  test('a failing add() undoes all of it', async () => {
    const agent = await start({
      crashPoint: (name) => {
        if (name === `pods.${point}`) throw new Error('no more')
      },
    })
    const { netns, path } = stage.namespace()
    const allocation = await agent.ipam.allocate(requestFor('web', path))
    await expect(agent.pods.add(allocation, netns, never)).rejects.toThrow('no more')
    expect(await snapshot(stage, agent)).toEqual([])
    expect(agent.pods.live.size).toBe(0)
    using inPod = RouteNetlink.open({ netns })
    expect((await inPod.links.list()).map(({ name }) => name)).toEqual(['lo'])
  })

  test('an add() whose caller goes away is undone', async () => {
    const caller = new AbortController()
    const agent = await start({
      crashPoint: (name) => {
        if (name === `pods.${point}`) caller.abort(new Error('gone'))
      },
    })
    const { netns, path } = stage.namespace()
    const allocation = await agent.ipam.allocate(requestFor('web', path))
    await expect(agent.pods.add(allocation, netns, caller.signal)).rejects.toThrow('gone')
    expect(await snapshot(stage, agent)).toEqual([])
  })

  test('an agent killed there is followed by one whose DEL leaves nothing', async () => {
    const allocation = await crashAt(`pods.${point}`)
    const next = await start()
    await next.pods.remove(allocation)
    expect(await snapshot(stage, next)).toEqual([])
  })

  test('an agent killed there is followed by one whose repeated ADD makes the pod whole', async () => {
    const allocation = await crashAt(`pods.${point}`)
    const next = await start()
    const netns = NetworkNamespace.open(allocation.netns)
    await next.pods.add(allocation, netns, never)
    await next.pods.check(allocation, netns)
    netns.close()
  })
})

describe.each(DEATH)('at point pods.%s', (point) => {
  test('an agent killed there is followed by one whose repeated DEL leaves nothing', async () => {
    const first = await start({ isIdle: true })
    const { netns, path } = stage.namespace()
    const { allocation } = await addPod(first, 'web', path, netns)
    await kill(first)
    await crashAt(`pods.${point}`, allocation.key.containerId)
    const next = await start()
    await next.pods.remove(allocation)
    expect(await snapshot(stage, next)).toEqual([])
  })
})

/** An agent that stops for ever at a point of an ADD (or, for a pod that is there, a DEL), and is then killed. */
async function crashAt(point: string, doomed?: string) {
  const { promise: reached, resolve } = Promise.withResolvers<void>()
  const dead = Promise.withResolvers<void>()
  const agent = await start({
    isIdle: true,
    crashPoint: (name) => {
      if (name !== point) return
      resolve()
      return dead.promise
    },
  })
  const { netns, path } = stage.namespace()
  const allocation =
    agent.ipam.list().find(({ key }) => key.containerId === doomed) ??
    (await agent.ipam.allocate(requestFor('web', path)))
  const work =
    doomed === undefined ? agent.pods.add(allocation, netns, never) : agent.pods.remove(allocation)
  await Promise.race([reached, work])
  await kill(agent)
  buried.push(async () => {
    dead.reject(new Error('killed'))
    await Promise.allSettled([work])
  })
  return allocation
}

test('a new agent adopts running pods: its own programs, and nothing else changes', async () => {
  const first = await start()
  const { netns, path } = stage.namespace()
  await addPod(first, 'web', path, netns)
  const before = await snapshot(stage, first)
  await kill(first)
  const next = await start()
  expect(await snapshot(stage, next)).toEqual(before)
})

test('what is taken away from a running pod comes back', async () => {
  const agent = await start()
  const { netns, path } = stage.namespace()
  const { row } = await addPod(agent, 'web', path, netns)
  const before = await snapshot(stage, agent)
  const host = await stage.netlink.links.get({ name: row.hostDevice })
  if (host === undefined) throw new Error('no device')
  await stage.netlink.routes.del({ dst: '10.244.1.2/32', index: host.index })
  await expect.poll(() => snapshot(stage, agent)).toEqual(before)
  await stage.netlink.neighbours.del({ index: host.index, address: '10.244.1.2' })
  await expect.poll(() => snapshot(stage, agent)).toEqual(before)
  await stage.netlink.links.set(host.index, { isUp: false })
  await stage.netlink.links.set(host.index, { isUp: true })
  await expect.poll(() => snapshot(stage, agent)).toEqual(before)
})

test('a MAC that is changed inside is followed, also if no agent ran meanwhile, and changed back', async () => {
  const first = await start()
  const { netns, path } = stage.namespace()
  const { row } = await addPod(first, 'web', path, netns)
  using inPod = RouteNetlink.open({ netns })
  const podEnd = await inPod.links.get({ name: 'eth0' })
  const change = (mac: string) => inPod.links.set(podEnd?.index ?? 0, { mac })
  const known = async (agent: Agent) => [
    ...[...agent.datapath.podEndpoints()].map(([, { podMac }]) => podMac),
    ...(await stage.netlink.neighbours.list())
      .filter(({ state }) => state === 'permanent')
      .map(({ mac }) => mac),
  ]
  const everywhere = (mac: string) => [mac, mac, mac, mac]
  await change('02:11:22:33:44:55')
  await expect.poll(() => known(first)).toEqual(everywhere('02:11:22:33:44:55'))
  await kill(first)
  await change('02:11:22:33:44:66')
  const next = await start()
  await expect.poll(() => known(next)).toEqual(everywhere('02:11:22:33:44:66'))
  expect(await next.pods.add(next.ipam.list()[0] as never, netns, never)).toMatchObject({
    podMac: row.podMac,
  })
  await expect.poll(() => known(next)).toEqual(everywhere('02:11:22:33:44:66'))
  await change(row.podMac)
  await expect.poll(() => known(next)).toEqual(everywhere(row.podMac))
})

test('limits hold both ends from birth, and come back when they are taken away', async () => {
  const limit = { rateBitsPerSec: 8_000_000, burstBits: 800_000 }
  const other = { rateBitsPerSec: 4_000_000, burstBits: 2 ** 31 - 1 }
  const agent = await start()
  const { netns, path } = stage.namespace()
  const allocation = await agent.ipam.allocate({
    ...requestFor('web', path),
    bandwidth: { ingress: limit, egress: other },
  })
  const row = await agent.pods.add(allocation, netns, never)
  const host = await stage.netlink.links.get({ name: row.hostDevice })
  if (host?.peerIndex === undefined) throw new Error('no pair')
  using inPod = RouteNetlink.open({ netns })
  const ends = [
    [stage.netlink, host.index, limit],
    [inPod, host.peerIndex, other],
  ] as const
  const areHeld = async ({ datapath }: Agent) => {
    for (const [netlink, index, wanted] of ends) {
      if (!isShaped(await netlink.qdiscs.list({ index }), index, wanted)) return false
    }
    return [...datapath.podEndpoints()].every(([, { isShaped: isFlagged }]) => isFlagged)
  }
  expect(await areHeld(agent)).toBe(true)
  await stage.netlink.qdiscs.del({ index: host.index, kind: 'tbf' })
  expect(await areHeld(agent)).toBe(false)
  await expect.poll(() => areHeld(agent)).toBe(true)
  await kill(agent)
  for (const [netlink, index] of ends) await netlink.qdiscs.del({ index, kind: 'tbf' })
  const next = await start()
  expect(next.ipam.list()[0]?.bandwidth).toEqual({ ingress: limit, egress: other })
  await expect.poll(() => areHeld(next)).toBe(true)
})

test('a start removes devices and rows that no allocation knows, and leaves strangers alone', async () => {
  const first = await start()
  const { netns, path } = stage.namespace()
  const { allocation } = await addPod(first, 'web', path, netns)
  await addPod(
    first,
    'kept',
    ...(Object.values(stage.namespace()).reverse() as [string, NetworkNamespace]),
  )
  await kill(first)
  await stage.netlink.links.add({ kind: 'veth', name: 'sbstranger00000', peer: { name: 'other' } })
  const stranger = await stage.netlink.links.get({ name: 'sbstranger00000' })
  await stage.netlink.links.set(stranger?.index ?? 0, { isUp: true })
  await stage.netlink.routes.add({ dst: '192.0.2.1/32', index: stranger?.index, protocol: 91 })
  const idle = await start({ isIdle: true })
  await idle.ipam.release(allocation.key)
  await kill(idle)
  const next = await start()
  const left = (await snapshot(stage, next)).join('\n')
  expect(left).not.toContain('/web/')
  expect(left).not.toContain(allocation.addresses[0])
  expect(left).toContain('/kept/')
  expect(left).toContain('link sbstranger00000 undefined')
  expect(left).toContain('route 192.0.2.1/32 sbstranger00000')
})

test('an agent that has lost all its records cuts nobody off, and says what it sees', async () => {
  const first = await start()
  const { netns, path } = stage.namespace()
  const { row } = await addPod(first, 'web', path, netns)
  const before = await snapshot(stage, first)
  await kill(first)
  rmSync(join(stateDir, 'allocations'), { recursive: true })
  const next = await start()
  expect((await snapshot(stage, next)).filter((line) => !line.startsWith('attached'))).toEqual(
    before.filter((line) => !line.startsWith('attached')),
  )
  const told = next.health.snapshot().components.find((one) => one.component === 'pod records')
  expect(told).toMatchObject({
    state: 'degraded',
    message: expect.stringContaining(row.hostDevice),
  })
})

test('a pod whose namespace and device are gone without a DEL is released at the next start', async () => {
  const first = await start()
  const netns = NetworkNamespace.create()
  const path = `/proc/${process.pid}/fd/${netns.fd}`
  const { row } = await addPod(first, 'web', path, netns)
  await kill(first)
  netns.close()
  await expect.poll(() => stage.netlink.links.get({ name: row.hostDevice })).toBeUndefined()
  const next = await start()
  expect(next.ipam.list()).toEqual([])
  expect(await snapshot(stage, next)).toEqual([])
})

test('a pod that lost its device but not its namespace is kept for its DEL, and said to be broken', async () => {
  const first = await start()
  const { netns, path } = stage.namespace()
  const { row } = await addPod(first, 'web', path, netns)
  await kill(first)
  await stage.netlink.links.del({ name: row.hostDevice })
  const next = await start()
  expect(next.ipam.list()).toHaveLength(1)
  expect(next.pods.statuses()).toMatchObject([{ state: 'error', code: 'device-lost' }])
  expect(next.health.snapshot().isHealthy).toBe(false)
})

test('the node itself is no place for a pod, and neither is a plain file', async () => {
  const { openPodNamespace } = await import('./namespace.ts')
  const own = `/proc/${process.pid}/fd/${stage.node.fd}`
  expect(() => openPodNamespace(own, stage.node)).toThrow(PodError)
  expect(() => openPodNamespace('/etc/hostname', stage.node)).toThrow(/no network namespace/)
  expect(() => openPodNamespace('/run/netns/none', stage.node)).toThrow(/no network namespace/)
})
