// Who reaches whom: pods of all nodes, services, the world outside.

import { join } from 'node:path'
import { eventually } from '../../lab/eventually.ts'
import type { Cluster } from '../cluster.ts'
import { Daemon } from '../daemon.ts'
import { inUrl } from '../places.ts'
import { BINARIES } from '../versions.ts'
import { askFrom, hostnameUrl, PORT, serverContainer, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'

const HOST_PORT = 8088

async function podsTalk(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'talk', async (space) => {
    const pods = await space.serverOnEachNode('talk')
    for (const { name, addresses } of pods) {
      if (addresses.length !== cluster.plan.podRanges.length) {
        throw new Error(`${name} has ${addresses.join(', ') || 'no address'}`)
      }
    }
    const targets = pods.flatMap(({ name, addresses }) => addresses.map((a) => ({ name, a })))
    const wanted = targets.map(({ name }) => name).join(' ')
    for (const from of pods) {
      const answers = await space.ask(
        from,
        targets.map(({ a }) => hostnameUrl(a)),
      )
      if (answers.join(' ') !== wanted) throw new Error(`asked ${wanted}, heard ${answers}`)
    }
    for (const node of cluster.nodes) {
      await askFrom(
        node.machine,
        targets.map(({ a }) => hostnameUrl(a)),
      )
    }
    return `${targets.length * (pods.length + cluster.nodes.length)} pairs`
  })
}

async function services(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'services', async (space) => {
    const container = serverContainer({ ports: [{ containerPort: PORT, hostPort: HOST_PORT }] })
    const pods = await space.serverOnEachNode('web', { containers: [container] })
    const isDual = cluster.plan.families === 'dual'
    await space.apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web' },
      spec: {
        type: 'NodePort',
        selector: { app: 'web' },
        ports: [{ port: 80, targetPort: PORT }],
        ...(isDual ? { ipFamilyPolicy: 'RequireDualStack' } : {}),
      },
    })
    const service = JSON.parse(await space.kubectl('get', 'service', 'web', '-o', 'json')) as {
      spec: { clusterIPs: string[]; ports: { nodePort: number }[] }
    }
    const { clusterIPs, ports } = service.spec
    const nodePort = ports[0]?.nodePort ?? 0
    const nodeAddresses = cluster.nodes.flatMap(({ addresses }) => addresses)
    const urls = [
      ...clusterIPs.map((address) => hostnameUrl(address, 80)),
      ...nodeAddresses.map((address) => hostnameUrl(address, nodePort)),
      ...nodeAddresses.map((address) => hostnameUrl(address, HOST_PORT)),
    ]
    // Backends are picked at random: until every pod has been heard, same node and others, through each address.
    for (const pod of pods) {
      for (const url of urls) {
        const heard = new Set<string>()
        const wanted = url.includes(`:${HOST_PORT}/`) ? 1 : pods.length
        await eventually(`every pod to be heard by ${pod.name} at ${url}`, async () => {
          for (const name of await space.ask(pod, Array(8).fill(url))) heard.add(name)
          return heard.size >= wanted
        })
      }
    }
    await askFrom(cluster.outside, urls.slice(clusterIPs.length))
    for (const { machine } of cluster.nodes) await askFrom(machine, urls)
    return `${urls.length} addresses from ${pods.length} pods, ${cluster.nodes.length} nodes and outside`
  })
}

async function world(cluster: Cluster): Promise<string> {
  const server = new Daemon(cluster.outside, [join(BINARIES, 'agnhost'), 'netexec'])
  server.start()
  try {
    return await withNamespace(cluster, 'world', async (space) => {
      const pods = await space.serverOnEachNode('client')
      for (const pod of pods) {
        await space.ask(pod, [
          ...cluster.plan.outsideAddresses.map((address) => hostnameUrl(address)),
          `https://kubernetes.default.svc/readyz`,
          ...cluster.plan.apiServices.slice(0, 1).map((a) => `https://${inUrl(a)}/readyz`),
          ...cluster.plan.controlAddresses
            .slice(0, 1)
            .map((a) => `https://${inUrl(a)}:6443/readyz`),
        ])
      }
      return `from ${pods.length} nodes`
    })
  } finally {
    await server.kill('SIGKILL')
  }
}

export const connectivity: readonly Scenario[] = [
  { name: 'pods on all nodes talk to each other, and nodes to them', run: podsTalk },
  {
    name: 'ClusterIP, NodePort and hostPort lead to pods of the same node and of others',
    run: services,
  },
  { name: 'pods reach a server outside, and the API server by name and address', run: world },
]
