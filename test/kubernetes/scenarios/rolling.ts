// What is behind a Service comes and goes under new connections: rolling updates, pods deleted and killed, CoreDNS anew.
import type { Cluster } from '../cluster.ts'
import { Load } from './load.ts'
import { type Namespace, PORT, serverContainer, type TestPod, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'
import { clusterTargets, createService, nodeTargets, untilAnsweredBy } from './service.ts'

const APP = 'web'
const BACKENDS = 3
/** How long a pod that shall end goes on serving, for those that have not heard yet. */
const DELAY_SEC = 5
const CORE_DNS = ['-n', 'kube-system']

/** On as many nodes as there are, each pod serving on for a while when it is told to end. */
async function deploy(space: Namespace): Promise<void> {
  const args = ['netexec', `--http-port=${PORT}`, `--delay-shutdown=${DELAY_SEC}`]
  const spread = {
    maxSkew: 1,
    topologyKey: 'kubernetes.io/hostname',
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels: { app: APP } },
  }
  await space.apply({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: APP },
    spec: {
      replicas: BACKENDS,
      selector: { matchLabels: { app: APP } },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      template: {
        metadata: { labels: { app: APP } },
        spec: {
          terminationGracePeriodSeconds: 30,
          topologySpreadConstraints: [spread],
          containers: [serverContainer({ args })],
        },
      },
    },
  })
  await space.rolledOut('deployment', APP)
}

/** From pods of all nodes at the cluster's addresses, from outside at the nodes'. */
async function startLoad(space: Namespace): Promise<Load> {
  const service = await createService(space, APP, { type: 'NodePort' })
  const { cluster } = space
  const outside = [{ machine: cluster.outside, targets: nodeTargets(space, service) }]
  for (const { machine, targets } of outside) {
    await untilAnsweredBy(machine, targets, await living(space))
  }
  return await Load.start(space, clusterTargets(service), { outside })
}

async function living(space: Namespace): Promise<TestPod[]> {
  const gone =
    'jsonpath={range .items[?(@.metadata.deletionTimestamp)]}{.metadata.name}{"\\n"}{end}'
  const ending = (await space.kubectl('get', 'pods', '-l', `app=${APP}`, '-o', gone)).split('\n')
  return (await space.pods(`app=${APP}`)).filter(({ name }) => !ending.includes(name))
}

async function rollingUpdate(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'rolling', async (space) => {
    await deploy(space)
    using load = await startLoad(space)
    for (let update = 0; update < 2; update++) {
      await space.kubectl('rollout', 'restart', `deployment/${APP}`)
      await space.rolledOut('deployment', APP)
      await load.check()
    }
    return `${await load.answered()} requests answered, none lost`
  })
}

async function backendsEnd(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'backends-end', async (space) => {
    await deploy(space)
    using load = await startLoad(space)
    const [first] = await living(space)
    await space.kubectl('delete', 'pod', first?.name ?? '', '--wait')
    await load.check()
    const answered = await load.answered()
    load[Symbol.dispose]()
    // Without a farewell requests to it are lost until it is out of the list, by nobody's fault.
    const [second] = await living(space)
    await space.rolledOut('deployment', APP)
    await space.kubectl('delete', 'pod', second?.name ?? '', '--force', '--grace-period=0')
    await space.rolledOut('deployment', APP)
    const service = await createService(space, APP, { type: 'NodePort' })
    const pods = await living(space)
    for (const { machine } of cluster.nodes) {
      await untilAnsweredBy(machine, clusterTargets(service), pods)
    }
    await untilAnsweredBy(cluster.outside, nodeTargets(space, service), pods)
    return `${answered} requests answered, none lost`
  })
}

async function dnsAnew(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'dns-anew', async (space) => {
    const targets = [{ address: cluster.plan.dnsService, port: 53 }]
    using dig = await Load.start(space, targets, { kind: 'dig' })
    using held = await Load.start(space, targets, { kind: 'held-dns' })
    await cluster.kubectl(...CORE_DNS, 'rollout', 'restart', 'deployment/coredns')
    await cluster.kubectl(...CORE_DNS, 'rollout', 'status', 'deployment/coredns')
    for (const load of [dig, held]) await load.check()
    const first = [
      'get',
      'pods',
      '-l',
      'k8s-app=kube-dns',
      '-o',
      'jsonpath={.items[0].metadata.name}',
    ]
    const pod = await cluster.kubectl(...CORE_DNS, ...first)
    await cluster.kubectl(...CORE_DNS, 'delete', 'pod', pod, '--force', '--grace-period=0')
    for (const load of [dig, held]) await load.check()
    await cluster.kubectl(...CORE_DNS, 'rollout', 'status', 'deployment/coredns')
    return `${(await dig.answered()) + (await held.answered())} questions answered`
  })
}

export const rolling: readonly Scenario[] = [
  { name: 'a rolling update behind a service loses no request', run: rollingUpdate },
  { name: 'a backend of three ends, another is killed', run: backendsEnd },
  { name: 'names are known while CoreDNS is replaced', run: dnsAnew },
]
