// The agent ends itself at each named point of its work, once; the next agent finds the pieces and ends in the same state.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CniFailure, eventually, type Lab, type LabNode } from '../lab/index.ts'
import { raise, whatStaysWrong } from './stage.ts'

const NAME = 'crash-points'

/** In the order in which a pod's life passes them. */
const POINTS = [
  ...['ipam.record.written', 'ipam.record.renamed', 'ipam.record.durable'],
  ...['pods.pair', 'pods.settings', 'pods.programs', 'pods.endpoints', 'pods.inside'],
  ...['pods.up', 'pods.routes'],
  ...['pods.unwire.endpoints', 'pods.unwire.pair', 'pods.unwire.pins'],
  ...['ipam.record.removed', 'ipam.record.removal-durable'],
]

/** An ADD that lost its agent does not wait ten seconds for the next one. */
const IMPATIENT = { connectWaitMs: 100 }

let lab: Lab
let node: LabNode

beforeAll(async () => {
  lab = await raise(NAME, { nodes: 1 })
  node = lab.node(1)
  await node.addPod('stays')
})

afterAll(() => lab?.down())

/** A refusal is what a runtime has to live with; anything else is a bug. */
async function asRuntime<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (error instanceof CniFailure) return undefined
    throw error
  }
}

describe.each(POINTS)('crash at %s', (point) => {
  test('leaves nothing that the next agent does not put right', async () => {
    await node.agent.kill('SIGKILL')
    node.agent.start({ args: ['--crash-at', point] })
    await node.agent.waitReady()
    const pod = await asRuntime(node.addPod('passes', { plugin: IMPATIENT }))
    if (pod !== undefined) await pod.remove()
    await eventually(`the agent to end at ${point}`, () => node.agent.pids().length === 0)
    node.agent.start()
    await node.agent.waitReady()
    expect(node.pods().map(({ name }) => name)).toEqual(['stays'])
    expect(await whatStaysWrong(node)).toEqual([])
    await node.pod('stays').check()
  })
})
