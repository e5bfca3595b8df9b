// What every integration test starts from: a lab with agents that are ready, and pods on it.
import { type AgentOptions, Lab, type LabOptions, type Pod } from '../lab/index.ts'

export interface Stage {
  readonly lab: Lab
  /** a and b on node1, c and d on node2. */
  readonly pods: Readonly<Record<'a' | 'b' | 'c' | 'd', Pod>>
}

/** A lab of two nodes with ready agents. */
export async function raise(
  name: string,
  options: Partial<LabOptions> & { readonly agent?: AgentOptions } = {},
): Promise<Lab> {
  const { agent, ...labOptions } = options
  const lab = await Lab.up({ name: `test-${name}`, nodes: 2, canReplace: true, ...labOptions })
  for (const node of lab.nodes) node.agent.start(agent)
  await Promise.all(lab.nodes.map((node) => node.agent.waitReady()))
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
