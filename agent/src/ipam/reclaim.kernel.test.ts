// Reclaiming with real devices and namespaces: a pod that lives keeps everything, one that is gone gives all of it back after two looks.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NetworkNamespace } from '@sinabro/node-netlink'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Verbs } from '../cni/verbs.ts'
import { type Agent, requestFor, Stage } from '../pods/testing/stage.ts'
import { silentLog } from '../runtime/log.ts'
import { FakeClock } from '../runtime/testing/fake-clock.ts'
import { readBootTimeUs, readEra } from './era.ts'
import { lookAtNamespace, Reclaim } from './reclaim.ts'

let stage: Stage
let stateDir: string
let agent: Agent
let clock: FakeClock
let reclaim: Reclaim

beforeEach(async () => {
  stage = new Stage()
  stateDir = mkdtempSync(join(tmpdir(), 'sinabro-reclaim-'))
  agent = await stage.start({ stateDir, isIdle: true })
  clock = new FakeClock()
  const era = readEra(stage.node)
  const verbs = new Verbs({
    ipam: agent.ipam,
    pods: agent.pods,
    hostNamespace: stage.node,
    hasHostPorts: true,
    bootId: era.bootId,
    log: silentLog,
  })
  reclaim = new Reclaim({
    ipam: agent.ipam,
    era,
    clock,
    log: silentLog,
    devices: async () => new Set((await stage.netlink.links.list()).map(({ name }) => name)),
    namespace: lookAtNamespace,
    bootTimeUs: readBootTimeUs,
    remove: (key, sequence) => verbs.reclaim(key, sequence),
    graceMs: 1000,
  })
})
afterEach(async () => {
  await agent.stop()
  stage.close()
  rmSync(stateDir, { recursive: true })
})

async function addPod(name: string, netns: NetworkNamespace, path: string): Promise<void> {
  const allocation = await agent.ipam.allocate(requestFor(name, path))
  await agent.pods.add(allocation, netns, new AbortController().signal)
}

test('a pod that ended without a DEL is taken apart after two looks, one that lives is not', async () => {
  const alive = stage.namespace()
  const dead = stage.namespace()
  await addPod('alive', alive.netns, alive.path)
  await addPod('dead', dead.netns, dead.path)
  dead.netns.close()
  // The kernel takes namespaces apart in the background.
  const deadDevice = agent.ipam.list()[1]?.hostDevice ?? ''
  while ((await stage.netlink.links.get({ name: deadDevice })) !== undefined);
  await reclaim.look()
  expect(agent.ipam.list()).toHaveLength(2)
  await clock.advance(1000)
  await reclaim.look()
  expect(agent.ipam.list().map(({ podName }) => podName)).toEqual(['alive'])
  expect([...agent.datapath.podEndpoints()]).toHaveLength(agent.ipam.usage().length)
  await clock.advance(1000)
  await reclaim.look()
  await clock.advance(1000)
  await reclaim.look()
  expect(agent.ipam.list()).toHaveLength(1)
})
