// The agents' own comings and goings: pods must not notice, and nodes must stay Ready.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from '../cluster.ts'
import { killAgent, rollAgents, startAgents, stopAgents, waitSinabro } from '../sinabro-network.ts'
import { Connections } from './connections.ts'
import { Endpoints } from './endpoints.ts'
import { askFrom, assertReady, hostnameUrl, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'

const AWAY_MS = 30_000
const MANY = 100
const MANY_SECONDS = 400

async function rollingUpdate(cluster: Cluster): Promise<undefined> {
  await withNamespace(cluster, 'rolling-update', async (space) => {
    const connections = await Connections.open(cluster, space)
    await rollAgents(cluster)
    await connections.check()
    for (const node of cluster.nodes) await killAgent(node)
    await connections.check()
    await waitSinabro(cluster)
    await connections.check()
  })
}

async function agentsAway(cluster: Cluster): Promise<undefined> {
  await withNamespace(cluster, 'agents-away', async (space) => {
    const node = cluster.node(1)
    await space.startServers('old', node.name, 2)
    await space.rolledOut('deployment', 'old')
    const connections = await Connections.open(cluster, space)
    const servers = await space.pods('app=long-server')
    const endpoints = await Endpoints.of(space, 'long-server', servers)
    await stopAgents(cluster)
    try {
      // Pods that go are gone for the kubelet at once; the agent hears of them when it is back.
      await space.kubectl('delete', 'deployment', 'old', '--wait')
      await space.kubectl('wait', '--for=delete', 'pod', '-l', 'app=old', '--timeout=60s')
      await space.startServers('new', node.name, 2)
      await sleep(AWAY_MS) // how long they are away is the scenario
      await assertReady(cluster)
      const early = await space.pods('app=new')
      const served = early.filter(({ addresses }) => addresses.length > 0)
      if (served.length > 0) throw new Error(`${served[0]?.name} got addresses without an agent`)
      await connections.check()
    } finally {
      await startAgents(cluster)
    }
    await space.rolledOut('deployment', 'new')
    const pods = await space.pods('app=new')
    await askFrom(
      cluster.node(cluster.nodes.length).machine,
      pods.flatMap(({ addresses }) => addresses.map((a) => hostnameUrl(a))),
    )
    await connections.check()
    await endpoints.assertStayed()
  })
}

interface TimedPod {
  readonly status: {
    readonly conditions: readonly { readonly type: string; readonly lastTransitionTime: string }[]
  }
}

async function manyPods(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'many', async (space) => {
    const node = cluster.node(1)
    const startMs = performance.now()
    await space.startServers('many', node.name, MANY)
    await space.rolledOut('deployment', 'many', MANY_SECONDS)
    const seconds = (performance.now() - startMs) / 1000
    const text = await space.kubectl('get', 'pods', '-l', 'app=many', '-o', 'json')
    const { items } = JSON.parse(text) as { items: TimedPod[] }
    const starts = items.map(startSeconds).sort((a, b) => a - b)
    const pods = await space.pods('app=many')
    const addresses = pods.flatMap((pod) => pod.addresses)
    if (new Set(addresses).size !== MANY * cluster.plan.podRanges.length) {
      throw new Error(`${MANY} pods have ${new Set(addresses).size} different addresses`)
    }
    const other = cluster.node(cluster.nodes.length).machine
    await askFrom(
      other,
      addresses.map((address) => hostnameUrl(address)),
    )
    const p50 = starts[Math.floor(starts.length / 2)]
    return `all in ${seconds.toFixed(0)} s, scheduled to Ready p50 ${p50} s, p99 ${starts.at(-2)} s`
  })
}

/** Whole seconds: the API keeps no finer time. */
function startSeconds({ status }: TimedPod): number {
  const at = (type: string): number =>
    Date.parse(status.conditions.find((c) => c.type === type)?.lastTransitionTime ?? '')
  return (at('Ready') - at('PodScheduled')) / 1000
}

export const agents: readonly Scenario[] = [
  { name: 'agents are replaced and killed under long-lived connections', run: rollingUpdate },
  { name: 'without agents nodes stay Ready, pods go, new ones wait', run: agentsAway },
  { name: '100 pods on one node at once', run: manyPods },
]
