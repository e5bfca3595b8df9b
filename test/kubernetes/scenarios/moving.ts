// A node changes its address under living connections: the others follow its Node object.
import { eventually } from '../../lab/eventually.ts'
import { hostAddresses, type UnderlayAddress } from '../../lab/plan.ts'
import { UPLINK } from '../../lab/underlay.ts'
import type { Cluster } from '../cluster.ts'
import type { ClusterNode } from '../node.ts'
import { nodeAddresses } from '../places.ts'
import { nodesOf } from './agent.ts'
import { Connections } from './connections.ts'
import { everyoneTalks, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'

/** Of the underlay, and nobody's. */
const FREE_HOST = 100
/** An agent whose own connection to the API server had the old address notices by keep-alive. */
const FOLLOW_DEADLINE_MS = 60_000

async function addressChanges(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'moving', async (space) => {
    const node = cluster.node(cluster.nodes.length)
    const { families } = cluster.plan
    const home = nodeAddresses(node.settings.number, families)
    const away = hostAddresses(FREE_HOST, families)
    const connections = await Connections.open(cluster, space)
    await move(cluster, node, home, away)
    try {
      await connections.check()
      await everyoneTalks(space)
    } finally {
      await move(cluster, node, away, home)
    }
    await connections.check()
    await everyoneTalks(space)
    return `${textOf(home)} became ${textOf(away)} and back`
  })
}

/** The old addresses go when every agent has heard of the new; until then both are there, and what begins begins from the new. */
async function move(
  cluster: Cluster,
  node: ClusterNode,
  from: readonly UnderlayAddress[],
  to: readonly UnderlayAddress[],
): Promise<void> {
  const { machine } = node
  // Or the kernel takes all addresses of the subnet with the first of them.
  await machine.exec(['sysctl', '-qw', `net.ipv4.conf.${UPLINK}.promote_secondaries=1`])
  await change(node, [
    ...to.map((address) => `add ${on(address)}`),
    ...from.map((address) => `del ${on(address)}`),
    ...from.map((address) => `add ${on(address)} preferred_lft 0`),
  ])
  await node.kubelet.kill()
  node.kubeletAt(to.map(({ address }) => address)).start()
  for (const other of cluster.nodes) {
    await eventually(
      `${other.name} to know ${node.name} by ${textOf(to)}`,
      async () => {
        const known = (await nodesOf(other)).find(({ name }) => name === node.name)
        const isThere = known?.internalIPs.join() === to.map(({ address }) => address).join()
        return isThere && known?.tunnelAddress === to[0]?.address
      },
      FOLLOW_DEADLINE_MS,
    )
  }
  await change(
    node,
    from.map((address) => `del ${on(address)}`),
  )
}

function on({ address, prefixLen }: UnderlayAddress): string {
  return `${address}/${prefixLen} dev ${UPLINK} nodad`
}

async function change({ machine }: ClusterNode, verbs: readonly string[]): Promise<void> {
  const lines = verbs.map((verb) => `address ${verb}\n`)
  await machine.exec(['ip', '-batch', '-'], { input: lines.join('') })
}

function textOf(list: readonly UnderlayAddress[]): string {
  return list.map(({ address }) => address).join(' ')
}

export const moving: readonly Scenario[] = [
  { name: 'a node changes its address and the others follow', run: addressChanges },
]
