// CNI verbs by the real executable against a real agent: once, again, late, without an agent, without a namespace.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CniFailure, eventually, type Lab, type LabNode, Pod } from '../lab/index.ts'
import { readAllocations } from '../lab/node-state.ts'
import { ping } from '../lab/talk.ts'
import { raise, whatIsWrong } from './stage.ts'

const NAME = 'verbs'
let lab: Lab
let node: LabNode

beforeAll(async () => {
  lab = await raise(NAME, { nodes: 1 })
  node = lab.node(1)
})

afterAll(() => lab?.down())

test('ADD answers with the interface, its addresses and routes, and the kernel has them', async () => {
  const pod = await node.addPod('web')
  const { interfaces = [], ips = [] } = pod.result
  const inside = interfaces.findIndex(({ sandbox }) => sandbox === pod.attachment.netns)
  expect(interfaces[inside]?.name).toBe('eth0')
  expect(ips.map(({ address }) => address.split('/')[1])).toEqual(['32', '128'])
  expect(ips.every((ip) => ip.interface === inside)).toBe(true)
  const { stdout } = await pod.exec(['ip', '-json', 'address', 'show', 'dev', 'eth0'])
  const [link] = JSON.parse(stdout) as [{ address: string; addr_info: { local: string }[] }]
  expect(link.address).toBe(interfaces[inside]?.mac)
  expect(link.addr_info.map(({ local }) => local)).toEqual(expect.arrayContaining(pod.addresses))
  expect(await whatIsWrong(node)).toEqual([])
  await pod.remove()
})

test('ADD repeated gives the same answer and nothing twice', async () => {
  const pod = await node.addPod('twice')
  const first = pod.result
  expect(await pod.add()).toEqual(first)
  expect(await whatIsWrong(node)).toEqual([])
  await pod.remove()
})

test('CHECK passes for a whole pod and fails for one that lost its address', async () => {
  const pod = await node.addPod('checked')
  await pod.check()
  await pod.exec(['ip', 'address', 'flush', 'dev', 'eth0', 'scope', 'global'])
  await expect(pod.check()).rejects.toThrow(CniFailure)
  await pod.remove()
})

test('CHECK does not mind a default route that a later plug-in has put in the place of ours', async () => {
  const pod = await node.addPod('rerouted')
  const route = ['default', 'via', '169.254.1.1', 'dev', 'eth0', 'onlink']
  await pod.exec(['ip', 'route', 'del', 'default'])
  await pod.exec(['ip', 'route', 'add', ...route, 'metric', '7', 'proto', 'static'])
  await pod.check()
  await pod.remove()
})

test('a running pod whose device somebody deletes is reached again', async () => {
  const pod = await node.addPod('cut-off')
  const device = pod.result.interfaces?.find(({ sandbox }) => sandbox === undefined)?.name ?? ''
  await node.exec(['ip', 'link', 'del', device])
  await eventually('the pod to have its network back', async () => {
    return (await whatIsWrong(node)).length === 0
  })
  for (const family of [4, 6] as const) {
    expect(await ping({ machine: node.machine, name: 'node1' }, pod.address(family))).toBe(true)
  }
  await pod.check()
  await pod.remove()
})

test('DEL repeated succeeds, and nothing is left after the first', async () => {
  const pod = await node.addPod('gone')
  await pod.del()
  expect(await whatIsWrong(node, [])).toEqual([])
  await pod.del()
  await pod.remove()
})

test('DEL of a pod that never was succeeds', async () => {
  const pod = await Pod.prepare(node.machine, 'never')
  await pod.remove()
})

test('DEL after the namespace is gone gives everything back', async () => {
  const pod = await node.addPod('no-netns')
  await pod.removeNetns()
  await pod.del()
  expect(await whatIsWrong(node, [])).toEqual([])
  await pod.remove()
})

test('ADD without an agent fails with the code that makes the runtime ask again', async () => {
  await node.agent.kill('SIGKILL')
  const pod = await Pod.prepare(node.machine, 'too-early', { plugin: { connectWaitMs: 200 } })
  await expect(pod.add()).rejects.toMatchObject({ cniCode: 11 })
  node.agent.start()
  await node.agent.waitReady()
  await pod.add()
  expect(await ping({ machine: node.machine, name: 'node1' }, pod.address(4))).toBe(true)
  await pod.remove()
})

test('DEL without an agent succeeds, waits on disk and is done when the agent is back', async () => {
  const pod = await node.addPod('queued')
  await node.agent.kill('SIGKILL')
  await pod.remove()
  const queue = join(node.machine.places.stateDir, 'queue')
  expect(readdirSync(queue)).toHaveLength(1)
  expect(readAllocations(node.machine)).toHaveLength(1)
  node.agent.start()
  await node.agent.waitReady()
  await eventually('the queued DEL to be done', () => readdirSync(queue).length === 0)
  expect(await whatIsWrong(node)).toEqual([])
})

test('twenty pods at once have forty addresses, and none is left when they are gone', async () => {
  const names = Array.from({ length: 20 }, (_, i) => `many-${i}`)
  const pods = await Promise.all(names.map((name) => node.addPod(name)))
  expect(new Set(pods.flatMap((pod) => pod.addresses)).size).toBe(40)
  expect(await whatIsWrong(node)).toEqual([])
  await Promise.all(pods.map((pod) => pod.remove()))
  expect(await whatIsWrong(node)).toEqual([])
})
