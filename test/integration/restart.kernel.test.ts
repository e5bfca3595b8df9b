// The agent dies and comes back; packets do not notice.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { differences, readNodeState } from '../lab/node-state.ts'
import { ping, serve, Upload } from '../lab/talk.ts'
import { raiseWithPods, type Stage } from './stage.ts'

const NAME = 'restart'
const BYTES = 24 << 20
const MIB_PER_SEC = 8
const KILL_AT_MIB = 4
const RESTART_AT_MIB = 12

let stage: Stage

beforeAll(async () => {
  stage = await raiseWithPods(NAME)
  await Promise.all(Object.values(stage.pods).map(serve))
})

afterAll(() => stage?.lab.down())

describe.each([
  ['on one node', 'a', 'b'],
  ['across nodes', 'a', 'c'],
] as const)('%s', (_, from, to) => {
  test.each([4, 6] as const)(
    'a transfer over IPv%i lives through kill -9 of both agents and their return',
    async (family) => {
      const { lab, pods } = stage
      const transfer = new Upload(pods[from], pods[to].address(family), BYTES, MIB_PER_SEC)
      await transfer.reached(KILL_AT_MIB)
      await Promise.all(lab.nodes.map((node) => node.agent.kill('SIGKILL')))
      expect(lab.nodes.flatMap((node) => node.agent.pids())).toEqual([])
      expect(await ping(pods[from], pods[to].address(family))).toBe(true)
      await transfer.reached(RESTART_AT_MIB)
      for (const node of lab.nodes) node.agent.start()
      await Promise.all(lab.nodes.map((node) => node.agent.waitReady()))
      const report = await transfer.report()
      expect(report.received).toEqual({ bytes: BYTES, sha256: report.sha256 })
    },
  )
})

test('a restarted agent adopts what is there: same devices, routes and rows', async () => {
  const { lab } = stage
  const node = lab.node(1)
  const before = await readNodeState(node.machine)
  expect(before.allocations).toHaveLength(2)
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    await node.agent.kill(signal)
    expect(await readNodeState(node.machine)).toEqual(before)
    node.agent.start()
    await node.agent.waitReady()
    expect(await readNodeState(node.machine)).toEqual(before)
  }
  const expected = node.pods().map(({ attachment, addresses }) => ({ ...attachment, addresses }))
  expect(differences(before, expected)).toEqual([])
})

test('pods that come while the other node’s agent is down are reached at once', async () => {
  const { lab, pods } = stage
  await lab.node(2).agent.kill('SIGKILL')
  const late = await lab.node(1).addPod('late')
  expect(await ping(pods.c, late.address(4))).toBe(true)
  expect(await ping(pods.c, late.address(6))).toBe(true)
  await late.remove()
  lab.node(2).agent.start()
  await lab.node(2).agent.waitReady()
})
