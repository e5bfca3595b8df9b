// What cannot be done is refused with a code that the runtime can act upon, changes nothing, and works as soon as its cause is gone.
import { randomUUID } from 'node:crypto'
import { readdirSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { play } from '../faults/scenes.ts'
import { eventually, type Lab, type LabNode, Pod } from '../lab/index.ts'
import { nodeObject } from '../lab/manifests.ts'
import { Runtime } from '../lab/runtime.ts'
import { raise, whatIsWrong, whatStaysWrong } from './stage.ts'

let lab: Lab
let node: LabNode

beforeAll(async () => {
  lab = await raise('refusals', { nodes: 1 })
  node = lab.node(1)
})

afterAll(() => lab?.down())

/** Refused with this code, and the pod is not there; afterwards the same ADD works. */
async function refusedUntil(pod: Pod, cniCode: number, putRight: () => Promise<void>) {
  await expect(pod.add()).rejects.toMatchObject({ cniCode })
  expect(await whatIsWrong(node, othersThan(pod))).toEqual([])
  await putRight()
  await pod.add()
  expect(await whatIsWrong(node)).toEqual([])
}

function othersThan(pod: Pod): Pod[] {
  return node.pods().filter(({ name }) => name !== pod.name)
}

test.each([
  ['of processes', '/proc/self/ns/pid'],
  ['of mounts', '/proc/self/ns/mnt'],
])('ADD into a namespace %s: 8', async (_, netns) => {
  const pod = await Pod.prepare(node.machine, 'foreign')
  const runtime = new Runtime(node.machine)
  const attachment = { ...pod.attachment, netns }
  await expect(runtime.add(runtime.networkList(), attachment)).rejects.toMatchObject({ cniCode: 8 })
  await pod.forget()
  expect(await whatIsWrong(node)).toEqual([])
})

test('ADD into a namespace that is gone: 8', async () => {
  const pod = await Pod.prepare(node.machine, 'deleted')
  await pod.removeNetns()
  await expect(pod.add()).rejects.toMatchObject({ cniCode: 8 })
  await pod.forget()
  expect(await whatIsWrong(node)).toEqual([])
})

test('ADD where the namespace has an interface of that name: 103, and it stays', async () => {
  const pod = await Pod.prepare(node.machine, 'taken')
  await pod.exec(['ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other'])
  await refusedUntil(pod, 103, async () => {
    await pod.exec(['ip', 'link', 'del', 'eth0'])
  })
  await pod.remove()
})

test('ADD with no room for its record: 5', async () => {
  const pod = await Pod.prepare(node.machine, 'full')
  const { tidy } = await play('full-disk', {
    node,
    pods: [],
    newPod: () => Promise.resolve(undefined),
    work: () => Promise.resolve(),
  })
  await refusedUntil(pod, 5, tidy)
  await pod.remove()
})

test('ADD and DEL with a state folder that is read-only: 5, and what was there stays', async () => {
  const stays = await node.addPod('stays')
  const pod = await Pod.prepare(node.machine, 'read-only')
  const state = '/var/lib/sinabro'
  await node.exec(['mount', '--bind', state, state])
  await node.exec(['mount', '-o', 'remount,bind,ro', state])
  await expect(stays.del()).rejects.toMatchObject({ cniCode: 5 })
  await expect(pod.add()).rejects.toMatchObject({ cniCode: 5 })
  await node.exec(['umount', state])
  await stays.del()
  await pod.add()
  await stays.forget()
  expect(await whatStaysWrong(node)).toEqual([])
  await pod.remove()
})

test('ADD of a pod whose record was damaged: 105, until its DEL', async () => {
  const pod = await node.addPod('damaged')
  const records = join(node.machine.places.stateDir, 'allocations')
  await node.agent.kill('SIGKILL')
  for (const file of readdirSync(records)) truncateSync(join(records, file), 100)
  node.agent.start()
  await node.agent.waitReady()
  await expect(pod.add()).rejects.toMatchObject({ cniCode: 105 })
  await pod.del()
  await pod.add()
  expect(await whatStaysWrong(node)).toEqual([])
  await pod.remove()
})

/** The node's own object with these ranges, and the agent going by it. */
async function setRanges(podCIDRs: readonly string[]): Promise<void> {
  const object = nodeObject(node.plan, randomUUID())
  lab.manifests.write({ ...object, spec: { podCIDRs } } as typeof object)
  await eventually('the agent to read its ranges', async () => {
    const addresses = await node.agent.get('/v1/addresses')
    const { ranges } = addresses as { ranges: { range: string }[] }
    return ranges.map(({ range }) => range).join() === podCIDRs.join()
  })
}

test('ADD when every address is given: 102, until one is given back', async () => {
  await setRanges(['10.244.77.0/30'])
  const first = await node.addPod('first')
  const pod = await Pod.prepare(node.machine, 'second')
  await refusedUntil(pod, 102, () => first.remove())
  expect(pod.addresses).toEqual(['10.244.77.2'])
  await pod.remove()
})

test('ADD on a node without podCIDRs: 11, until it has some', async () => {
  await setRanges([])
  const pod = await Pod.prepare(node.machine, 'no-range')
  await refusedUntil(pod, 11, () => setRanges(node.plan.podCidrs))
  await pod.remove()
})
