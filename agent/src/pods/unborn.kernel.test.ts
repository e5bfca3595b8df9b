// A pod's record and its pair are made at the same time: nothing moves before the record is on disk, and a pair without one goes.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RouteNetlink } from '@sinabro/node-netlink'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hostDeviceOf } from '../ipam/allocation.ts'
import { UNBORN_GROUP } from '../marks.ts'
import { type Agent, requestFor, Stage, snapshot } from './testing/stage.ts'

const never = new AbortController().signal
let stage: Stage
let stateDir: string
let running: Agent[]

beforeEach(() => {
  stage = new Stage({ attach: 'clsact' })
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

/** An ADD whose record waits for the disk, at the point where it can do nothing more without it. */
async function addBeforeItsRecord(agent: Agent, reached: Promise<unknown>, name = 'web') {
  const { netns, path } = stage.namespace()
  const allocation = await agent.ipam.allocate(requestFor(name, path))
  const stored = Promise.withResolvers<void>()
  stored.promise.catch(() => undefined)
  const added = agent.pods.add(allocation, netns, never, stored.promise)
  added.catch(() => undefined)
  await Promise.race([reached, added])
  return { allocation, netns, stored, added }
}

describe('the host end is down and unborn until the record is on disk', () => {
  async function wait() {
    const reached = Promise.withResolvers<void>()
    const agent = await start({
      crashPoint: (name) => {
        if (name === 'pods.inside') reached.resolve()
      },
    })
    const pod = await addBeforeItsRecord(agent, reached.promise)
    const { hostDevice } = pod.allocation
    expect(await stage.netlink.links.get({ name: hostDevice })).toMatchObject({
      isUp: false,
      group: UNBORN_GROUP,
    })
    expect((await snapshot(stage, agent)).filter((line) => line.startsWith('route'))).toEqual([])
    return { agent, hostDevice, ...pod }
  }

  test('then it comes up, as any other', async () => {
    const { agent, hostDevice, allocation, netns, stored, added } = await wait()
    stored.resolve()
    await added
    expect(await stage.netlink.links.get({ name: hostDevice })).toMatchObject({
      isUp: true,
      group: 0,
    })
    await agent.pods.check(allocation, netns)
  })

  test('a disk that refuses the record undoes the birth', async () => {
    const { agent, netns, stored, added } = await wait()
    stored.reject(new Error('disk full'))
    await expect(added).rejects.toThrow('disk full')
    expect(await snapshot(stage, agent)).toEqual([])
    expect(agent.pods.live.size).toBe(0)
    using inPod = RouteNetlink.open({ netns })
    expect((await inPod.links.list()).map(({ name }) => name)).toEqual(['lo'])
  })
})

const POINTS = ['pair', 'settings', 'programs', 'endpoints', 'inside'] as const

describe.each(POINTS)('an agent killed at pods.%s before the record was on disk', (point) => {
  test.each([true, false])(
    'is followed by one that removes what there is (other pods: %s)',
    async (hasOthers) => {
      const reached = Promise.withResolvers<void>()
      const dead = Promise.withResolvers<void>()
      const agent = await start({
        isIdle: true,
        crashPoint: (name) => {
          if (name !== `pods.${point}` || agent.pods.live.size === (hasOthers ? 1 : 0)) return
          reached.resolve()
          return dead.promise
        },
      })
      if (hasOthers) {
        const { netns, path } = stage.namespace()
        await agent.pods.add(await agent.ipam.allocate(requestFor('other', path)), netns, never)
      }
      const before = await snapshot(stage, agent)
      const { allocation, added } = await addBeforeItsRecord(agent, reached.promise)
      await kill(agent)
      const records = join(stateDir, 'allocations')
      for (const file of readdirSync(records)) {
        if (file.includes(allocation.hostDevice.slice(2))) rmSync(join(records, file))
      }
      const next = await start()
      expect(await snapshot(stage, next)).toEqual(before)
      expect(next.health.snapshot().isHealthy).toBe(true)
      dead.reject(new Error('killed'))
      await Promise.allSettled([added])
    },
  )
})

test('a device that was made but not yet marked goes too; one of such a name that others made stays', async () => {
  const deviceOf = (name: string) => hostDeviceOf(requestFor(name, '').key)
  const veth = (name: string, group: number) =>
    stage.netlink.links.add({ kind: 'veth', name, group, peer: { name: `p${group}` } })
  await veth(deviceOf('unmarked'), UNBORN_GROUP)
  await veth(deviceOf('foreign'), 0)
  const next = await start()
  expect(await stage.netlink.links.get({ name: deviceOf('unmarked') })).toBeUndefined()
  expect(await stage.netlink.links.get({ name: deviceOf('foreign') })).toBeDefined()
  await veth(deviceOf('again'), UNBORN_GROUP)
  await next.pods.removeDevice(deviceOf('again'))
  expect(await stage.netlink.links.get({ name: deviceOf('again') })).toBeUndefined()
})
