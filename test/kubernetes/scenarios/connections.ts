// Connections that live through whatever a scenario does: one request every 100 ms on each, and the first that fails ends it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventually } from '../../lab/eventually.ts'
import type { Cluster } from '../cluster.ts'
import { TEST_IMAGE } from '../images.ts'
import { type Namespace, PORT, type TestPod } from './pods.ts'

const PER_PAIR = 3
const REQUESTS_AFTER = 20

const CLIENT = readFileSync(join(import.meta.dirname, 'long-client.sh'), 'utf8')

/** Three connections from a pod of every node to a pod of every other, in every family. */
export class Connections {
  readonly #space: Namespace
  readonly #clients: readonly TestPod[]

  private constructor(space: Namespace, clients: readonly TestPod[]) {
    this.#space = space
    this.#clients = clients
  }

  static async open(cluster: Cluster, space: Namespace): Promise<Connections> {
    const servers = await space.serverOnEachNode('long-server')
    await space.apply(
      ...cluster.nodes.map(({ name }) => {
        const others = servers.filter(({ node }) => node !== name || cluster.nodes.length === 1)
        return client(
          name,
          others.flatMap(({ addresses }) => addresses),
        )
      }),
    )
    await space.kubectl('wait', '--for=condition=Ready', 'pod', '-l', 'app=long', '--timeout=60s')
    const connections = new Connections(space, await space.pods('app=long'))
    await connections.check()
    return connections
  }

  /** Each has gone on since this call. @throws Error that names the pod whose connection broke */
  async check(): Promise<void> {
    const before = await this.#counts()
    await eventually(
      'every long-lived connection to go on',
      async () => {
        const now = await this.#counts()
        return now.every((count, i) => count >= (before[i] ?? 0) + REQUESTS_AFTER)
      },
      60_000,
    )
  }

  async #counts(): Promise<number[]> {
    const counts = await Promise.all(this.#clients.map((pod) => this.#countsOf(pod)))
    return counts.flat()
  }

  async #countsOf(pod: TestPod): Promise<number[]> {
    try {
      const said = await this.#space.exec(pod, ['sh', '-c', 'tail -qn 1 /tmp/answers-*'])
      return said.trim().split('\n').map(Number)
    } catch (cause) {
      const phase = ['get', 'pod', pod.name, '-o', 'jsonpath={.status.phase}']
      if ((await this.#space.kubectl(...phase)) === 'Running') throw cause
      throw new Error(`a connection of ${pod.name} on ${pod.node} broke`, { cause })
    }
  }
}

function client(node: string, targets: readonly string[]) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `long-${node}`, labels: { app: 'long' } },
    spec: {
      nodeName: node,
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'client',
          image: TEST_IMAGE,
          imagePullPolicy: 'IfNotPresent',
          command: ['bash', '-c', CLIENT],
          env: Object.entries({
            TARGETS: targets.join(' '),
            CONNECTIONS: String(PER_PAIR),
            PORT: String(PORT),
          }).map(([name, value]) => ({ name, value })),
        },
      ],
    },
  }
}
