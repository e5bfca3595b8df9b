// The way between nodes is changed under living connections, as an operator does it: the ConfigMap, then agent by agent.
import type { Cluster } from '../cluster.ts'
import type { ClusterNode } from '../node.ts'
import { configure } from '../sinabro-network.ts'
import { replaceAgent, statusOf } from './agent.ts'
import { Connections } from './connections.ts'
import { withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'

const DEFAULT = 'bpf'

async function modesChange(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'modes', async (space) => {
    const connections = await Connections.open(cluster, space)
    try {
      // Nodes of both modes reach each other for as long as you like.
      await configure(cluster, { tunnel: 'kernel' })
      for (const node of cluster.nodes) {
        await replaceAgent(cluster, node)
        await connections.check()
      }
      await assertMode(cluster, 'kernel')
      // With and without a tunnel they do not: all at once.
      for (const mode of ['none', DEFAULT]) {
        await configure(cluster, { tunnel: mode })
        await Promise.all(cluster.nodes.map((node) => replaceAgent(cluster, node)))
        await connections.check()
        await assertMode(cluster, mode)
      }
    } finally {
      await configure(cluster, { tunnel: DEFAULT })
      for (const node of cluster.nodes) {
        if ((await modeOf(node)) !== DEFAULT) await replaceAgent(cluster, node)
      }
    }
    return 'bpf, kernel, none, bpf'
  })
}

async function modeOf(node: ClusterNode): Promise<string | undefined> {
  return (await statusOf(node)).facts['tunnel mode']
}

async function assertMode(cluster: Cluster, mode: string): Promise<void> {
  for (const node of cluster.nodes) {
    const found = await modeOf(node)
    if (found !== mode) throw new Error(`${node.name} is in mode ${found}, not ${mode}`)
  }
}

export const modes: readonly Scenario[] = [
  { name: 'the tunnel mode changes node by node under living connections', run: modesChange },
]
