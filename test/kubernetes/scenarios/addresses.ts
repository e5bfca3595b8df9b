// A node that has run out of pod addresses: pods that are there stay as they are, new ones say why they wait, and the next free address ends it.
import { eventually } from '../../lab/eventually.ts'
import type { Cluster } from '../cluster.ts'
import type { ClusterNode } from '../node.ts'
import { statusOf } from './agent.ts'
import { Runtime, withNetworkNamespaces } from './attachments.ts'
import { Endpoints } from './endpoints.ts'
import { assertReady, type Namespace, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'

const WAITING = 2
/** A kubelet asks again with growing pauses. */
const RETRY_DEADLINE_MS = 90_000
/** Longer than bad news is held back (ADR 0069). */
const CONDITION_DEADLINE_MS = 40_000

async function poolFull(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'pool-full', async (space) => {
    const node = cluster.node(2)
    const pods = await space.serverOnEachNode('web')
    const endpoints = await Endpoints.of(space, 'web', pods)
    const ids = Array.from({ length: await freeAddresses(node) }, (_, i) => `full-${i}`)
    const [first = '', ...others] = ids
    await withNetworkNamespaces(node, ids, async () => {
      const runtime = new Runtime(node)
      try {
        await runtime.ask(...ids.map((id) => ({ verb: 'ADD', id })))
        await space.startServers('late', node.name, WAITING)
        await eventually('the pods to say why', () => saysWhy(space), RETRY_DEADLINE_MS)
        await eventually(
          'the node to say why',
          () => nodeSaysWhy(cluster, node),
          CONDITION_DEADLINE_MS,
        )
        await assertReady(cluster)
        await runtime.ask({ verb: 'DEL', id: first })
        const one = 'jsonpath={.status.readyReplicas}=1'
        await space.kubectl('wait', `--for=${one}`, 'deployment/late', '--timeout=90s')
        await runtime.ask(...others.map((id) => ({ verb: 'DEL', id })))
      } finally {
        await runtime.ask(...ids.map((id) => ({ verb: 'DEL', id })))
      }
    })
    await space.rolledOut('deployment', 'late')
    await assertReady(cluster)
    await endpoints.assertStayed()
    return `${ids.length} addresses taken`
  })
}

async function freeAddresses(node: ClusterNode): Promise<number> {
  const { ranges } = await statusOf(node)
  return Math.min(...ranges.map(({ capacity, used }) => capacity - used))
}

/** By an event of the runtime, and one of ours. */
async function saysWhy(space: Namespace): Promise<boolean> {
  const said = await Promise.all(
    ['FailedCreatePodSandBox', 'NoPodAddress'].map((reason) => {
      const about = `involvedObject.kind=Pod,reason=${reason}`
      const why = 'jsonpath={range .items[*]}{.message}{"\\n"}{end}'
      return space.kubectl('get', 'events', '--field-selector', about, '-o', why)
    }),
  )
  return said.every((messages) => messages.includes('no free address'))
}

/** By a condition, which does not keep pods away, and an event. */
async function nodeSaysWhy(cluster: Cluster, { name }: ClusterNode): Promise<boolean> {
  const said = 'jsonpath={.status.conditions[?(@.type=="PodAddressesAvailable")].reason}'
  const reason = await cluster.kubectl('get', 'node', name, '-o', said)
  const about = `involvedObject.name=${name},reason=PodAddressesExhausted`
  const events = await cluster.kubectl('get', 'events', '--field-selector', about, '-o', 'name')
  return reason === 'PoolFull' && events !== ''
}

export const addresses: readonly Scenario[] = [
  { name: 'a node without free addresses keeps its pods and says why others wait', run: poolFull },
]
