// An agent that may not ask: it goes on from what it knew, and says which rule it lacks and how to get it back.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { eventually } from '../../lab/eventually.ts'
import { TREE } from '../../lab/places.ts'
import type { Cluster } from '../cluster.ts'
import { replaceAgent, statusOf } from './agent.ts'
import { askFrom, hostnameUrl, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'

const ROLE = 'deploy/parts/cluster-role.yaml'
/** What an agent asks for at once; each verb of each rule by itself is tried in source/. */
const MISSED = ['list nodes', 'list pods', 'patch nodes/status']

async function rulesMissing(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'rules', async (space) => {
    const node = cluster.node(cluster.nodes.length)
    const pods = await space.serverOnEachNode('web')
    const patch = ['patch', 'clusterrole', 'sinabro', '--type=merge', '--patch', '{"rules":[]}']
    await cluster.kubectl(...patch)
    try {
      await replaceAgent(cluster, node)
      let said = ''
      await eventually(`${MISSED.join(', ')} to be missed`, async () => {
        said = await complaints(cluster)
        return MISSED.every((rule) => said.includes(`${rule}: `))
      })
      if (!said.includes('deploy/sinabro.yaml')) throw new Error(`no word on what to do: ${said}`)
      for (const { machine } of cluster.nodes) {
        await askFrom(
          machine,
          pods.flatMap((pod) => pod.addresses.map((address) => hostnameUrl(address))),
        )
      }
    } finally {
      await cluster.apply(roleOfManifest())
    }
    await eventually(
      'the agent to be well again',
      async () => (await statusOf(node)).healthy,
      60_000,
    )
    return MISSED.join(', ')
  })

  async function complaints(of: Cluster): Promise<string> {
    const { components } = await statusOf(of.node(of.nodes.length))
    return components.map(({ message }) => message ?? '').join('\n')
  }
}

function roleOfManifest(): object {
  const [document] = parseAllDocuments(readFileSync(join(TREE, ROLE), 'utf8'))
  return document?.toJS() as object
}

export const rules: readonly Scenario[] = [
  {
    name: 'without its ClusterRole an agent goes on and names the rules it lacks',
    run: rulesMissing,
  },
]
