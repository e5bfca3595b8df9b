// What every integration test starts from: a lab with agents that are ready, and pods on it.
import {
  type AgentOptions,
  eventually,
  Lab,
  type LabNode,
  type LabOptions,
  type Pod,
} from '../lab/index.ts'
import { differences, readNodeState } from '../lab/node-state.ts'

export interface Stage {
  readonly lab: Lab
  /** a and b on node1, c and d on node2. */
  readonly pods: Readonly<Record<'a' | 'b' | 'c' | 'd', Pod>>
}

/** A lab of two nodes with ready agents. Runs of the same test side by side, in this tree or another, each get their own. */
export async function raise(
  name: string,
  options: Partial<LabOptions> & { readonly agent?: AgentOptions } = {},
): Promise<Lab> {
  const { agent, ...labOptions } = options
  const lab = await Lab.up({ nodes: 2, ...labOptions, name: `test-${name}-${process.pid}` })
  try {
    for (const node of lab.nodes) node.agent.start(agent)
    await Promise.all(lab.nodes.map((node) => node.agent.waitReady()))
  } catch (error) {
    await lab.down()
    throw error
  }
  return lab
}

export async function raiseWithPods(
  name: string,
  options: Parameters<typeof raise>[1] = {},
): Promise<Stage> {
  const lab = await raise(name, options)
  const [one, two] = [lab.node(1), lab.node(2)]
  const [a, b, c, d] = await Promise.all([
    one.addPod('a'),
    one.addPod('b'),
    two.addPod('c'),
    two.addPod('d'),
  ])
  return { lab, pods: { a, b, c, d } }
}

/** What a node holds other than exactly these pods, or those its runtime knows; empty when all is right. */
export async function whatIsWrong(node: LabNode, pods = node.pods()): Promise<string[]> {
  const expected = pods.map(({ attachment, addresses }) => ({ ...attachment, addresses }))
  return differences(await readNodeState(node.machine), expected)
}

/** The same, after a queued DEL and other work in the background had their time. */
export async function whatStaysWrong(node: LabNode): Promise<string[]> {
  const settled = eventually(`${node.name} to settle`, async () => {
    return (await whatIsWrong(node)).length === 0
  })
  return settled.then(
    () => [],
    () => whatIsWrong(node),
  )
}
