// Somebody deletes the device of a running pod: it is made again, in the pod's own namespace and in no other.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type NetworkNamespace, RouteNetlink } from '@sinabro/node-netlink'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Agent, requestFor, Stage, snapshot } from './testing/stage.ts'

const never = new AbortController().signal
let stage: Stage
let stateDir: string
let running: Agent[]

beforeEach(() => {
  stage = new Stage()
  stateDir = mkdtempSync(join(tmpdir(), 'sinabro-state-'))
  running = []
})

afterEach(async () => {
  for (const agent of running) await agent.stop()
  stage.close()
  rmSync(stateDir, { recursive: true })
})

async function start(options: Partial<Parameters<Stage['start']>[0]> = {}): Promise<Agent> {
  const agent = await stage.start({ ...options, stateDir })
  running.push(agent)
  return agent
}

async function kill(agent: Agent): Promise<void> {
  running = running.filter((one) => one !== agent)
  await agent.stop()
}

/** With the identity of its namespace in the record, as an ADD writes it down. */
async function addPod(agent: Agent, place = stage.namespace(), owner = place.netns) {
  const { netns, path } = place
  const allocation = await agent.ipam.allocate({
    ...requestFor('web', path),
    netnsCookie: String(owner.cookie()),
  })
  await agent.pods.add(allocation, netns, never)
  return { allocation, netns, device: { name: allocation.hostDevice } }
}

async function interfaces(netns: NetworkNamespace): Promise<string[]> {
  using inside = RouteNetlink.open({ netns })
  return (await inside.links.list()).map(({ name }) => name).sort()
}

test('a running pod whose device is deleted has its network back within moments', async () => {
  const agent = await start()
  const { allocation, netns, device } = await addPod(agent)
  const before = await snapshot(stage, agent)
  await stage.netlink.links.del(device)
  await expect.poll(() => snapshot(stage, agent)).toEqual(before)
  await agent.pods.settled()
  await agent.pods.check(allocation, netns)
  expect(agent.pods.statuses()).toMatchObject([{ state: 'done' }])
})

test('a pod that deletes its own interface again and again is told of, not served at once', async () => {
  const agent = await start()
  const { netns, device } = await addPod(agent)
  const before = await snapshot(stage, agent)
  using inside = RouteNetlink.open({ netns })
  await inside.links.del({ name: 'eth0' })
  await expect.poll(() => snapshot(stage, agent)).toEqual(before)
  await agent.pods.settled()
  await inside.links.del({ name: 'eth0' })
  await expect
    .poll(() => agent.pods.statuses())
    .toMatchObject([
      { state: 'error', code: 'device-lost', message: expect.stringContaining('again') },
    ])
  expect(await stage.netlink.links.get(device)).toBeUndefined()
})

test('one whose device is deleted while no agent runs has it back with the next', async () => {
  const first = await start()
  const { allocation, netns, device } = await addPod(first)
  await kill(first)
  await stage.netlink.links.del(device)
  const next = await start()
  await next.pods.check(allocation, netns)
  expect(next.health.snapshot().isHealthy).toBe(true)
})

test('a namespace that has taken the place of the pod’s is never entered', async () => {
  const agent = await start()
  const stranger = stage.namespace()
  const pod = stage.namespace()
  const { device } = await addPod(agent, stranger, pod.netns)
  const before = await interfaces(pod.netns)
  await stage.netlink.links.del(device)
  await expect.poll(() => agent.pods.statuses()).toMatchObject([{ code: 'device-lost' }])
  expect(await interfaces(stranger.netns)).toEqual(['lo'])
  expect(await interfaces(pod.netns)).toEqual(before)
  const [status] = agent.pods.statuses()
  expect(status?.message).toMatch(/nothing proves that the namespace at .* is still this pod's/)
})

test('an interface that somebody has put in its place stays, and is told of', async () => {
  const agent = await start({ isIdle: true })
  const { netns, device } = await addPod(agent)
  await stage.netlink.links.del(device)
  await kill(agent)
  using inside = RouteNetlink.open({ netns })
  await inside.links.add({ kind: 'veth', name: 'eth0', peer: { name: 'other' } })
  const next = await start()
  expect(next.pods.statuses()).toMatchObject([{ state: 'error', code: 'interface-taken' }])
  expect(await interfaces(netns)).toEqual(['eth0', 'lo', 'other'])
  expect(await stage.netlink.links.get(device)).toBeUndefined()
})

test('a DEL that comes while it is made again waits, and leaves nothing', async () => {
  let isRemaking = false
  const reached = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const agent = await start({
    crashPoint: (name) => {
      if (!isRemaking || name !== 'pods.programs') return
      reached.resolve()
      return goOn.promise
    },
  })
  const { allocation, device } = await addPod(agent)
  await agent.pods.settled()
  isRemaking = true
  await stage.netlink.links.del(device)
  await reached.promise
  const removed = agent.pods.remove(allocation)
  isRemaking = false
  goOn.resolve()
  await removed
  expect(await snapshot(stage, agent)).toEqual([])
})

test('what cannot be made again is taken apart, and tried again', async () => {
  let failures = 0
  let isRemaking = false
  const agent = await start({
    crashPoint: (name) => {
      if (isRemaking && name === 'pods.inside' && failures++ === 0) throw new Error('not now')
    },
  })
  const { allocation, netns, device } = await addPod(agent)
  await agent.pods.settled()
  isRemaking = true
  const before = await snapshot(stage, agent)
  await stage.netlink.links.del(device)
  await expect.poll(() => failures).toBeGreaterThan(1)
  await expect.poll(() => snapshot(stage, agent)).toEqual(before)
  await agent.pods.check(allocation, netns)
})
