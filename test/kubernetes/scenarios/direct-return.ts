// Direct server return: whichever node is asked, the pod sees the client's own address, and its own node answers.
import { eventually } from '../../lab/eventually.ts'
import type { Cluster } from '../cluster.ts'
import { configure } from '../sinabro-network.ts'
import { replaceAgent } from './agent.ts'
import { seenAs, startBackend } from './from-outside.ts'
import { withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'
import { createService, nodeTargets } from './service.ts'

const APP = 'direct'
const ANNOTATION = 'sinabro\\.io/direct-server-return'

/** By the tunnel, and without one, where nodes tell each other through the API server that they take it. */
async function clientsKeepTheirAddress(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'direct-return', async (space) => {
    await startBackend(space, APP, cluster.node(cluster.nodes.length))
    const targets = nodeTargets(space, await createService(space, APP, { type: 'NodePort' }))
    const assertKept = async (): Promise<void> => {
      for (const target of targets) {
        let seen = ''
        await eventually(`the client to be itself by ${target.address}`, async () => {
          seen = await seenAs(cluster, target).catch(String)
          return cluster.plan.outsideAddresses.includes(seen)
        }).catch((cause: unknown) => {
          throw new Error(`${(cause as Error).message}: it is seen as ${seen}`)
        })
      }
    }
    try {
      for (const tunnel of ['bpf', 'none']) {
        await restartWith(cluster, { tunnel, 'service-forwarding': 'dsr' })
        if (tunnel === 'none') await untilAnnotated(cluster, 'taken')
        await assertKept()
      }
    } finally {
      await restartWith(cluster, { tunnel: 'bpf', 'service-forwarding': null })
    }
    await untilAnnotated(cluster, '')
    return `${targets.length} addresses, --tunnel bpf and none`
  })
}

async function restartWith(
  cluster: Cluster,
  settings: Readonly<Record<string, string | null>>,
): Promise<void> {
  await configure(cluster, settings)
  await Promise.all(cluster.nodes.map((node) => replaceAgent(cluster, node)))
}

async function untilAnnotated(cluster: Cluster, wanted: string): Promise<void> {
  const path = `jsonpath={range .items[*]}{.metadata.annotations.${ANNOTATION}}{"\\n"}{end}`
  await eventually(`every Node to say '${wanted}' of direct server return`, async () => {
    const said = await cluster.kubectl('get', 'nodes', '-o', path)
    return said === `${wanted}\n`.repeat(cluster.nodes.length)
  })
}

export const directReturn: readonly Scenario[] = [
  {
    name: 'direct server return keeps the client’s address, by the tunnel and without one',
    unfit: ({ hasKubeProxy }) => (hasKubeProxy ? 'kube-proxy serves' : undefined),
    run: clientsKeepTheirAddress,
  },
]
