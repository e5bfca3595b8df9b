// Whether the endpoints of a Service stayed: every version of its EndpointSlices since some moment, as the API server remembers them.
import { eventually } from '../../lab/eventually.ts'
import { type Namespace, PORT, type TestPod } from './pods.ts'

/** The past comes at once. */
const LISTEN_SEC = 1

interface Slice {
  readonly metadata: { readonly name: string }
  readonly endpoints?: readonly {
    readonly addresses: readonly string[]
    readonly conditions: { readonly ready?: boolean }
  }[]
}

export class Endpoints {
  readonly #space: Namespace
  readonly #path: string
  readonly #addresses: readonly string[]
  #slices = new Map<string, Slice>()
  #version = ''

  private constructor(space: Namespace, app: string, pods: readonly TestPod[]) {
    this.#space = space
    const selector = `labelSelector=kubernetes.io%2Fservice-name%3D${app}`
    const resource = `/apis/discovery.k8s.io/v1/namespaces/${space.name}/endpointslices`
    this.#path = `${resource}?${selector}`
    this.#addresses = pods.flatMap(({ addresses }) => addresses)
  }

  /** A Service in front of these pods, and the moment from which on they must stay its endpoints. */
  static async of(space: Namespace, app: string, pods: readonly TestPod[]): Promise<Endpoints> {
    const isDual = space.cluster.plan.families === 'dual'
    const spec = {
      selector: { app },
      ports: [{ port: PORT }],
      ipFamilyPolicy: isDual ? 'RequireDualStack' : 'SingleStack',
    }
    await space.apply({ apiVersion: 'v1', kind: 'Service', metadata: { name: app }, spec })
    const endpoints = new Endpoints(space, app, pods)
    await eventually(`the endpoints of ${app}`, async () => {
      await endpoints.#list()
      return endpoints.#missing().length === 0
    })
    return endpoints
  }

  /** @throws Error that names who left, if it was for a moment only */
  async assertStayed(): Promise<void> {
    const since = `resourceVersion=${this.#version}&timeoutSeconds=${LISTEN_SEC}`
    const history = await this.#space.kubectl('get', '--raw', `${this.#path}&watch=1&${since}`)
    for (const line of history.trim().split('\n').filter(Boolean)) {
      const { type, object } = JSON.parse(line) as { type: string; object: Slice }
      if (type === 'ERROR') throw new Error(`no history of endpoints: ${line}`)
      if (type === 'DELETED') this.#slices.delete(object.metadata.name)
      else this.#slices.set(object.metadata.name, object)
      const missing = this.#missing()
      if (missing.length > 0) throw new Error(`${missing.join(', ')} left the endpoints`)
    }
  }

  async #list(): Promise<void> {
    const list = JSON.parse(await this.#space.kubectl('get', '--raw', this.#path)) as {
      metadata: { resourceVersion: string }
      items: Slice[]
    }
    this.#version = list.metadata.resourceVersion
    this.#slices = new Map(list.items.map((slice) => [slice.metadata.name, slice]))
  }

  #missing(): string[] {
    const endpoints = [...this.#slices.values()].flatMap((slice) => slice.endpoints ?? [])
    const ready = endpoints.filter(({ conditions }) => conditions.ready === true)
    const there = new Set(ready.flatMap(({ addresses }) => addresses))
    return this.#addresses.filter((address) => !there.has(address))
  }
}
