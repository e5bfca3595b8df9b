// From nothing to a cluster whose nodes are Ready: binaries, images, machines, a network by name, DNS.
import { buildBinaries } from './binaries.ts'
import { Cluster, type ClusterOptions } from './cluster.ts'
import { dnsObjects } from './dns.ts'
import { applyHostAgents } from './host-agent.ts'
import { makeImages } from './images.ts'
import { applyReferenceNetwork } from './reference-network.ts'
import { applySinabro, importImage, waitSinabro } from './sinabro-network.ts'

export type NetworkName = keyof typeof NETWORKS | 'none'

interface Network {
  /** What a node has before: images. */
  readonly prepare?: (cluster: Cluster) => Promise<void>
  /** Returns when its configuration is on its way to the nodes. */
  readonly apply: (cluster: Cluster) => Promise<void>
  readonly wait?: (cluster: Cluster) => Promise<void>
}

const NETWORKS = {
  sinabro: { prepare: importImage, apply: applySinabro, wait: waitSinabro },
  'host-agent': { apply: applyHostAgents },
  reference: { apply: applyReferenceNetwork },
} satisfies Record<string, Network>

export const NETWORK_NAMES: readonly string[] = [...Object.keys(NETWORKS), 'none']

export type Say = (line: string) => void

/** What a cluster is made of. Returns the images of every node. */
export async function makeParts(containerd: ClusterOptions['containerd'], say: Say) {
  await buildBinaries(containerd === '2' ? ['cluster', 'containerd-2'] : ['cluster'], say)
  return await makeImages('cluster', say)
}

/** Owned by this process until `keep`; without a network its nodes stay NotReady. What came up before a failure stays up too. */
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
  await cluster.apply(...dnsObjects(cluster.plan))
  if (network === 'none') return cluster
  const { prepare, apply, wait }: Network = NETWORKS[network]
  await prepare?.(cluster)
  stage(`network ${network} may come`)
  await apply(cluster)
  stage('applied')
  await cluster.waitReady()
  await wait?.(cluster)
  stage('all nodes Ready')
  await cluster.kubectl('-n', 'kube-system', 'rollout', 'status', 'deploy/coredns')
  stage('CoreDNS Ready')
  return cluster
}
