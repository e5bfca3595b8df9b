// The model over tables that change: each change costs its own Service, and whatever happens the result is as if computed anew.
import { beforeEach, describe, expect, test } from 'vitest'
import { createCluster } from '../cluster/cluster.ts'
import { decodeNode } from '../cluster/decode-node.ts'
import type { NodeRow } from '../cluster/rows.ts'
import type { ClusterEvent } from '../cluster/sink.ts'
import { Table } from '../state/table.ts'
import { type ModelSettings, ServiceModel } from './model.ts'
import type { ServiceRows } from './rows.ts'
import { service, slice } from './testing/objects.ts'

const SETTINGS: ModelSettings = {
  externalIPCIDRs: ['198.51.100.0/24', '2001:db8:51::/48'],
  clusterCIDRs: ['10.200.0.0/16'],
  serviceCIDRs: ['10.96.0.0/12'],
}

function node(name: string, zone = 'a', internalIP = '', ...podCIDRs: string[]): NodeRow {
  const addresses = internalIP === '' ? [] : [{ type: 'InternalIP', address: internalIP }]
  return decodeNode({
    metadata: { name, labels: { 'topology.kubernetes.io/zone': zone } },
    ...{ spec: { podCIDRs }, status: { addresses } },
  })
}

function world(settings: Partial<ModelSettings> = {}) {
  const cluster = createCluster()
  const rows = new Table<ServiceRows>('Service rows', ({ key }) => key)
  const events: ClusterEvent[] = []
  const model = new ServiceModel({
    ...{ ...cluster, rows, nodeName: 'n1', settings: { ...SETTINGS, ...settings } },
    sink: { event: (event) => events.push(event) },
  })
  const told: string[][] = []
  rows.subscribe((changes) => told.push(changes.map(({ key }) => key)))
  const markReady = (): void => {
    for (const table of Object.values(cluster)) table.markReady()
  }
  return { ...cluster, rows, events, model, told, markReady }
}

let all: ReturnType<typeof world>
beforeEach(() => {
  all = world()
  all.nodes.upsert(node('n1', 'a', '192.0.2.1', '10.244.1.0/24'))
})

const backends = (key: string, at = 0): string | undefined =>
  all.rows
    .get(key)
    ?.ports[at]?.internal.map(({ address }) => address)
    .join(' ')
const frontends = (key: string): string | undefined =>
  all.rows
    .get(key)
    ?.ports[0]?.frontends.map(({ kind, address }) => `${kind} ${address}`)
    .join(', ')
const said = (): string[] =>
  all.model.problems.values().map(({ code, where, message }) => `${code} ${where}: ${message}`)

test('nothing is said before every source is complete', () => {
  const { services, endpointSlices, nodes, serviceCIDRs, rows, model } = all
  services.upsert(service('web', '10.96.0.1'))
  for (const table of [services, nodes, serviceCIDRs]) table.markReady()
  expect([rows.size, rows.isReady, model.computed]).toEqual([0, false, 0])
  endpointSlices.upsert(slice('web', ['10.244.1.5@n1']))
  expect([rows.size, rows.isReady]).toEqual([0, false])
  endpointSlices.markReady()
  expect([rows.size, rows.isReady, model.problems.isReady]).toEqual([1, true, true])
  expect(backends('default/web')).toBe('10.244.1.5')
})

test('the first lists are one change; then one changed slice computes one Service', () => {
  const { services, endpointSlices, model, told, markReady } = all
  for (let at = 0; at < 50; at++) {
    services.upsert(service(`s${at}`, `10.96.1.${at}`))
    endpointSlices.upsert(slice(`s${at}`, [`10.244.1.${at + 1}@n1`]))
  }
  markReady()
  expect(model.computed).toBe(50)
  expect(told.map(({ length }) => length)).toEqual([50, 0])
  told.length = 0
  endpointSlices.upsert(slice('s7', ['10.244.9.9@n2']))
  expect(model.computed).toBe(51)
  services.upsert(service('s8', '10.96.1.8', { spec: { ports: [{ port: 81 }] } }))
  expect(model.computed).toBe(52)
  expect(told).toEqual([['default/s7'], ['default/s8']])
  expect(backends('default/s7')).toBe('10.244.9.9')
  endpointSlices.upsert(slice('s7', ['10.244.9.9@n2']))
  expect(model.computed).toBe(52)
})

