// An API server that knows nothing but a node and many Services with one EndpointSlice each: for agents and kube-proxies that are measured.
// `node many-services.ts PORT DIR NODE SPEC`, SPEC in JSON; prints `listening`, `listed NANOSECONDS` when a client has got all of
// both kinds. A line of its input is answered by one of its output: `change` by `changed NANOSECONDS`, the first Service has another
// endpoint from then on; `grow TO` by `grown NANOSECONDS`, there are so many Services.
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export interface ManyServices {
  readonly services: number
  readonly endpoints: number
  /** Who answers in truth, as the first endpoint of every service; empty: nobody. */
  readonly backend: string
  /** Of every service and of every endpoint. */
  readonly ports: readonly number[]
}

interface Kind {
  readonly kind: string
  readonly apiVersion: string
  readonly items: (spec: ManyServices, node: string) => object[]
}

const SERVICES: Kind = {
  kind: 'Service',
  apiVersion: 'v1',
  items: (spec) => numbers(spec.services).map((number) => serviceObject(spec, number)),
}
const SLICES: Kind = {
  kind: 'EndpointSlice',
  apiVersion: 'discovery.k8s.io/v1',
  items: (spec) => numbers(spec.services).map((number) => sliceObject(spec, number)),
}

const KINDS: Readonly<Record<string, Kind>> = {
  '/api/v1/nodes': { kind: 'Node', apiVersion: 'v1', items: (_, node) => [nodeObject(node)] },
  '/api/v1/services': SERVICES,
  '/apis/discovery.k8s.io/v1/endpointslices': SLICES,
  '/api/v1/pods': { kind: 'Pod', apiVersion: 'v1', items: () => [] },
  '/api/v1/namespaces': { kind: 'Namespace', apiVersion: 'v1', items: () => [] },
  '/apis/networking.k8s.io/v1/servicecidrs': {
    kind: 'ServiceCIDR',
    apiVersion: 'networking.k8s.io/v1',
    items: () => [
      {
        metadata: { name: 'kubernetes', resourceVersion: '1' },
        spec: { cidrs: ['10.96.0.0/16'] },
        status: { conditions: [{ type: 'Ready', status: 'True' }] },
      },
    ],
  },
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i)
}

/** Of service number N, from 10.96.1.0 on. */
export function serviceAddress(number: number): string {
  return `10.96.${1 + (number >> 8)}.${number & 0xff}`
}

function nodeObject(name: string): object {
  return {
    metadata: {
      name,
      uid: `uid-${name}`,
      resourceVersion: '1',
      labels: { 'kubernetes.io/hostname': name },
    },
    spec: { podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24'] },
    status: { addresses: [{ type: 'InternalIP', address: '172.18.0.1' }] },
  }
}

function serviceObject({ ports }: ManyServices, number: number): object {
  const clusterIP = serviceAddress(number)
  return {
    metadata: metadata(`service-${number}`),
    spec: {
      type: 'ClusterIP',
      ...{
        clusterIP,
        clusterIPs: [clusterIP],
        ipFamilies: ['IPv4'],
        ipFamilyPolicy: 'SingleStack',
      },
      ...{ internalTrafficPolicy: 'Cluster', sessionAffinity: 'None' },
      selector: { app: `app-${number}` },
      ports: ports.map((port) => ({ name: `p${port}`, port, targetPort: port, protocol: 'TCP' })),
    },
    status: { loadBalancer: {} },
  }
}

function sliceObject(spec: ManyServices, number: number, turn = 0): object {
  const { endpoints, backend, ports } = spec
  const addresses = numbers(endpoints).map((i) => {
    // Different in every service, as pods are; 100.64.0.0/10 is nobody's here.
    const at = number * endpoints + i + (turn % 2) * 0x200000
    return `100.${64 + (at >> 16)}.${(at >> 8) & 0xff}.${at & 0xff}`
  })
  if (backend !== '') addresses[0] = backend
  return {
    metadata: {
      ...metadata(`service-${number}-abcde`, 2 + turn),
      labels: {
        'kubernetes.io/service-name': `service-${number}`,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      },
    },
    addressType: 'IPv4',
    ports: ports.map((port) => ({ name: `p${port}`, port, protocol: 'TCP' })),
    endpoints: addresses.map((address, i) => ({
      addresses: [address],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: `node${i}`,
      targetRef: {
        kind: 'Pod',
        namespace: 'default',
        name: `app-${number}-${i}`,
        uid: `uid-${number}-${i}`,
      },
    })),
  }
}

function metadata(name: string, version = 1) {
  return {
    ...{ name, namespace: 'default', uid: `uid-${name}`, resourceVersion: String(version) },
    creationTimestamp: '2026-01-01T00:00:00Z',
  }
}

function nowNs(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6))
}

