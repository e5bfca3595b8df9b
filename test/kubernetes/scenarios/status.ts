// A runtime that asks whether the network can take pods, as containerd 2 does where every plug-in of the chain speaks CNI 1.1.0.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually } from '../../lab/eventually.ts'
import type { Cluster } from '../cluster.ts'
import type { ClusterNode } from '../node.ts'
import { startAgents, stopAgents } from '../sinabro-network.ts'
import { metricOf } from './agent.ts'
import { assertReady } from './pods.ts'
import type { Scenario } from './scenario.ts'

/** Within statusGraceSec, which is 60. */
const AWAY_MS = 30_000
const CONFLIST = 'etc/cni/net.d/05-sinabro.conflist'

async function isAsked(cluster: Cluster): Promise<string> {
  for (const node of cluster.nodes) {
    const conflist = readFileSync(node.machine.onDisk(CONFLIST), 'utf8')
    const { plugins } = JSON.parse(conflist) as { plugins: { type: string }[] }
    const chained = plugins.some(({ type }) => type === 'portmap')
    if (chained !== cluster.hasKubeProxy) throw new Error(`${node.name} has ${conflist}`)
    const before = await answersOf(node)
    await eventually(`STATUS to be asked on ${node.name}`, async () => {
      return (await answersOf(node)) > before
    })
  }
  await assertReady(cluster)
  return `${cluster.nodes.length} nodes`
}

async function awayIsForgiven(cluster: Cluster): Promise<undefined> {
  await stopAgents(cluster)
  try {
    await sleep(AWAY_MS) // how long they are away is the scenario
    await assertReady(cluster)
  } finally {
    await startAgents(cluster)
  }
  await assertReady(cluster)
}

/** How often STATUS was answered without an error. */
async function answersOf(node: ClusterNode): Promise<number> {
  const calls = await metricOf(node, 'sinabro_cni_call_duration_seconds_count')
  const good = calls.filter(({ labels }) => /verb="STATUS"/.test(labels) && /code="0"/.test(labels))
  return good.reduce((sum, { value }) => sum + value, 0)
}

const neverAsks = ({ nodes }: Cluster): string | undefined =>
  nodes.some(({ settings }) => settings.containerd === 'debian')
    ? 'this containerd never asks'
    : undefined

export const status: readonly Scenario[] = [
  {
    name: 'the runtime asks STATUS of a chain that speaks CNI 1.1.0',
    unfit: neverAsks,
    run: isAsked,
  },
  {
    name: 'a runtime that asks STATUS keeps nodes Ready while no agent answers for 30 s',
    unfit: neverAsks,
    run: awayIsForgiven,
  },
]