test('slices come before their Service, move to another, and stay behind it', () => {
  const { services, endpointSlices, markReady } = all
  markReady()
  endpointSlices.upsert(slice('web', ['10.244.1.5'], { name: 'x' }))
  expect(all.rows.size).toBe(0)
  services.upsert(service('web', '10.96.0.1'))
  services.upsert(service('api', '10.96.0.2'))
  expect([backends('default/web'), backends('default/api')]).toEqual(['10.244.1.5', ''])
  endpointSlices.upsert(slice('api', ['10.244.1.5'], { name: 'x' }))
  expect([backends('default/web'), backends('default/api')]).toEqual(['', '10.244.1.5'])
  services.remove('default/api')
  expect(all.rows.has('default/api')).toBe(false)
  endpointSlices.remove('default/x')
  expect(all.rows.values().map(({ key }) => key)).toEqual(['default/web'])
  services.upsert(service('api', '10.96.0.2'))
  expect(backends('default/api')).toBe('')
})

test.each([
  ['headless', service('web', 'None')],
  ['a name outside', service('web', '', { spec: { type: 'ExternalName', clusterIPs: [] } })],
  [
    "another proxy's",
    service('web', '10.96.0.1', { labels: { 'service.kubernetes.io/service-proxy-name': 'x' } }),
  ],
])('a Service that is %s is left alone, also when it becomes that', (_, left) => {
  const { services, markReady, rows } = all
  services.upsert(left)
  markReady()
  expect(rows.size).toBe(0)
  services.upsert(service('web', '10.96.0.1'))
  expect(rows.size).toBe(1)
  services.upsert(left)
  expect(rows.size).toBe(0)
})

test('rows that others put there stay', () => {
  const { rows, services, markReady } = all
  rows.upsert({ key: 'hostport:default/web', addresses: [], ports: [] })
  services.upsert(service('web', '10.96.0.1'))
  markReady()
  services.remove('default/web')
  expect(rows.values().map(({ key }) => key)).toEqual(['hostport:default/web'])
})

test('the zone of this node counts for all; what else changes of nodes, for none', () => {
  const { services, endpointSlices, nodes, model, markReady } = all
  const endpoints = ['10.244.1.5@n2 ready zone=a', '10.244.1.6@n3 ready zone=b']
  for (const name of ['web', 'api']) {
    services.upsert(service(name, name === 'web' ? '10.96.0.1' : '10.96.0.2'))
    endpointSlices.upsert(slice(name, endpoints))
  }
  markReady()
  expect(backends('default/web')).toBe('10.244.1.5')
  nodes.upsert(node('n2', 'b', '192.0.2.2', '10.244.2.0/24'))
  nodes.upsert({ ...node('n1', 'a', '192.0.2.1', '10.244.1.0/24'), annotations: { new: 'x' } })
  expect(model.computed).toBe(2)
  nodes.upsert(node('n1', 'b', '192.0.2.1', '10.244.1.0/24'))
  expect(model.computed).toBe(4)
  expect([backends('default/web'), backends('default/api')]).toEqual(['10.244.1.6', '10.244.1.6'])
  nodes.remove('n1')
  expect(backends('default/web')).toBe('10.244.1.5 10.244.1.6')
})

test('the addresses of this node count for Services that say who may ask, and for those alone', () => {
  const { rows, services, nodes, model, markReady } = all
  services.upsert(service('web', '10.96.0.1'))
  const ingress = [{ ip: '203.0.113.1' }]
  const spec = { type: 'LoadBalancer', loadBalancerSourceRanges: ['192.0.2.8/29'] }
  services.upsert(service('api', '10.96.0.2', { spec, ingress }))
  nodes.upsert(node('n1', 'a', '192.0.2.1'))
  markReady()
  const isRefused = () => rows.get('default/api')?.ports.some((port) => port.isNodeRefused)
  expect([isRefused(), model.computed]).toEqual([true, 2])
  nodes.upsert(node('n1', 'a', '192.0.2.9'))
  expect([isRefused(), model.computed]).toEqual([false, 3])
  nodes.remove('n1')
  expect([isRefused(), rows.get('default/web')?.ports.length]).toEqual([false, 1])
})

