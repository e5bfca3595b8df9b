// Clients that are no part of the cluster: by node ports, load balancers' addresses and external ones; what pods see them as.
import { eventually } from '../../lab/eventually.ts'
import type { Cluster } from '../cluster.ts'
import type { ClusterNode } from '../node.ts'
import { inUrl } from '../places.ts'
import type { Target } from './load.ts'
import { type Namespace, type TestPod, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'
import {
  clusterTargets,
  createService,
  nodeTargets,
  SERVICE_PORT,
  untilAnsweredBy,
} from './service.ts'

const APP = 'web'
/** What a cloud's controller would have given. */
const BALANCER = ['198.18.0.80', '2001:db8:18::80']
/** What an operator gave, of the ranges that the agents allow, and of none. */
const EXTERNAL = ['203.0.113.80', '2001:db8:113::80']
const STOLEN = ['192.0.2.80', '2001:db8:2::80']

function ofFamilies({ plan }: Cluster, addresses: readonly string[]): string[] {
  return addresses.filter((address) =>
    plan.outsideAddresses.some((own) => own.includes(':') === address.includes(':')),
  )
}

/** The host outside sends what is for these addresses to this node, as a balancer or router would. */
async function routeTo(
  { outside }: Cluster,
  addresses: readonly string[],
  node: ClusterNode,
): Promise<void> {
  for (const address of addresses) {
    const via = node.addresses.find((one) => one.includes(':') === address.includes(':')) ?? ''
    await outside.exec(['ip', 'route', 'replace', address, 'via', via])
  }
}

async function unroute({ outside }: Cluster, addresses: readonly string[]): Promise<void> {
  for (const address of addresses) {
    await outside.exec(['ip', 'route', 'del', address], { canFail: true })
  }
}

/** One backend, on the last node. */
export async function startBackend(
  space: Namespace,
  app: string,
  node: ClusterNode,
): Promise<TestPod[]> {
  await space.startServers(app, node.name, 1)
  await space.rolledOut('deployment', app)
  return await space.pods(`app=${app}`)
}

async function balanced(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'balanced', async (space) => {
    const pods = await space.serverOnEachNode(APP)
    const balancer = ofFamilies(cluster, BALANCER)
    const external = ofFamilies(cluster, EXTERNAL)
    const stolen = ofFamilies(cluster, STOLEN)
    const service = await createService(space, APP, {
      type: 'LoadBalancer',
      externalIPs: [...external, ...(cluster.hasKubeProxy ? [] : stolen)],
    })
    const status = { loadBalancer: { ingress: balancer.map((ip) => ({ ip })) } }
    const patch = ['--subresource=status', '--type=merge', '-p', JSON.stringify({ status })]
    await space.kubectl('patch', 'service', APP, ...patch)
    const targets = [...balancer, ...external].map(asTarget)
    try {
      for (const node of cluster.nodes) {
        await routeTo(cluster, [...balancer, ...external, ...stolen], node)
        await untilAnsweredBy(cluster.outside, targets, pods)
        for (const target of stolen.map(asTarget)) {
          if (await isAnswered(cluster, target)) throw new Error(`${target.address} answers`)
        }
      }
      await untilAnsweredBy(cluster.outside, nodeTargets(space, service), pods)
      // From inside they never leave the node.
      for (const { machine } of cluster.nodes) {
        const all = [...targets, ...nodeTargets(space, service), ...clusterTargets(service)]
        await untilAnsweredBy(machine, all, pods)
      }
    } finally {
      await unroute(cluster, [...balancer, ...external, ...stolen])
    }
    return `${targets.map(({ address }) => address).join(', ')} by each of ${cluster.nodes.length} nodes`
  })
}

function asTarget(address: string): Target {
  return { address, port: SERVICE_PORT }
}

async function localPolicy(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'local-policy', async (space) => {
    const node = cluster.node(cluster.nodes.length)
    const pods = await startBackend(space, APP, node)
    const policy = { type: 'LoadBalancer', externalTrafficPolicy: 'Local' }
    const service = await createService(space, APP, policy)
    const targets = nodeTargets(space, service)
    const local = targets.filter(({ address }) => node.addresses.includes(address))
    await untilAnsweredBy(cluster.outside, local, pods)
    for (const target of local) {
      const seen = await seenAs(cluster, target)
      if (!cluster.plan.outsideAddresses.includes(seen)) throw new Error(`seen as ${seen}`)
    }
    for (const target of targets.filter((one) => !local.includes(one))) {
      if (await isAnswered(cluster, target)) throw new Error(`${target.address} answered`)
    }
    for (const one of cluster.nodes)
      await untilHealth(cluster, one, service, one === node ? 200 : 503)
    // With the backend somewhere else the next node is the one.
    await space.kubectl('delete', 'deployment', APP, '--wait')
    await untilHealth(cluster, node, service, 503)
    const other = cluster.node(1)
    await startBackend(space, APP, other)
    await untilHealth(cluster, other, service, 200)
    return `seen as ${cluster.plan.outsideAddresses.join(' and ')}`
  })
}

/** By the pod behind the target. */
export async function seenAs({ outside }: Cluster, { address, port }: Target): Promise<string> {
  const url = `http://${inUrl(address)}:${port}/clientip`
  const { stdout } = await outside.exec(['curl', '-sSgf', '--max-time', '5', url])
  return stdout
    .trim()
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .replace(/^::ffff:/, '')
}

async function isAnswered({ outside }: Cluster, { address, port }: Target): Promise<boolean> {
  const url = `http://${inUrl(address)}:${port}/hostname`
  const argv = ['curl', '-sgf', '--max-time', '2', url]
  return (await outside.exec(argv, { canFail: true })).status === 0
}

async function untilHealth(
  { outside }: Cluster,
  node: ClusterNode,
  { healthCheckNodePort }: { readonly healthCheckNodePort: number },
  wanted: number,
): Promise<void> {
  for (const address of node.addresses) {
    const url = `http://${inUrl(address)}:${healthCheckNodePort}/healthz`
    const argv = ['curl', '-sg', '--max-time', '2', '-o', '/dev/null', '-w', '%{http_code}', url]
    await eventually(`${url} to say ${wanted}`, async () => {
      const { stdout } = await outside.exec(argv, { canFail: true })
      return stdout === String(wanted)
    })
  }
}

/** What a cloud's load balancer asks of a node. */
async function proxyHealth(cluster: Cluster): Promise<undefined> {
  for (const { addresses } of cluster.nodes) {
    for (const address of addresses) {
      for (const path of ['healthz', 'livez']) {
        const url = `http://${inUrl(address)}:10256/${path}`
        const { stdout } = await cluster.outside.exec(['curl', '-sSgf', '--max-time', '5', url])
        if (path === 'healthz' && !stdout.includes('lastUpdated'))
          throw new Error(`${url}: ${stdout}`)
      }
    }
  }
}

export const fromOutside: readonly Scenario[] = [
  { name: 'NodePort, LoadBalancer and externalIPs from outside, by every node', run: balanced },
  {
    name: 'externalTrafficPolicy Local keeps the client’s address, and health checks follow',
    run: localPolicy,
  },
  { name: 'load balancers find kube-proxy’s health endpoints', run: proxyHealth },
]
