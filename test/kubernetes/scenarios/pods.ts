// Pods and services for scenarios, and asking them over the network. Everything is in one namespace that goes at the end.
import { eventually } from '../../lab/eventually.ts'
import type { Cluster } from '../cluster.ts'
import { TEST_IMAGE } from '../images.ts'
import { inUrl } from '../places.ts'

export const PORT = 8080

export interface TestPod {
  readonly name: string
  readonly node: string
  readonly addresses: readonly string[]
}

export interface KubernetesObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: object
  readonly spec: object
}

/** A namespace that exists while `work` runs. */
export async function withNamespace<T>(
  cluster: Cluster,
  name: string,
  work: (space: Namespace) => Promise<T>,
): Promise<T> {
  const args = ['delete', 'namespace', name, '--ignore-not-found', '--wait']
  await cluster.kubectl(...args)
  await cluster.kubectl('create', 'namespace', name)
  try {
    return await work(new Namespace(cluster, name))
  } finally {
    await cluster.control.kubectl([...args, '--timeout=100s'], { canFail: true })
  }
}

/** A kubelet that has just begun does not know its pods yet; runc sometimes does not get into a container's namespaces. */
const NOT_BEGUN = /pod does not exist|error executing setns process/

export class Namespace {
  readonly cluster: Cluster
  readonly name: string

  constructor(cluster: Cluster, name: string) {
    this.cluster = cluster
    this.name = name
  }

  kubectl(...args: readonly string[]): Promise<string> {
    return this.cluster.kubectl('-n', this.name, ...args)
  }

  /** An object of this namespace, applied. */
  apply(...objects: readonly KubernetesObject[]): Promise<void> {
    return this.cluster.apply(
      ...objects.map((object) => ({
        ...object,
        metadata: { namespace: this.name, ...object.metadata },
      })),
    )
  }

  /** One web server on every node. Waits until all are Ready, and the nodes as well. */
  async serverOnEachNode(name: string, pod: object = {}): Promise<TestPod[]> {
    await this.apply({
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name },
      spec: {
        selector: { matchLabels: { app: name } },
        template: { metadata: { labels: { app: name } }, spec: serverSpec(pod) },
      },
    })
    // Not 'rollout status': a node that is not Ready at this moment is none that a DaemonSet wants a pod on, though it has one.
    const all = `jsonpath={.status.numberAvailable}=${this.cluster.nodes.length}`
    await this.kubectl('wait', `--for=${all}`, `daemonset/${name}`, '--timeout=120s')
    return this.pods(`app=${name}`)
  }

  /** Web servers on this node, not waited for. */
  async startServers(name: string, node: string, replicas: number): Promise<void> {
    await this.apply({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name },
      spec: {
        replicas,
        selector: { matchLabels: { app: name } },
        template: {
          metadata: { labels: { app: name } },
          spec: serverSpec({ nodeSelector: { 'kubernetes.io/hostname': node } }),
        },
      },
    })
  }

  async rolledOut(kind: 'deployment' | 'daemonset', name: string, seconds = 120): Promise<void> {
    await this.kubectl('rollout', 'status', `${kind}/${name}`, `--timeout=${seconds}s`)
  }

  async pods(selector: string): Promise<TestPod[]> {
    const list = JSON.parse(await this.kubectl('get', 'pods', '-l', selector, '-o', 'json')) as {
      items: {
        metadata: { name: string }
        spec: { nodeName: string }
        status: { podIPs?: { ip: string }[] }
      }[]
    }
    return list.items.map(({ metadata, spec, status }) => ({
      name: metadata.name,
      node: spec.nodeName,
      addresses: (status.podIPs ?? []).map(({ ip }) => ip),
    }))
  }

  /** Runs it in the pod's first container. One that could not even be begun is tried again. */
  async exec(pod: TestPod, argv: readonly string[]): Promise<string> {
    return eventually(`a command to begin in ${pod.name} on ${pod.node}`, async () => {
      try {
        return await this.kubectl('exec', pod.name, '--', ...argv)
      } catch (error) {
        if (error instanceof Error && NOT_BEGUN.test(error.message)) return undefined
        throw error
      }
    })
  }

  /** Names of the pods that answered at these addresses, in their order. @throws Error that says who could not reach what */
  async ask(from: TestPod, urls: readonly string[]): Promise<string[]> {
    const script = urls.map((url) => `${CURL} '${url}' || echo "NO ANSWER from ${url}: $?"; echo`)
    const said = await this.exec(from, ['sh', '-c', script.join('\n')])
    return answersOf(said, `${from.name} on ${from.node}`)
  }
}

const CURL = 'curl -sS -g -k --max-time 5 --retry 3 --retry-all-errors --retry-delay 1'

/** As `ask`, from a machine of the cluster. */
export async function askFrom(
  machine: { readonly name: string; exec(argv: string[]): Promise<{ stdout: string }> },
  urls: readonly string[],
): Promise<string[]> {
  const script = urls.map((url) => `${CURL} '${url}' || echo "NO ANSWER from ${url}: $?"; echo`)
  const { stdout } = await machine.exec(['sh', '-c', script.join('\n')])
  return answersOf(stdout, machine.name)
}

/** A pod on every node, and all of them and all nodes ask each. */
export async function everyoneTalks(space: Namespace): Promise<TestPod[]> {
  const pods = await space.serverOnEachNode('web')
  const urls = pods.flatMap(({ addresses }) => addresses.map((a) => hostnameUrl(a)))
  for (const pod of pods) await space.ask(pod, urls)
  for (const { machine } of space.cluster.nodes) await askFrom(machine, urls)
  return pods
}

/** Every node, this moment. */
export async function assertReady(cluster: Cluster): Promise<void> {
  const path = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
  const said = await cluster.kubectl('get', 'nodes', '-o', path)
  if (said.split(' ').some((status) => status !== 'True')) throw new Error(`nodes Ready: ${said}`)
}

function answersOf(said: string, who: string): string[] {
  const answers = said.trim().split('\n').filter(Boolean)
  const silent = answers.filter((answer) => answer.startsWith('NO ANSWER'))
  if (silent.length > 0) throw new Error(`${who}: ${silent.join('; ')}`)
  return answers
}

export function hostnameUrl(address: string, port = PORT): string {
  return `http://${inUrl(address)}:${port}/hostname`
}

export function serverSpec(pod: object): object {
  return {
    terminationGracePeriodSeconds: 1,
    containers: [serverContainer()],
    ...pod,
  }
}

export function serverContainer(more: object = {}): object {
  return {
    name: 'server',
    image: TEST_IMAGE,
    imagePullPolicy: 'IfNotPresent',
    args: ['netexec', `--http-port=${PORT}`],
    ports: [{ containerPort: PORT }],
    readinessProbe: { httpGet: { path: '/healthz', port: PORT }, periodSeconds: 1 },
    ...more,
  }
}