test("the API server's Service keeps its last backends, and itself; no other does", () => {
  const { services, endpointSlices, markReady } = all
  for (const name of ['kubernetes', 'web']) {
    services.upsert(service(name, name === 'web' ? '10.96.0.2' : '10.96.0.1'))
    endpointSlices.upsert(slice(name, ['192.0.2.10', '192.0.2.11']))
  }
  markReady()
  for (const name of ['kubernetes', 'web']) endpointSlices.upsert(slice(name, ['192.0.2.11']))
  for (const name of ['kubernetes', 'web']) endpointSlices.upsert(slice(name, []))
  expect([backends('default/kubernetes'), backends('default/web')]).toEqual(['192.0.2.11', ''])
  for (const name of ['kubernetes', 'web']) endpointSlices.remove(`default/${name}-1`)
  for (const name of ['kubernetes', 'web']) services.remove(`default/${name}`)
  expect([backends('default/kubernetes'), backends('default/web')]).toEqual([
    '192.0.2.11',
    undefined,
  ])
  services.upsert(service('kubernetes', '10.96.0.1'))
  expect(backends('default/kubernetes')).toBe('192.0.2.11')
  endpointSlices.upsert(slice('kubernetes', ['192.0.2.12']))
  expect(backends('default/kubernetes')).toBe('192.0.2.12')
})

const OUTSIDE: [string, string, string | undefined][] = [
  ['ExternalIP', '198.51.100.7', undefined],
  ['ExternalIP', '203.0.113.7', 'it is outside of what --external-ip-cidrs allows'],
  ['LoadBalancer', '203.0.113.7', undefined],
  ['LoadBalancer', '192.0.2.1', 'it is an address of a node'],
  ['LoadBalancer', '10.244.1.9', 'it is in the pod range 10.244.1.0/24'],
  ['LoadBalancer', '10.200.3.4', 'it is in the pod range 10.200.0.0/16'],
  ['LoadBalancer', '10.99.0.1', 'it is in the service range 10.96.0.0/12'],
  ['LoadBalancer', '127.0.0.1', 'it is no address that a host could have'],
  ['LoadBalancer', '224.0.0.1', 'it is no address that a host could have'],
]
test.each(OUTSIDE)('%s %s: %s', (kind, address, reason) => {
  const { services, events, markReady } = all
  const spec = kind === 'ExternalIP' ? { externalIPs: [address] } : {}
  const ingress = kind === 'LoadBalancer' ? [{ ip: address }] : []
  services.upsert(service('shop/web', '10.96.0.1', { spec, ingress }))
  markReady()
  const own = 'ClusterIP 10.96.0.1'
  expect(frontends('shop/web')).toBe(reason === undefined ? `${own}, ${kind} ${address}` : own)
  const message = `${kind} ${address} is not served: ${reason}`
  expect(said()).toEqual(reason === undefined ? [] : [`refused Service/shop/web: ${message}`])
  const about = { kind: 'Service', namespace: 'shop', name: 'web' }
  expect(events).toEqual(
    reason === undefined ? [] : [{ type: 'Warning', reason: 'AddressRefused', message, about }],
  )
})

test('many addresses that a Service may not have are one problem and one event, and so are those of others', () => {
  const { services, events, markReady } = all
  const clusterIPs = Array.from({ length: 300 }, (_, at) => `10.99.${at >> 8}.${at & 255}`)
  const [ports, taken] = [[], []] as [object[], object[]]
  for (let at = 1; at <= 7; at++) {
    ports.push({ name: `p${at}`, port: at, nodePort: 30_000 + at })
    taken.push({ name: `p${at}`, port: 100 + at, nodePort: 30_000 + at })
  }
  services.upsert(service('shop/a', '10.96.0.1', { spec: { ports } }))
  services.upsert(
    service('shop/b', '10.96.0.2', {
      spec: { ports: taken },
      ingress: clusterIPs.map((ip) => ({ ip })),
    }),
  )
  markReady()
  const refusals = clusterIPs
    .slice(0, 5)
    .map((ip) => `LoadBalancer ${ip} is not served: it is in the service range 10.96.0.0/12`)
  const others = [1, 2, 3, 4, 5].map(
    (at) => `node port ${30_000 + at}/TCP is not served: Service shop/a has it`,
  )
  expect(said()).toEqual([
    `refused Service/shop/b: ${refusals.join('; ')} and 295 more`,
    `taken Service/shop/b: ${others.join('; ')} and 2 more`,
  ])
  expect(events.map(({ reason }) => reason)).toEqual(['AddressRefused', 'AddressTaken'])
})

