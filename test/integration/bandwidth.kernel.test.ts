// Pods held to a rate by the `bandwidth` capability: on every way into and out of one, no more arrives than the rate allows.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, type Lab, type LabNode, type Pod } from '../lab/index.ts'
import { ping, serve, upload } from '../lab/talk.ts'
import { raise, whatIsWrong } from './stage.ts'

const RATE = 16_000_000
/** As much as a bucket holds at least, which is more than this asks for. */
const BURST_BYTES = 18 * 1024
const BYTES = 3 << 20
const families = [4, 6] as const

let lab: Lab
let node: LabNode
/** Held in both directions. */
let held: Pod
let neighbour: Pod
let remote: Pod

beforeAll(async () => {
  lab = await raise('bandwidth')
  node = lab.node(1)
  const bandwidth = { ingressRate: RATE, ingressBurst: 8, egressRate: RATE, egressBurst: 8 }
  held = await node.addPod('held', { plugin: { runtimeConfig: { bandwidth } } })
  neighbour = await node.addPod('neighbour')
  remote = await lab.node(2).addPod('remote')
  for (const pod of [held, neighbour, remote]) await serve(pod)
})
afterAll(() => lab?.down())

const host = () => ({ machine: node.machine, name: node.name })

/** What a bucket cannot do: let through more than it held at first and was filled with since. Headers come on top. */
async function isHeldBack(from: Parameters<typeof upload>[0], address: string): Promise<void> {
  const { received, seconds } = await upload(from, address, BYTES)
  expect(received.bytes).toBe(BYTES)
  expect(received.bytes).toBeLessThanOrEqual(BURST_BYTES + (RATE / 8) * seconds)
}

test.each(families)('IPv%i: to and from a pod of the same node', async (family) => {
  await isHeldBack(neighbour, held.address(family))
  await isHeldBack(held, neighbour.address(family))
})

test.each(families)('IPv%i: to and from a pod of another node', async (family) => {
  await isHeldBack(remote, held.address(family))
  await isHeldBack(held, remote.address(family))
})

test.each(families)('IPv%i: from its node, by the stack', async (family) => {
  await isHeldBack(host(), held.address(family))
})

test('an agent that starts again leaves the limits, and puts back what somebody took away', async () => {
  const { stdout } = await node.exec(['ip', '-json', 'link', 'show', 'type', 'veth'])
  const devices = JSON.parse(stdout) as { ifname: string }[]
  const tbf = async () => {
    const listed = await node.exec(['tc', '-json', 'qdisc', 'show'])
    const qdiscs = JSON.parse(listed.stdout) as { kind: string; dev: string; root?: boolean }[]
    return qdiscs.filter(({ kind }) => kind === 'tbf')
  }
  const inPod = async () => {
    const listed = await held.exec(['tc', '-json', 'qdisc', 'show', 'dev', 'eth0'])
    return (JSON.parse(listed.stdout) as { kind: string }[]).some(({ kind }) => kind === 'tbf')
  }
  const [bucket] = await tbf()
  expect(await tbf()).toHaveLength(1)
  expect(devices.map(({ ifname }) => ifname)).toContain(bucket?.dev)
  await node.agent.kill('SIGKILL')
  await isHeldBack(neighbour, held.address(4))
  node.agent.start()
  await node.agent.waitReady()
  expect(await tbf()).toHaveLength(1)
  // The pod's own first: of that one nobody tells the agent, which looks at both when it hears of the other.
  await held.exec(['tc', 'qdisc', 'del', 'dev', 'eth0', 'root'])
  await node.exec(['tc', 'qdisc', 'del', 'dev', bucket?.dev ?? '', 'root'])
  await eventually('both buckets', async () => (await tbf()).length === 1 && (await inPod()))
  await held.check()
  await isHeldBack(remote, held.address(4))
})

test.each([
  [{ ingressRate: 1_000_000 }, 'ingressRate needs ingressBurst'],
  [{ egressRate: '1M', egressBurst: 1 }, 'egressRate: expected a whole number'],
  [{ ingressRate: -1, ingressBurst: 1 }, 'ingressRate: expected a whole number'],
  ['1M', 'expected an object'],
])('bandwidth %j is refused with code 7 and leaves nothing', async (bandwidth, message) => {
  const adding = node.addPod('refused', { plugin: { runtimeConfig: { bandwidth } } })
  await expect(adding).rejects.toMatchObject({
    cniCode: 7,
    message: expect.stringContaining(message),
  })
  expect(await whatIsWrong(node, [held, neighbour])).toEqual([])
})

test('a DEL takes the limits with it', async () => {
  await held.remove()
  const { stdout } = await node.exec(['tc', '-json', 'qdisc', 'show'])
  expect((JSON.parse(stdout) as { kind: string }[]).some(({ kind }) => kind === 'tbf')).toBe(false)
  expect(await ping(neighbour, remote.address(4))).toBe(true)
  expect(await whatIsWrong(node, [neighbour])).toEqual([])
})
