// Services change while agents are killed and replaced: in the end the maps say what the API server says, and living services never failed.
import type { Cluster } from '../cluster.ts'
import { rollAgents } from '../sinabro-network.ts'
import { restartAgent } from './agent.ts'
import { Load } from './load.ts'
import { type Namespace, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'
import {
  clusterTargets,
  createService,
  nodeTargets,
  type Service,
  untilAnsweredBy,
  urlOf,
} from './service.ts'

const SERVICES = 12
const ROUNDS = 3

async function churn(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'service-churn', async (space) => {
    const pods = await space.serverOnEachNode('web')
    const steady = await createService(space, 'web', { type: 'NodePort' })
    const outside = [{ machine: cluster.outside, targets: nodeTargets(space, steady) }]
    for (const { machine } of [...cluster.nodes, { machine: cluster.outside }]) {
      await untilAnsweredBy(machine, nodeTargets(space, steady), pods)
    }
    using load = await Load.start(space, clusterTargets(steady), { outside })
    const living = new Map<string, Service>()
    const gone: Service[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const isLast = round === ROUNDS - 1
      await Promise.all([
        isLast ? rollAgents(cluster) : Promise.all(cluster.nodes.map(restartAgent)),
        change(space, round, living, gone),
      ])
      await load.check()
    }
    for (const { machine } of cluster.nodes) {
      for (const service of living.values()) {
        await untilAnsweredBy(machine, clusterTargets(service).slice(0, 1), pods)
      }
    }
    await nobodyAnswers(space, gone)
    await load.check()
    return `${living.size} live, ${gone.length} went, ${await load.answered()} requests answered, none lost`
  })
}

/** New ones come, and half of those of the round before go. */
async function change(
  space: Namespace,
  round: number,
  living: Map<string, Service>,
  gone: Service[],
): Promise<void> {
  for (let number = 0; number < SERVICES; number++) {
    const name = `churn-${round}-${number}`
    living.set(name, await createService(space, name, { type: 'NodePort' }, 'web'))
    const old = `churn-${round - 1}-${number}`
    const service = living.get(old)
    if (number % 2 === 0 || service === undefined) continue
    await space.kubectl('delete', 'service', old)
    living.delete(old)
    gone.push(service)
  }
}

async function nobodyAnswers({ cluster }: Namespace, services: readonly Service[]): Promise<void> {
  const urls = services.flatMap((service) => clusterTargets(service).map(urlOf))
  const script = `for url in "$@"; do curl -sgf --max-time 1 "$url" && echo " $url"; done; true`
  const { stdout } = await cluster.node(1).machine.exec(['bash', '-c', script, 'bash', ...urls])
  if (stdout !== '') throw new Error(`services that went still answer: ${stdout}`)
}

export const serviceChurn: readonly Scenario[] = [
  { name: 'services come and go while agents are killed and replaced', run: churn },
]