test('an address that is none is a problem of its Service, which is served without it', () => {
  const { services, markReady } = all
  services.upsert(service('shop/web', '10.96.0.1', { ingress: [{ ip: '1.2.3' }] }))
  markReady()
  expect(frontends('shop/web')).toBe('ClusterIP 10.96.0.1')
  expect(said()).toEqual([
    'refused Service/shop/web: status.loadBalancer.ingress[0].ip: expected an IP address, found "1.2.3"',
  ])
})

test('an address is given back when the node that has it comes, and given when it goes', () => {
  const { services, nodes, model, events, markReady } = all
  services.upsert(service('web', '10.96.0.1', { ingress: [{ ip: '203.0.113.7' }] }))
  services.upsert(service('api', '10.96.0.2', { ingress: [{ ip: '203.0.113.8' }] }))
  markReady()
  expect(model.computed).toBe(2)
  nodes.upsert(node('n9', 'a', '203.0.113.7'))
  expect(model.computed).toBe(3)
  expect(frontends('default/web')).toBe('ClusterIP 10.96.0.1')
  nodes.upsert(node('n8', 'a', '192.0.2.8', '203.0.113.0/24'))
  expect(frontends('default/api')).toBe('ClusterIP 10.96.0.2')
  nodes.upsert({ ...node('n9'), externalIPs: ['203.0.113.7'] })
  expect(model.computed).toBe(5)
  nodes.remove('n9')
  expect(frontends('default/web')).toBe('ClusterIP 10.96.0.1')
  nodes.remove('n8')
  expect(frontends('default/web')).toBe('ClusterIP 10.96.0.1, LoadBalancer 203.0.113.7')
  expect(said()).toEqual([])
  expect(events.map(({ message }) => message.replace(/.*: /, ''))).toEqual([
    'it is an address of a node',
    'it is in the pod range 203.0.113.0/24',
    'it is in the pod range 203.0.113.0/24',
  ])
})

test('ServiceCIDR objects say where cluster addresses are from; without any, the setting', () => {
  const { services, serviceCIDRs, model, markReady } = all
  services.upsert(service('web', '172.20.0.1', { ingress: [{ ip: '10.96.7.7' }] }))
  markReady()
  expect(model.serviceRanges()).toEqual(['10.96.0.0/12'])
  expect(frontends('default/web')).toBe('ClusterIP 172.20.0.1')
  serviceCIDRs.upsert({ name: 'kubernetes', cidrs: ['172.20.0.0/16', 'fd96::/108'] })
  expect(model.serviceRanges()).toEqual(['172.20.0.0/16', 'fd96::/108'])
  expect(frontends('default/web')).toBe('ClusterIP 172.20.0.1, LoadBalancer 10.96.7.7')
  serviceCIDRs.remove('kubernetes')
  expect(frontends('default/web')).toBe('ClusterIP 172.20.0.1')
})

