// What whoever runs the cluster sees of its network by kubectl alone: conditions of Nodes, and all agents at once.
import { join } from 'node:path'
import { eventually } from '../../lab/eventually.ts'
import { TREE } from '../../lab/places.ts'
import type { Cluster } from '../cluster.ts'
import { ADMIN_CONFIG } from '../places.ts'
import { BINARIES } from '../versions.ts'
import type { Scenario } from './scenario.ts'

/** Kubernetes' own condition: True keeps pods away. */
async function networkAvailable(cluster: Cluster): Promise<undefined> {
  const condition = '.status.conditions[?(@.type=="NetworkUnavailable")]'
  const path = `jsonpath={range .items[*]}{${condition}.status}={${condition}.reason}{"\\n"}{end}`
  const wanted = 'False=SinabroReady\n'.repeat(cluster.nodes.length)
  await eventually('every Node to say that its network is there', async () => {
    return (await cluster.kubectl('get', 'nodes', '-o', path)) === wanted
  })
}

async function plugIn(cluster: Cluster): Promise<string> {
  const names = cluster.nodes.map(({ name }) => name)
  const table = await kubectlSinabro(cluster)
  const rows = table.stdout.trim().split('\n').slice(1)
  for (const [i, name] of names.entries()) {
    if (!new RegExp(`^${name} +[0-9.]+ +yes +yes +[0-9]+$`).test(rows[i] ?? '')) {
      throw new Error(`no good row for ${name}: ${table.stdout}`)
    }
  }
  const all = await kubectlSinabro(cluster, 'status')
  const heads = [...all.stdout.matchAll(/^=== (.+)\nnode +\1\nagent /gm)].map(([, name]) => name)
  if (heads.join() !== names.join()) throw new Error(`not all nodes answer: ${all.stdout}`)
  const nowhere = await kubectlSinabro(cluster, '--node', 'nowhere', 'status')
  if (table.status !== 0 || all.status !== 0 || nowhere.status !== 4) {
    throw new Error(`exit ${table.status}, ${all.status}, without an agent ${nowhere.status}`)
  }
  return `${names.length} nodes`
}

function kubectlSinabro(cluster: Cluster, ...args: readonly string[]) {
  const path = [join(TREE, 'deploy'), BINARIES, process.env.PATH].join(':')
  const env = ['env', `PATH=${path}`, `KUBECONFIG=${ADMIN_CONFIG}`]
  return cluster.control.machine.exec([...env, 'kubectl', 'sinabro', ...args], { canFail: true })
}

export const operator: readonly Scenario[] = [
  { name: 'every Node says that its network is there', run: networkAvailable },
  { name: 'kubectl sinabro shows all nodes, and says which has no agent', run: plugIn },
]
