// A thousand nodes on a real kernel: a change costs what it changes, however many there are. SINABRO_NODES: fewer.
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { NodeRow } from '../cluster/rows.ts'
import { OVERLAY_DEVICE } from '../marks.ts'
import type { Calls } from './testing/counting.ts'
import { join2, nodeRow, type Running, TestNode } from './testing/nodes.ts'

const NODES = Number(process.env.SINABRO_NODES ?? 1000)
let one: TestNode
let two: TestNode
let agent: Running | undefined

beforeEach(async () => {
  one = new TestNode(1)
  two = new TestNode(2)
  await join2(one, two)
})

afterEach(async () => {
  await agent?.stop()
  one.close()
  two.close()
})

/** Nobody is at its address; the way there is the link's. */
function distant(n: number): NodeRow {
  const [high, low] = [n >> 8, n & 0xff]
  return nodeRow(n, {
    podCIDRs: [`10.${64 + high}.${low}.0/24`, `fd00:64:${n.toString(16)}::/64`],
    internalIPs: [`172.31.${high}.${low}`, `fd31::${n.toString(16)}`],
  })
}

async function routes(): Promise<number> {
  const link = await one.netlink.links.get({ name: OVERLAY_DEVICE })
  const index = link?.index ?? 0
  return (await one.netlink.routes.list({ protocol: 91, index })).length
}

/** Waits until nothing is heard any more: what we did ourselves comes back as news. */
async function quiet(calls: Calls): Promise<void> {
  let before = -1
  await expect
    .poll(
      () => {
        const now = [...calls.values()].reduce((sum, count) => sum + count, 0)
        const isSame = now === before
        before = now
        return isSame
      },
      { interval: 300, timeout: 20_000 },
    )
    .toBe(true)
}

const taken = (calls: Calls): Record<string, number> => Object.fromEntries([...calls].sort())

test('one node more, changed or gone touches its own rows and lists nothing', async () => {
  const calls: Calls = new Map()
  const eth0 = await one.netlink.links.get({ name: 'eth0' })
  await one.netlink.routes.add({ dst: '172.31.0.0/16', index: eth0?.index ?? 0 })
  const many = Array.from({ length: NODES - 1 }, (_, i) => distant(i + 2))
  agent = await one.start([nodeRow(1), ...many], { calls })
  await agent.health.whenReady(AbortSignal.timeout(60_000))
  await expect.poll(routes, { timeout: 20_000 }).toBe(2 * (NODES - 1))
  await quiet(calls)

  const rows = {
    'netlink.neighbours.replace': 2,
    'netlink.routes.replace': 2,
    'datapath.maps.nodeIds.set': 2,
    'datapath.maps.ipcache.get': 2,
    'datapath.maps.ipcache.set': 2,
    'datapath.maps.nodes.get': 1,
    'datapath.maps.nodes.set': 1,
  }
  calls.clear()
  agent.nodes.upsert(distant(NODES + 1))
  await expect.poll(routes).toBe(2 * NODES)
  await quiet(calls)
  expect(taken(calls)).toEqual({ ...rows, 'netlink.routes.get': 1 })

  calls.clear()
  const moved = { ...distant(NODES + 1), internalIPs: ['172.31.200.1', 'fd31::c801'] }
  agent.nodes.upsert(moved)
  await expect.poll(() => agent?.datapath.maps.nodeIds.get('172.31.200.1')).toBe(NODES)
  await quiet(calls)
  const { 'netlink.routes.replace': _same, ...others } = rows
  expect(taken(calls)).toEqual({
    ...others,
    'netlink.routes.get': 1,
    // The old addresses go: each is looked at before, lest it is another's by now.
    'datapath.maps.nodeIds.get': 2,
    'datapath.maps.nodeIds.delete': 2,
  })

  calls.clear()
  agent.nodes.remove(moved.name)
  await expect.poll(routes).toBe(2 * (NODES - 1))
  await quiet(calls)
  expect(taken(calls)).toEqual({
    'netlink.neighbours.del': 2,
    'netlink.routes.del': 2,
    'datapath.maps.ipcache.get': 2,
    'datapath.maps.ipcache.delete': 2,
    'datapath.maps.nodeIds.get': 2,
    'datapath.maps.nodeIds.delete': 2,
    'datapath.maps.nodes.get': 2,
    'datapath.maps.nodes.set': 1,
  })
}, 120_000)

test('a route of a thousand taken by hand comes back', async () => {
  const many = Array.from({ length: NODES - 1 }, (_, i) => distant(i + 2))
  agent = await one.start([nodeRow(1), ...many])
  await expect.poll(routes, { timeout: 60_000 }).toBe(2 * (NODES - 1))
  const index = (await one.netlink.links.get({ name: OVERLAY_DEVICE }))?.index ?? 0
  await one.netlink.routes.del({ dst: '10.65.7.0/24', index, protocol: 91 })
  await expect.poll(routes, { timeout: 10_000 }).toBe(2 * (NODES - 1))
}, 120_000)