describe('two Services and one address', () => {
  const claiming = (key: string, clusterIP: string, createdAt: string, port = 80) =>
    service(key, clusterIP, {
      ...{ createdAt, ingress: [{ ip: '203.0.113.7' }] },
      spec: { ports: [{ port }] },
    })
  const OLD = '2026-01-01T00:00:00Z'
  const NEW = '2026-02-01T00:00:00Z'
  const shared = 'LoadBalancer 203.0.113.7'

  test.each([
    ['LoadBalancer', '203.0.113.7', '10.96.0.'],
    ['LoadBalancer', '2001:db8::7', 'fd96::'],
    ['ExternalIP', '198.51.100.7', '10.96.0.'],
    ['ExternalIP', '2001:db8:51::7', 'fd96::'],
  ])('%s %s: the older has it, and the other when that goes, whatever came first', (...which) => {
    const [kind, address, range] = which
    const shared = `${kind} ${address}`
    const spec = kind === 'ExternalIP' ? { externalIPs: [address] } : {}
    const ingress = kind === 'ExternalIP' ? [] : [{ ip: address }]
    const { services, events, markReady } = all
    markReady()
    services.upsert(service('a', `${range}1`, { createdAt: NEW, spec, ingress }))
    expect(frontends('default/a')).toContain(shared)
    services.upsert(service('b', `${range}2`, { createdAt: OLD, spec, ingress }))
    expect(frontends('default/b')).toContain(shared)
    expect(frontends('default/a')).toBe(`ClusterIP ${range}1`)
    expect(said()).toEqual([
      `taken Service/default/a: ${shared} port 80/TCP is not served: Service default/b has it`,
    ])
    expect(events.map(({ reason, about }) => `${reason} ${about.name}`)).toEqual(['AddressTaken a'])
    services.remove('default/b')
    expect(frontends('default/a')).toContain(shared)
    expect(said()).toEqual([])
  })

  test('of equal age, by name; of three, who waits is told who has it', () => {
    const { services, model, markReady } = all
    for (const [name, ip] of [
      ['c', 3],
      ['b', 2],
      ['a', 1],
    ] as const) {
      services.upsert(claiming(name, `10.96.0.${ip}`, OLD))
    }
    services.upsert(service('far', '10.96.9.9'))
    markReady()
    const holders = (): string[] =>
      said().map((text) => text.replace(/.*default\/(\w): .*\/(\w) has it/, '$1<$2'))
    expect(holders().sort()).toEqual(['b<a', 'c<a'])
    const before = model.computed
    services.remove('default/a')
    expect(model.computed).toBe(before + 2)
    expect(frontends('default/b')).toContain(shared)
    expect(holders()).toEqual(['c<b'])
  })

  test('another port of it is free, and so is the same of another protocol', () => {
    const { services, markReady } = all
    services.upsert(claiming('a', '10.96.0.1', OLD))
    services.upsert(claiming('b', '10.96.0.2', OLD, 81))
    const ports = [{ port: 80, protocol: 'UDP' }]
    services.upsert(
      service('c', '10.96.0.3', { spec: { ports }, ingress: [{ ip: '203.0.113.7' }] }),
    )
    markReady()
    expect(said()).toEqual([])
    expect(frontends('default/c')).toContain(shared)
  })

  test('a cluster address is whose it is, however old the other; node ports are had by one', () => {
    all = world({ serviceCIDRs: [], externalIPCIDRs: ['0.0.0.0/0'] })
    const { services, markReady } = all
    const nodePort = { ports: [{ port: 80, nodePort: 30_080 }] }
    const thief = { spec: { ...nodePort, externalIPs: ['10.96.0.2'] }, createdAt: OLD }
    services.upsert(service('a', '10.96.0.1', thief))
    services.upsert(service('b', '10.96.0.2', { spec: nodePort, createdAt: NEW }))
    markReady()
    expect(frontends('default/a')).toBe('ClusterIP 10.96.0.1, NodePort 0.0.0.0')
    expect(frontends('default/b')).toBe('ClusterIP 10.96.0.2')
    expect(said().sort()).toEqual([
      'taken Service/default/a: ExternalIP 10.96.0.2 port 80/TCP is not served: Service default/b has it',
      'taken Service/default/b: node port 30080/TCP is not served: Service default/a has it',
    ])
  })

  test('an address that is refused to one keeps nobody else from it', () => {
    const { services, markReady } = all
    services.upsert(
      service('a', '10.96.0.1', { spec: { externalIPs: ['203.0.113.7'] }, createdAt: OLD }),
    )
    services.upsert(claiming('b', '10.96.0.2', NEW))
    markReady()
    expect(frontends('default/b')).toContain(shared)
    expect(said()).toHaveLength(1)
  })
})

test('endpoints that nobody could have are left out and named; the rest of the slice holds', () => {
  const { services, endpointSlices, events, markReady } = all
  services.upsert(service('shop/web', '10.96.0.1'))
  const bad = ['127.0.0.1', '169.254.169.254', '224.0.0.1', '0.0.0.0', '255.255.255.255', '1.2.3']
  endpointSlices.upsert(slice('shop/web', [...bad, '10.244.1.5']))
  markReady()
  expect(backends('shop/web')).toBe('10.244.1.5')
  const message =
    "endpoints 127.0.0.1, 169.254.169.254, 224.0.0.1, 0.0.0.0, 255.255.255.255 and 1 more are left out: no packet may be sent there in a Service's name, or not in this family"
  expect(said()).toEqual([`refused EndpointSlice/shop/web-1: ${message}`])
  expect(events.map(({ reason, about }) => `${reason} ${about.namespace}/${about.name}`)).toEqual([
    'EndpointRefused shop/web',
  ])
  endpointSlices.upsert(slice('shop/web', ['10.244.1.5']))
  expect(said()).toEqual([])
})

