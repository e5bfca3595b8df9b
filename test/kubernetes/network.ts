// From nothing to a cluster whose nodes are Ready: binaries, images, machines, a network by name, DNS.
import { buildBinaries } from './binaries.ts'
import { Cluster, type ClusterOptions } from './cluster.ts'
import { dnsObjects } from './dns.ts'
import { applyHostAgents } from './host-agent.ts'
import { makeImages } from './images.ts'
import { applyReferenceNetwork } from './reference-network.ts'

export type NetworkName = keyof typeof NETWORKS | 'none'

/** Returns when its configuration is on its way to the nodes. */
type ApplyNetwork = (cluster: Cluster) => Promise<void>

const NETWORKS = {
  reference: applyReferenceNetwork,
  'host-agent': applyHostAgents,
} satisfies Record<string, ApplyNetwork>

export const NETWORK_NAMES: readonly string[] = [...Object.keys(NETWORKS), 'none']

export type Say = (line: string) => void

/** What a cluster is made of. Returns the images of every node. */
export async function makeParts(containerd: ClusterOptions['containerd'], say: Say) {
  await buildBinaries(containerd === '2' ? ['cluster', 'containerd-2'] : ['cluster'], say)
  return await makeImages('cluster', say)
}

/** Owned by this process until `keep`; without a network its nodes stay NotReady. */
export async function raise(
  options: ClusterOptions,
  network: NetworkName,
  say: Say,
): Promise<Cluster> {
  const images = await makeParts(options.containerd, say)
  const startMs = performance.now()
  const stage = (what: string): void =>
    say(`${((performance.now() - startMs) / 1000).toFixed(1).padStart(6)} s  ${what}`)
  const cluster = await Cluster.up(options, images)
  stage(`${cluster.nodes.length} nodes registered, with ranges`)
  try {
    await cluster.apply(...dnsObjects(cluster.plan))
    if (network === 'none') return cluster
    await NETWORKS[network](cluster)
    stage(`network ${network} applied`)
    await cluster.waitReady()
    stage('all nodes Ready')
    await cluster.kubectl('-n', 'kube-system', 'rollout', 'status', 'deploy/coredns')
    stage('CoreDNS Ready')
    return cluster
  } catch (error) {
    await Cluster.down({ keepsLogs: true })
    throw error
  }
}
