// A Service for scenarios: made, read back as the API server gave it its addresses and ports, and who answers there.
import { eventually } from '../../lab/eventually.ts'
import type { Target } from './load.ts'
import { askFrom, hostnameUrl, type Namespace, PORT, type TestPod } from './pods.ts'

/** Where clients ask. */
export const SERVICE_PORT = 80

export interface Service {
  readonly clusterIPs: readonly string[]
  readonly nodePort: number
  readonly healthCheckNodePort: number
}

/** In front of the pods with this label, in every family of the cluster. */
export async function createService(
  space: Namespace,
  name: string,
  spec: object = {},
  app = name,
): Promise<Service> {
  const isDual = space.cluster.plan.families === 'dual'
  await space.apply({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: {
      selector: { app },
      ports: [{ port: SERVICE_PORT, targetPort: PORT }],
      ipFamilyPolicy: isDual ? 'RequireDualStack' : 'SingleStack',
      ...spec,
    },
  })
  const text = await space.kubectl('get', 'service', name, '-o', 'json')
  const made = (JSON.parse(text) as { spec: MadeSpec }).spec
  return {
    clusterIPs: made.clusterIPs,
    nodePort: made.ports[0]?.nodePort ?? 0,
    healthCheckNodePort: made.healthCheckNodePort ?? 0,
  }
}

interface MadeSpec {
  readonly clusterIPs: readonly string[]
  readonly ports: readonly { readonly nodePort?: number }[]
  readonly healthCheckNodePort?: number
}

export function clusterTargets({ clusterIPs }: Service): Target[] {
  return clusterIPs.map((address) => ({ address, port: SERVICE_PORT }))
}

/** On every address of every node. */
export function nodeTargets({ cluster }: Namespace, { nodePort }: Service): Target[] {
  return cluster.nodes
    .flatMap(({ addresses }) => addresses)
    .map((address) => ({ address, port: nodePort }))
}

export function urlOf({ address, port }: Target): string {
  return hostnameUrl(address, port)
}

type Machine = Parameters<typeof askFrom>[0]

/** Until exactly these pods answer at each of the targets. */
export async function untilAnsweredBy(
  from: Machine,
  targets: readonly Target[],
  pods: readonly TestPod[],
): Promise<void> {
  const wanted = pods.map(({ name }) => name).sort()
  const requests = wanted.length * 8
  for (const target of targets) {
    let heard: string[] = []
    const what = `${wanted.join(', ')} alone to answer ${from.name} at ${urlOf(target)}`
    await eventually(what, async () => {
      const answers = await askFrom(from, Array(requests).fill(urlOf(target))).catch(() => [])
      heard = [...new Set(answers)].sort()
      return heard.join() === wanted.join()
    }).catch((cause: unknown) => {
      throw new Error(`${(cause as Error).message}; heard ${heard.join(', ') || 'nobody'}`)
    })
  }
}