test('explain() by key', () => {
  const { services, endpointSlices, model, markReady } = all
  services.upsert(service('shop/web', '10.96.0.1'))
  services.upsert(service('shop/none', 'None'))
  endpointSlices.upsert(slice('shop/web', ['10.244.1.5 unready']))
  markReady()
  expect(model.explain('shop/web')?.[0]?.endpoints).toMatchObject([
    { address: '10.244.1.5', internal: 'NotReady', external: 'NotReady' },
  ])
  expect(model.explain('shop/none')).toBeUndefined()
  expect(model.explain('shop/absent')).toBeUndefined()
})

describe('a Service that asks for more than any agent should hold', () => {
  const ports = (count: number): object[] =>
    Array.from({ length: count }, (_, at) => ({ name: `p${at}`, port: at + 1 }))
  const addresses = (count: number): string[] =>
    Array.from({ length: count }, (_, at) => `198.51.${100 + (at >> 8)}.${at & 255}`)
  const endpoints = (count: number): string[] =>
    Array.from({ length: count }, (_, at) => `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`)

  test('has no frontends beyond the bound, one problem and one event; less of it is served', () => {
    all = world({ externalIPCIDRs: ['198.51.0.0/16'] })
    const { services, events, markReady } = all
    const asking = (count: number) =>
      service('shop/web', '10.96.0.1', {
        spec: { ports: ports(256), externalIPs: addresses(count) },
      })
    services.upsert(asking(2))
    markReady()
    expect(all.rows.get('shop/web')?.ports).toHaveLength(256)
    services.upsert(asking(256))
    expect(all.rows.has('shop/web')).toBe(false)
    services.upsert(asking(500))
    const message =
      'it is not served: it asks for more than 65536 frontends (ports times addresses); make several Services of it'
    expect(said()).toEqual([`excess Service/shop/web: ${message}`])
    const about = { kind: 'Service', namespace: 'shop', name: 'web' }
    expect(events).toEqual([{ type: 'Warning', reason: 'TooLarge', message, about }])
    // What it asked for is free.
    services.upsert(service('shop/other', '10.96.0.2', { spec: { externalIPs: ['198.51.100.1'] } }))
    expect(frontends('shop/other')).toContain('ExternalIP 198.51.100.1')
    services.upsert(asking(1))
    expect([all.rows.get('shop/web')?.ports.length, said()]).toEqual([256, []])
  })

  test('has no endpoints beyond the bound, counted for the ports that it has', () => {
    const { services, endpointSlices, events, model, markReady } = all
    services.upsert(service('shop/web', '10.96.0.1', { spec: { ports: ports(100) } }))
    const many = endpoints(1000)
    endpointSlices.upsert(
      slice('shop/web', many, { ports: [...ports(1), { name: 'other', port: 1 }] }),
    )
    markReady()
    expect(all.rows.get('shop/web')?.ports[0]?.internal).toHaveLength(1000)
    endpointSlices.upsert(slice('shop/web', many, { ports: ports(100) }))
    expect([all.rows.has('shop/web'), model.explain('shop/web')]).toEqual([false, undefined])
    expect(said()).toEqual([
      'excess Service/shop/web: it is not served: it asks for more than 65536 endpoints over all ports; make several Services of it',
    ])
    endpointSlices.upsert(slice('shop/web', endpoints(600), { ports: ports(100) }))
    expect([all.rows.get('shop/web')?.ports.length, said()]).toEqual([100, []])
    expect(events).toHaveLength(1)
  })
})

test('slices of one Service are in the order of their names, whatever order they came in', () => {
  const { services, endpointSlices, markReady } = all
  services.upsert(service('web', '10.96.0.1'))
  for (const at of [3, 1, 2]) {
    endpointSlices.upsert(slice('web', [`10.244.1.${at}`], { name: `s${at}` }))
  }
  markReady()
  expect(backends('default/web')).toBe('10.244.1.1 10.244.1.2 10.244.1.3')
  endpointSlices.upsertAll([
    slice('web', ['10.244.1.9'], { name: 's2' }),
    slice('web', ['10.244.1.7'], { name: 's0' }),
  ])
  expect(backends('default/web')).toBe('10.244.1.7 10.244.1.1 10.244.1.9 10.244.1.3')
})
