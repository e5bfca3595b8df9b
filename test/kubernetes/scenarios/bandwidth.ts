// Rates that a pod asks for by its annotations: the kubelet's runtime hands them on in its own spelling, and the kernel holds the pod to them.
import type { Cluster } from '../cluster.ts'
import type { ClusterNode } from '../node.ts'
import { podsOf } from './agent.ts'
import { serverSpec, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'

/** Bits per second, to the pod and from it. */
const INGRESS = 10_000_000
const EGRESS = 20_000_000
const POD = 'held'

interface Qdisc {
  readonly kind: string
  readonly root?: boolean
  /** Of a token bucket, in bytes per second. */
  readonly options: { readonly rate?: number }
}

async function annotated(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'bandwidth', async (space) => {
    const node = cluster.node(1)
    const annotations = {
      'kubernetes.io/ingress-bandwidth': `${INGRESS / 1e6}M`,
      'kubernetes.io/egress-bandwidth': `${EGRESS / 1e6}M`,
    }
    await space.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: POD, annotations },
      spec: serverSpec({ nodeName: node.name }),
    })
    await space.kubectl('wait', '--for=condition=Ready', `pod/${POD}`, '--timeout=120s')
    const pods = await podsOf(node)
    const held = pods.find(({ namespace, name }) => namespace === space.name && name === POD)
    if (held === undefined) throw new Error(`the agent of ${node.name} knows no pod ${POD}`)
    await assertRate(node, held.hostDevice, INGRESS)
    await assertRate(node, held.ifname, EGRESS, ['nsenter', `--net=${held.netns}`])
    return `${INGRESS / 1e6} and ${EGRESS / 1e6} Mbit/s`
  })
}

export async function assertRate(
  { machine }: ClusterNode,
  device: string,
  bitsPerSec: number,
  enter: readonly string[] = [],
): Promise<void> {
  const { stdout } = await machine.exec([...enter, 'tc', '-json', 'qdisc', 'show', 'dev', device])
  const bucket = (JSON.parse(stdout) as Qdisc[]).find(({ kind, root }) => root && kind === 'tbf')
  if ((bucket?.options.rate ?? 0) * 8 !== bitsPerSec) {
    throw new Error(`${device} is not held to ${bitsPerSec} bits/s: ${stdout.trim()}`)
  }
}

export const bandwidth: readonly Scenario[] = [
  { name: 'a pod is held to the bandwidth of its annotations', run: annotated },
]
