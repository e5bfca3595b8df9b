// What ends for good: a node whose name another takes, and the network itself.
import type { Cluster } from '../cluster.ts'
import { makeImages } from '../images.ts'
import { applyReferenceNetwork, removeReferenceNetwork } from '../reference-network.ts'
import {
  applySinabro,
  deleteSinabro,
  imageArchive,
  uninstallSinabro,
  waitSinabro,
} from '../sinabro-network.ts'
import { withOtherNetwork } from './other-network.ts'
import { everyoneTalks, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'

const DNS = ['-n', 'kube-system']
/** A Node without a machine, which takes the ranges of one that went, so that they are not given to the next. */
const HEIR = 'heir'
/** Another network's configuration, which uninstall leaves alone. */
const STRANGER = '99-other.conflist'

async function nodeReplaced(cluster: Cluster): Promise<string> {
  const node = cluster.node(cluster.nodes.length)
  const before = await cluster.podRanges(node.name)
  const images = await makeImages('cluster', () => undefined)
  await cluster.replace(node, [...images, await imageArchive()], () =>
    cluster.apply({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: HEIR },
      spec: { podCIDR: before[0], podCIDRs: before, unschedulable: true },
    }),
  )
  const after = await cluster.podRanges(node.name)
  await cluster.kubectl('delete', 'node', HEIR)
  if (after.some((range) => before.includes(range))) {
    throw new Error(`the controller manager gave ${after} again: nothing was tried`)
  }
  await cluster.waitReady()
  await waitSinabro(cluster)
  await withNamespace(cluster, 'replaced', everyoneTalks)
  return `${before.join(' ')} became ${after.join(' ')}`
}

async function uninstalled(cluster: Cluster): Promise<undefined> {
  await cluster.kubectl(...DNS, 'scale', 'deployment/coredns', '--replicas=0')
  const gone = ['--for=delete', 'pod', '-l', 'k8s-app=kube-dns', '--timeout=60s']
  await cluster.kubectl(...DNS, 'wait', ...gone)
  await deleteSinabro(cluster)
  try {
    await withOtherNetwork(cluster, STRANGER, () => uninstallSinabro(cluster))
    await applyReferenceNetwork(cluster)
    await withNamespace(cluster, 'uninstalled', everyoneTalks)
  } finally {
    await removeReferenceNetwork(cluster)
    await applySinabro(cluster)
    await cluster.kubectl(...DNS, 'scale', 'deployment/coredns', '--replicas=2')
    await waitSinabro(cluster)
    await cluster.waitReady()
    await cluster.kubectl(...DNS, 'rollout', 'status', 'deployment/coredns', '--timeout=120s')
  }
}

export const leaving: readonly Scenario[] = [
  {
    name: 'a node goes for good, and a new one takes its name with other ranges',
    run: nodeReplaced,
  },
  { name: 'after uninstall the reference plug-ins work, and we do again', run: uninstalled },
]