const COUNTED = [SERVICES.kind, SLICES.kind]

class Server {
  #spec: ManyServices
  readonly #items = new Map<string, string[]>()
  readonly #watches = new Map<string, Set<ServerResponse>>()
  #listed = new Set<string>()
  #turn = 0

  constructor(spec: ManyServices, node: string) {
    this.#spec = spec
    for (const { kind, apiVersion, items } of Object.values(KINDS)) {
      const texts = items(spec, node).map((item) => JSON.stringify({ kind, apiVersion, ...item }))
      this.#items.set(kind, texts)
      this.#watches.set(kind, new Set())
    }
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'https://server')
    const found = KINDS[url.pathname]
    request.resume()
    response.setHeader('content-type', 'application/json')
    if (request.method !== 'GET') return void response.writeHead(201).end('{}')
    if (found === undefined) return void response.writeHead(404).end(status(404, 'NotFound'))
    const query = url.searchParams
    // Whoever wants the list as a watch is to ask for a list.
    if (query.has('sendInitialEvents')) {
      return void response.writeHead(400).end(status(400, 'BadRequest'))
    }
    if (query.get('watch') === 'true' || query.get('watch') === '1') this.#watch(found, response)
    else this.#list(found, query, response)
  }

  /** By pages for whoever asks for the continuation, which kube-proxy does not, since its first list may be of a cache. */
  #list({ kind, apiVersion }: Kind, query: URLSearchParams, response: ServerResponse): void {
    const items = this.#items.get(kind) ?? []
    const from = Number(query.get('continue') ?? '0')
    const isPaged = query.has('limit') && query.get('resourceVersion') !== '0'
    const to = isPaged ? from + Number(query.get('limit')) : items.length
    const more = to < items.length ? { continue: String(to) } : {}
    const meta = JSON.stringify({ resourceVersion: '1', ...more })
    response.write(
      `{"kind":"${kind}List","apiVersion":"${apiVersion}","metadata":${meta},"items":[`,
    )
    response.end(`${items.slice(from, to).join(',')}]}`, () => {
      if (to < items.length || !COUNTED.includes(kind)) return
      this.#listed.add(kind)
      if (this.#listed.size < COUNTED.length) return
      this.#listed = new Set()
      console.log(`listed ${nowNs()}`)
    })
  }

  #watch({ kind }: Kind, response: ServerResponse): void {
    const watches = this.#watches.get(kind)
    response.writeHead(200)
    response.flushHeaders()
    watches?.add(response)
    response.on('close', () => watches?.delete(response))
  }

  change(): void {
    this.#turn++
    const slice = sliceObject({ ...this.#spec, backend: '' }, 0, this.#turn)
    const at = nowNs()
    this.#tell('MODIFIED', SLICES, [slice])
    console.log(`changed ${at}`)
  }

  grow(to: number): void {
    const fresh = numbers(to).slice(this.#spec.services)
    this.#spec = { ...this.#spec, services: to }
    const at = nowNs()
    for (const [of, make] of [
      [SERVICES, serviceObject],
      [SLICES, sliceObject],
    ] as const) {
      const texts = this.#tell(
        'ADDED',
        of,
        fresh.map((number) => make(this.#spec, number)),
      )
      this.#items.get(of.kind)?.push(...texts)
    }
    console.log(`grown ${at}`)
  }

  /** The objects' texts. */
  #tell(type: string, { kind, apiVersion }: Kind, objects: readonly object[]): string[] {
    const texts = objects.map((object) => JSON.stringify({ kind, apiVersion, ...object }))
    const events = texts.map((text) => `{"type":"${type}","object":${text}}\n`).join('')
    for (const response of this.#watches.get(kind) ?? []) response.write(events)
    return texts
  }
}

function status(code: number, reason: string): string {
  return JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', reason, code })
}

if (import.meta.main) {
  const [port, dir = '', node = '', spec = ''] = process.argv.slice(2)
  const server = new Server(JSON.parse(spec) as ManyServices, node)
  const file = (name: string) => readFileSync(join(dir, name))
  createServer({ key: file('server.key'), cert: file('server.crt') }, (request, response) =>
    server.answer(request, response),
  ).listen(Number(port), '127.0.0.1', () => console.log('listening'))
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      const [word, to] = line.split(' ')
      if (word === 'grow') server.grow(Number(to))
      else server.change()
    })
    .on('close', () => process.exit())
}
