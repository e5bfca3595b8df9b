// Parts that end and come back under traffic: kubelet, containerd, a node, the API server.

import { eventually } from '../../lab/eventually.ts'
import type { Cluster } from '../cluster.ts'
import type { ClusterNode } from '../node.ts'
import { restartAgent } from './agent.ts'
import { inside, Runtime, withNetworkNamespaces } from './attachments.ts'
import { Connections } from './connections.ts'
import { Load } from './load.ts'
import { askFrom, hostnameUrl, type Namespace, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'
import { clusterTargets, createService } from './service.ts'

/** How long the API server stays away; five minutes for who has the time. */
const API_OUTAGE_MS = Number(process.env.SINABRO_TEST_API_OUTAGE_SEC ?? '30') * 1000
const POD_DEADLINE_MS = 120_000

/** A pod that is made after the disruption gets a network, and is reached. */
async function newPodsWork(cluster: Cluster, space: Namespace, name: string): Promise<void> {
  for (const node of cluster.nodes) await space.startServers(`${name}-${node.name}`, node.name, 1)
  for (const node of cluster.nodes) {
    await space.rolledOut('deployment', `${name}-${node.name}`)
    const pods = await space.pods(`app=${name}-${node.name}`)
    const urls = pods.flatMap(({ addresses }) => addresses.map((a) => hostnameUrl(a)))
    for (const other of cluster.nodes) await askFrom(other.machine, urls)
  }
}

async function restart(cluster: Cluster, what: 'kubelet' | 'containerd'): Promise<undefined> {
  await withNamespace(cluster, `restart-${what}`, async (space) => {
    const connections = await Connections.open(cluster, space)
    for (const node of cluster.nodes) {
      await node[what].restart('SIGKILL')
      if (what === 'containerd') await node.waitContainerd()
    }
    await newPodsWork(cluster, space, 'after')
    await connections.check()
  })
}

async function reboot(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'reboot', async (space) => {
    await space.serverOnEachNode('web')
    const node = cluster.node(cluster.nodes.length)
    const startMs = performance.now()
    await cluster.reboot(node)
    await eventually(
      `the pod of ${node.name} to answer again`,
      async () => {
        const pods = await space.pods('app=web')
        const addresses = pods.find((pod) => pod.node === node.name)?.addresses ?? []
        return addresses.length > 0 && (await answers(cluster, addresses))
      },
      POD_DEADLINE_MS,
    )
    const seconds = (performance.now() - startMs) / 1000
    await newPodsWork(cluster, space, 'after')
    return `pod answers ${seconds.toFixed(0)} s after the power went`
  })
}

async function answers(cluster: Cluster, addresses: readonly string[]): Promise<boolean> {
  const argv = ['curl', '-sfg', '--max-time', '1', ...addresses.map((a) => hostnameUrl(a))]
  const { status } = await cluster.node(1).machine.exec(argv, { canFail: true })
  return status === 0
}

async function apiServerAway(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'api-outage', async (space) => {
    const connections = await Connections.open(cluster, space)
    const pods = await space.pods('app=long-server')
    const service = await createService(space, 'long-server')
    using load = await Load.start(space, clusterTargets(service))
    const { apiServer } = cluster.control
    const urls = pods.flatMap(({ addresses }) => addresses.map((a) => hostnameUrl(a)))
    await apiServer.kill('SIGKILL')
    try {
      const endMs = performance.now() + API_OUTAGE_MS
      await Promise.all(cluster.nodes.map(restartAgent))
      for (const node of cluster.nodes) await newAttachmentWorks(node, urls)
      while (performance.now() < endMs) {
        for (const { machine } of cluster.nodes) await askFrom(machine, urls)
      }
    } finally {
      apiServer.start()
      await cluster.control.waitReady()
    }
    await connections.check()
    await load.check()
    await cluster.waitReady()
    await newPodsWork(cluster, space, 'after')
    return `${API_OUTAGE_MS / 1000} s`
  })
}

/** By an agent that lives from its snapshot. */
async function newAttachmentWorks(node: ClusterNode, urls: readonly string[]): Promise<void> {
  const id = 'outage'
  await withNetworkNamespaces(node, [id], async () => {
    const runtime = new Runtime(node)
    await runtime.ask({ verb: 'ADD', id })
    try {
      await askFrom(inside(node, id), urls)
    } finally {
      await runtime.ask({ verb: 'DEL', id })
    }
  })
}

export const disruption: readonly Scenario[] = [
  { name: 'kubelets are killed and started again', run: (cluster) => restart(cluster, 'kubelet') },
  {
    name: 'containerd is killed and started again',
    run: (cluster) => restart(cluster, 'containerd'),
  },
  { name: 'the API server is away, and agents start meanwhile', run: apiServerAway },
  { name: 'a node loses power and comes back', run: reboot },
]
