// Pods talk: on one node and across, with nodes, both families, every byte checked.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Pod } from '../lab/index.ts'
import { echoUdp, greet, type Place, ping, serve, upload } from '../lab/talk.ts'
import { raiseWithPods, type Stage } from './stage.ts'

const NAME = 'connectivity'
/** SINABRO_BULK_MIB: fewer, where the kernel is emulated. */
const BULK_BYTES = Number(process.env.SINABRO_BULK_MIB ?? 64) << 20

let stage: Stage

beforeAll(async () => {
  stage = await raiseWithPods(NAME)
  await Promise.all([...Object.values(stage.pods), ...nodes()].map(serve))
})

afterAll(() => stage?.lab.down())

function nodes(): Place[] {
  return stage.lab.nodes.map(({ machine, name }) => ({ machine, name }))
}

function nodeOf(pod: Pod): Place {
  return { machine: pod.machine, name: pod.machine.name }
}

test('every pod has an address of its node per family, and they are told apart', () => {
  const all = Object.values(stage.pods).flatMap((pod) => pod.addresses)
  expect(new Set(all).size).toBe(8)
  expect(stage.pods.a.address(4)).toMatch(/^10\.244\.1\./)
  expect(stage.pods.a.address(6)).toMatch(/^fd00:10:244:1::/)
  expect(stage.pods.c.address(4)).toMatch(/^10\.244\.2\./)
  expect(stage.pods.c.address(6)).toMatch(/^fd00:10:244:2::/)
})

describe.each([
  ['on one node', 'a', 'b'],
  ['across nodes', 'a', 'c'],
  ['across nodes the other way', 'd', 'b'],
] as const)('pod to pod %s', (_, from, to) => {
  describe.each([4, 6] as const)('IPv%i', (family) => {
    const source = () => stage.pods[from]
    const target = () => stage.pods[to].address(family)

    test('ping', async () => expect(await ping(source(), target(), 3)).toBe(true))

    test('TCP, and the server sees the pod’s own address', async () => {
      const greeting = await greet(source(), target())
      expect(greeting).toEqual({ server: to, client: source().address(family) })
    })

    test.each([1, 1200, 1372, 8000])('UDP of %i bytes', async (bytes) => {
      expect(await echoUdp(source(), target(), 5, bytes)).toEqual({ sent: 5, echoed: 5 })
    })

    test('bulk with checksums', async () => {
      const report = await upload(source(), target(), BULK_BYTES)
      expect(report.received).toEqual({ bytes: BULK_BYTES, sha256: report.sha256 })
    })
  })
})

describe.each([4, 6] as const)('nodes and pods, IPv%i', (family) => {
  test('node to its own pod', async () => {
    const { a } = stage.pods
    expect(await ping(nodeOf(a), a.address(family))).toBe(true)
    expect((await greet(nodeOf(a), a.address(family))).server).toBe('a')
  })

  test('pod to its own node, at the node’s own address', async () => {
    const { a } = stage.pods
    const own = stage.lab.node(1).plan.internalIps[family === 4 ? 0 : 1] ?? ''
    expect(await ping(a, own)).toBe(true)
    expect((await greet(a, own)).client).toBe(a.address(family))
  })

  test('node to a pod of the other node, and back', async () => {
    const { c } = stage.pods
    const node1 = nodeOf(stage.pods.a)
    expect(await ping(node1, c.address(family))).toBe(true)
    const { client } = await greet(node1, c.address(family))
    expect(await ping(c, client)).toBe(true)
    const report = await upload(node1, c.address(family), BULK_BYTES)
    expect(report.received.sha256).toBe(report.sha256)
  })

  test('pod to the other node', async () => {
    const other = stage.lab.node(2).plan.internalIps[family === 4 ? 0 : 1] ?? ''
    expect(await ping(stage.pods.a, other)).toBe(true)
    expect((await greet(stage.pods.a, other)).server).toBe('node2')
  })
})
