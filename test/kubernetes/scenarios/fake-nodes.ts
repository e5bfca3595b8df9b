// Node objects without nodes behind them. They have no labels, so no DaemonSet of ours wants to be there.
import type { Cluster } from '../cluster.ts'

const LABEL = 'sinabro.test/fake'
/** So many that kubectl sends all its requests at once. */
const PER_KUBECTL = 250
/** What a kubelet tells of the images it has is most of a Node. */
const IMAGES = Array.from({ length: 30 }, (_, index) => ({
  names: [`registry.example/project/image-${index}@sha256:${'0'.repeat(64)}`],
  sizeBytes: 100_000_000,
}))

/** With numbers from `first` on, each with a range and an address of every family. */
export async function createFakeNodes(cluster: Cluster, first: number, count: number) {
  const batches: Promise<unknown>[] = []
  for (let from = first; from < first + count; from += PER_KUBECTL) {
    const length = Math.min(PER_KUBECTL, first + count - from)
    const items = Array.from({ length }, (_, i) => fakeNode(cluster, from + i))
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items })
    batches.push(cluster.control.kubectl(['create', '-f', '-'], { input }))
  }
  await Promise.all(batches)
}

/** All that there are, by one request. */
export async function deleteFakeNodes(cluster: Cluster): Promise<void> {
  await cluster.kubectl(
    'delete',
    '--raw',
    `/api/v1/nodes?labelSelector=${LABEL.replace('/', '%2F')}`,
  )
}

export function fakeName(number: number): string {
  return `fake-${number}`
}

function fakeNode({ plan }: Cluster, number: number): object {
  const hex = number.toString(16)
  const high = number >> 8
  const low = number & 255
  // Of the cluster's ranges, far behind those that the controller manager has given by then.
  const podCIDRs = plan.podRanges.map((range) =>
    range.includes(':')
      ? `fd00:10:240:${(0x800 + number).toString(16)}::/64`
      : `10.${248 + high}.${low}.0/24`,
  )
  const addresses = plan.podRanges.map((range) => ({
    type: 'InternalIP',
    address: range.includes(':') ? `fd19::${hex}` : `172.19.${high}.${low}`,
  }))
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: fakeName(number), labels: { [LABEL]: '' } },
    spec: { podCIDR: podCIDRs[0], podCIDRs },
    status: { addresses, images: IMAGES },
  }
}
