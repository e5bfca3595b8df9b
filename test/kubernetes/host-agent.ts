// Our network without its image: the agent of this tree's build on every node, fed with the cluster's Nodes as manifests.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TREE } from '../lab/places.ts'
import type { Cluster } from './cluster.ts'
import { Daemon } from './daemon.ts'
import type { ClusterNode } from './node.ts'
import { CLUSTER_DIR } from './places.ts'
import { installReferencePlugins } from './reference-network.ts'

const MANIFESTS = join(CLUSTER_DIR, 'manifests')
const PROGRAM = join(TREE, 'agent/build/sinabro')

export async function applyHostAgents(cluster: Cluster): Promise<void> {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: npm run build`)
  await writeNodes(cluster)
  for (const node of cluster.nodes) {
    installReferencePlugins(node)
    agentOf(node, cluster).start()
  }
}

/** The agent as a process of the node. Its command's name is Node's. */
export function agentOf(node: ClusterNode, cluster: Cluster): Daemon {
  return new Daemon(node.machine, [
    ...[PROGRAM, 'agent', '--source', `manifests:${MANIFESTS}`, '--node-name', node.name],
    ...['--cluster-cidrs', cluster.plan.podRanges.join(',')],
  ])
}

async function writeNodes(cluster: Cluster): Promise<void> {
  mkdirSync(MANIFESTS, { recursive: true })
  const text = await cluster.kubectl('get', 'nodes', '-o', 'json')
  const { items } = JSON.parse(text) as { items: { metadata: { name: string } }[] }
  for (const node of items) {
    writeFileSync(join(MANIFESTS, `${node.metadata.name}.json`), JSON.stringify(node))
  }
}
