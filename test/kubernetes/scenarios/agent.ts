// What the agent of a node says of itself, over its socket, and its replacement.
import type { PodView, Status } from '@sinabro/agent/api/status.ts'
import type { NodeView } from '@sinabro/agent/api/views.ts'
import { eventually } from '../../lab/eventually.ts'
import type { Cluster } from '../cluster.ts'
import type { ClusterNode } from '../node.ts'
import { deleteAgent, killAgent } from '../sinabro-network.ts'

/** A killed container may wait ten seconds and more before the kubelet starts it again. */
const RESTART_DEADLINE_MS = 60_000

/** @throws LabError when it does not answer */
async function ask(node: ClusterNode, path: string): Promise<string> {
  const socket = ['--unix-socket', '/run/sinabro/agent.sock', '--max-time', '10']
  const { stdout } = await node.machine.exec(['curl', '-sSf', ...socket, `http://agent${path}`])
  return stdout
}

export async function statusOf(node: ClusterNode): Promise<Status> {
  return JSON.parse(await ask(node, '/v1/status')) as Status
}

/** What the agent of `node` knows of the cluster's nodes. */
export async function nodesOf(node: ClusterNode): Promise<readonly NodeView[]> {
  const { nodes } = JSON.parse(await ask(node, '/v1/nodes')) as { nodes: readonly NodeView[] }
  return nodes
}

export async function podsOf(node: ClusterNode): Promise<readonly PodView[]> {
  const { pods } = JSON.parse(await ask(node, '/v1/pods')) as { pods: readonly PodView[] }
  return pods
}

export interface Sample {
  readonly labels: string
  readonly value: number
}

/** Rows of one metric. */
export async function metricOf(node: ClusterNode, name: string): Promise<Sample[]> {
  const text = await ask(node, '/v1/metrics')
  return [...text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)]
    .filter(([, found]) => found === name)
    .map(([, , labels = '', value]) => ({ labels, value: Number(value) }))
}

/** Anonymous memory, in MiB: the files of its image are shared. */
export async function memoryOf({ machine }: ClusterNode): Promise<number> {
  const { stdout: pid } = await machine.exec(['pgrep', '-f', '/usr/lib/sinabro/sinabro.mjs'])
  const { stdout } = await machine.exec(['grep', '^RssAnon:', `/proc/${pid.trim()}/status`])
  return Number(/\d+/.exec(stdout)?.[0]) / 1024
}

/** The agent's pod on this node anew; the others go on. */
export async function replaceAgent(cluster: Cluster, node: ClusterNode): Promise<void> {
  await restarted(node, () => deleteAgent(cluster, node.name))
}

export async function restartAgent(node: ClusterNode): Promise<void> {
  await restarted(node, () => killAgent(node))
}

async function restarted(node: ClusterNode, end: () => Promise<unknown>): Promise<void> {
  const { startedAt } = await statusOf(node)
  await end()
  await eventually(
    `the agent of ${node.name} to be ready again`,
    async () => {
      const now = await statusOf(node).catch(() => undefined)
      return now !== undefined && now.startedAt !== startedAt && now.ready
    },
    RESTART_DEADLINE_MS,
  )
}
