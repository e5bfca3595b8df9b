// Services as they are told of: views of rows and maps, and what a connection would meet, in every way that it can go.
import {
  CLIENT_ADDRESS,
  CLIENT_NETNS,
  CONFIG_DSR,
  CONFIG_NATIVE,
  IPCACHE_SERVICES,
  NODE_ADDR_HOST_PORTS,
  NODE_ADDR_NODE_PORTS,
  NODE_TAKES_DSR,
  SERVICE_ADDRESS,
  SERVICE_AFFINITY,
  SERVICE_EXTERNAL_LOCAL,
  SERVICE_MAGLEV,
  SERVICE_NOT_NODE,
  type Service,
} from '@sinabro/libbpf-ts/layouts'
import { beforeEach, expect, test } from 'vitest'
import { showBackends, showExplanation, showServices } from '../api/show-services.ts'
import type { ProblemRow, ServiceRow } from '../cluster/rows.ts'
import type { ExplainedPort } from '../services/model-explain.ts'
import type { Backend, ServicePort, ServiceRows } from '../services/rows.ts'
import { Table } from '../state/table.ts'
import { type Asked, type Caller, cookieAddress, explainService } from './explain-service.ts'
import { decodeAsked } from './service-routes.ts'
import { describeBackends, describeServices, type ServicesSeen } from './services.ts'

const one: Backend = {
  ...{ address: '10.1.0.2', port: 8080, isTerminating: false, isOnThisNode: true },
  ...{ nodeName: 'n1', pod: 'default/web-0' },
}
const two: Backend = {
  ...one,
  address: '10.1.1.2',
  isOnThisNode: false,
  nodeName: 'n2',
  pod: 'default/web-1',
}

const web: ServicePort = {
  ...{ key: 'default/web:http/TCP/4', portName: 'http', protocol: 'TCP', family: 4 },
  frontends: [
    { kind: 'ClusterIP', address: '10.96.0.5', port: 80 },
    { kind: 'NodePort', address: '0.0.0.0', port: 30_080 },
    { kind: 'LoadBalancer', address: '198.51.100.1', port: 80 },
  ],
  ...{ internal: [one, two], external: [one], isInternalLocal: false, isExternalLocal: true },
  ...{ affinitySec: 10_800, sourceRanges: ['203.0.113.0/24'] },
}
const hostPort: ServiceRows = {
  key: 'hostport:default/web-0',
  addresses: [],
  ports: [
    {
      ...{ key: 'x', portName: '90', protocol: 'UDP', family: 4 },
      frontends: [{ kind: 'HostPort', address: '0.0.0.0', port: 90 }],
      ...{ internal: [one], external: [one], isInternalLocal: false, isExternalLocal: false },
    },
  ],
}

let seen: ServicesSeen
let explained: ExplainedPort[]
const objects = { get: () => ({ type: 'LoadBalancer' }) as ServiceRow }

beforeEach(() => {
  const rows = new Table<ServiceRows>('services', ({ key }) => key)
  const problems = new Table<ProblemRow>('problems', ({ key }) => key)
  rows.upsert(hostPort)
  rows.upsert({
    key: 'default/web',
    addresses: ['10.96.0.5'],
    ports: [web],
    healthCheckNodePort: 31_000,
  })
  explained = []
  seen = {
    rows,
    model: { problems, explain: () => explained, serviceRanges: () => ['10.96.0.0/16'] },
  }
})

test('describeServices() has Services by name and host ports last, with what could not be served', () => {
  const object = 'Service/default/web'
  const problem = { key: 'p', code: 'taken', where: object, object, message: 'not so' } as const
  ;(seen.model.problems as Table<ProblemRow>).upsert(problem)
  const view = describeServices({ services: seen, objects }, undefined)
  expect(view.services.map(({ name, type }) => [name, type])).toEqual([
    ['default/web', 'LoadBalancer'],
    ['hostport:default/web-0', 'HostPort'],
  ])
  expect(view.services[0]).toMatchObject({ healthCheckNodePort: 31_000, problems: ['not so'] })
  expect(showServices(view, false)).toBe(
    [
      'NAME                    TYPE          ADDRESSES                                                         PORT      FROM INSIDE                  FROM OUTSIDE   RULES',
      'default/web             LoadBalancer  10.96.0.5:80, *:30080 (NodePort), 198.51.100.1:80 (LoadBalancer)  http/tcp  10.1.0.2:8080 10.1.1.2:8080  10.1.0.2:8080  outside Local, affinity 10800s, from 203.0.113.0/24',
      'hostport:default/web-0  HostPort      *:90 (HostPort)                                                   90/udp    10.1.0.2:8080                same           -',
      '',
      'SERVICE      PROBLEM',
      'default/web  not so',
    ].join('\n'),
  )
  const only = describeServices({ services: seen, objects }, 'web')
  expect(showServices(only, true).split('\n').slice(-3)).toEqual([
    'BACKEND                        NODE  FROM INSIDE  FROM OUTSIDE  STATE',
    '10.1.0.2:8080 (default/web-0)  n1    yes          yes           ready',
    '10.1.1.2:8080 (default/web-1)  n2    yes          no            ready',
  ])
  expect(describeServices({ services: seen, objects }, 'default/none').services).toEqual([])
})

const never = new AbortController().signal

test('describeBackends() says of each row whose it is; a row that nobody has is about to go', async () => {
  const row = (addr: string, port: number, proto: number) => ({ addr, port, proto, flags: 0 })
  const map = {
    async *chunks() {
      yield [
        [7, row('10.1.0.2', 8080, 6)] as [number, ReturnType<typeof row>],
        [3, row('10.9.9.9', 1, 6)] as [number, ReturnType<typeof row>],
        [8, row('10.1.0.2', 8080, 17)] as [number, ReturnType<typeof row>],
      ]
    },
  }
  const all = await describeBackends({ services: seen }, map, { limit: 2 }, never)
  expect(all.matched).toBe(3)
  expect(showBackends(all)).toBe(
    [
      'ID  BACKEND                        PROTOCOL  NODE  STATE  SERVICES',
      '3   10.9.9.9:1                     tcp       -     ready  -',
      '7   10.1.0.2:8080 (default/web-0)  tcp       n1    ready  default/web',
      '',
      '2 of 3 backends shown; --limit shows more',
    ].join('\n'),
  )
  const some = await describeBackends(
    { services: seen },
    map,
    { limit: 9, service: 'web-0' },
    never,
  )
  expect(some.backends.map(({ id }) => id)).toEqual([8])
})

const pod: Caller = { kind: 'pod', address: '10.1.0.9', netnsCookie: 77n }
const outside: Caller = { kind: 'outside', address: '203.0.113.9' }

/** Maps with the Service above, as the targets write them. */
function mapsWith(
  change: {
    readonly flags?: number
    readonly external?: readonly number[]
    readonly config?: number
    readonly node?: number
  } = {},
) {
  const text = (key: object) => JSON.stringify(Object.values(key))
  const { flags = 0, external = [1], config = 0, node = 0 } = change
  const service: Service = { id: 5, flags, internal: 10, external: 11, affinitySec: 0 }
  const services = new Map<string, Service>()
  const put = (addr: string, port: number, proto: number, row = service) =>
    services.set(text({ addr, port, proto }), row)
  put('10.96.0.5', 80, 6)
  put('0.0.0.0', 30_080, 6)
  put('198.51.100.1', 80, 6)
  put('10.96.0.5', 0, 0, { ...service, flags: SERVICE_ADDRESS })
  const slots = new Map<string, { backend: number }>()
  for (const [list, ids] of [
    [10, [1, 2]],
    [11, external],
  ] as const) {
    slots.set(text({ list, slot: 0 }), { backend: ids.length })
    for (const [at, id] of ids.entries()) slots.set(text({ list, slot: at + 1 }), { backend: id })
  }
  const backends = new Map(
    [one, two].map(({ address, port }, at) => [
      at + 1,
      { addr: address, port, proto: 6, flags: 0 },
    ]),
  )
  const affinity = new Map<string, { backend: number }>()
  const find = <Row>(rows: Map<string, Row>) => ({ get: (key: object) => rows.get(text(key)) })
  const nodeAddrs = new Map([
    ['192.0.2.1', NODE_ADDR_NODE_PORTS | NODE_ADDR_HOST_PORTS],
    ['127.0.0.1', NODE_ADDR_HOST_PORTS],
  ])
  return {
    keep: (client: string, kind: number, backend: number) =>
      affinity.set(text({ client, kind, service: 5 }), { backend }),
    maps: {
      ...{ services: find(services), slots: find(slots), affinity: find(affinity) },
      ...{ backends, nodeAddrs, ipcache: { get: () => ({ flags: IPCACHE_SERVICES, node: 2 }) } },
      ...{ endpoints: new Map([[one.address, {}]]), nodeIds: new Map([['192.0.2.2', 2]]) },
      config: new Map([[0, { flags: config, overlayIfindex: config === 0 ? 0 : 9 }]]),
      nodes: new Map([[2, { flags: node }]]),
    } as unknown as Parameters<typeof explainService>[0]['maps'],
  }
}

function ask(maps: ReturnType<typeof mapsWith>['maps'], change: Partial<Asked>) {
  const asked = { address: '10.96.0.5', port: 80, protocol: 'tcp', from: pod, ...change } as const
  return explainService({ services: seen, maps }, asked)
}

test('a pod asks the list for inside, with equal chances; why others are not asked is said', () => {
  const { maps } = mapsWith()
  const { internal, external, ...port } = web
  const other = { address: '10.1.2.2', port: 8080, condition: 'NotReady', slice: 's' } as const
  explained = [{ ...port, endpoints: [{ ...other, internal: 'NotReady', external: 'NotReady' }] }]
  const view = ask(maps, {})
  expect(view).toMatchObject({
    ...{ outcome: 'chosen', service: 'default/web', portName: 'http', list: 'internal' },
    backends: [
      { id: 1, chance: 0.5, pod: { name: 'web-0' } },
      { id: 2, chance: 0.5, nodeName: 'n2' },
    ],
    others: [{ address: '10.1.2.2', why: 'is not ready' }],
  })
  expect(view.from).toEqual({ kind: 'pod', address: '10.1.0.9' })
  expect(showExplanation(view)).toBe(
    [
      'asked    10.96.0.5:80, tcp',
      'from     pod 10.1.0.9',
      'service  default/web, port http',
      'as       ClusterIP 10.96.0.5:80',
      'list     internal',
      'outcome  a new connection goes to one of 2, by chance',
      '',
      'BACKEND                        NODE  CHANCE',
      '10.1.0.2:8080 (default/web-0)  n1    50 %',
      '10.1.1.2:8080 (default/web-1)  n2    50 %',
      '',
      'NOT ASKED      NODE  BECAUSE IT',
      '10.1.2.2:8080  -     is not ready',
    ].join('\n'),
  )
})

test('affinity: by the namespace of sockets before the address of packets, and only while the list has the backend', () => {
  const { maps, keep } = mapsWith({ flags: SERVICE_AFFINITY })
  keep('10.1.0.9', CLIENT_ADDRESS, 2)
  expect(ask(maps, {}).backends.map(({ chance, isKept }) => [chance, isKept])).toEqual([
    [0, false],
    [1, true],
  ])
  keep(cookieAddress(77n), CLIENT_NETNS, 1)
  expect(ask(maps, {}).backends[0]).toMatchObject({ id: 1, chance: 1, isKept: true })
  expect(ask(maps, {}).why).toBe('the one that this caller had before')
  keep(cookieAddress(77n), CLIENT_NETNS, 9)
  expect(ask(maps, {}).backends[0]).toMatchObject({ chance: 0.5, isKept: false })
})

test('from outside: node ports of the addresses that serve them, ranges of sources, Local without a backend', () => {
  const { maps } = mapsWith()
  const nodePort = { address: '192.0.2.1', port: 30_080, from: outside }
  expect(ask(maps, nodePort)).toMatchObject({
    outcome: 'chosen',
    list: 'external',
    frontend: { kind: 'NodePort' },
  })
  expect(ask(maps, { ...nodePort, address: '127.0.0.1' }).outcome).toBe('none')
  const balancer = { address: '198.51.100.1', from: outside }
  expect(ask(maps, balancer).outcome).toBe('chosen')
  const stranger = ask(maps, { ...balancer, from: { kind: 'outside', address: '8.8.8.8' } })
  expect(stranger).toMatchObject({
    outcome: 'dropped',
    why: expect.stringContaining('DROP_SOURCE_RANGE'),
  })
  const ofPod = ask(maps, { ...balancer, from: { kind: 'pod', address: '10.1.0.9' } })
  expect(ofPod).toMatchObject({ outcome: 'dropped', list: 'internal' })
  expect(ask(maps, { ...balancer, from: { kind: 'node', address: '192.0.2.1' } }).outcome).toBe(
    'chosen',
  )
  const refusing = mapsWith({ flags: SERVICE_NOT_NODE })
  expect(ask(refusing.maps, { ...balancer, from: { kind: 'node' } })).toMatchObject({
    outcome: 'refused',
    why: expect.stringContaining('loadBalancerSourceRanges, 203.0.113.0/24'),
  })
  const empty = mapsWith({ external: [], flags: SERVICE_EXTERNAL_LOCAL })
  expect(ask(empty.maps, nodePort)).toMatchObject({
    outcome: 'dropped',
    why: expect.stringContaining('DROP_NO_LOCAL_BACKEND'),
  })
  expect(ask(mapsWith({ external: [] }).maps, nodePort)).toMatchObject({
    outcome: 'refused',
    why: 'no backend is left',
  })
})

test('from outside: in whose name each backend is asked', () => {
  const asked = { address: '198.51.100.1', from: outside }
  const forwarded = (config: number, node: number, from: Caller = outside) =>
    ask(mapsWith({ external: [1, 2], config, node }).maps, { ...asked, from }).backends.map(
      ({ forwarding }) => forwarding,
    )
  expect(forwarded(0, 0)).toEqual(['kept', 'snat'])
  expect(forwarded(CONFIG_DSR, 0)).toEqual(['kept', 'dsr'])
  expect(forwarded(CONFIG_DSR | CONFIG_NATIVE, 0)).toEqual(['kept', 'snat'])
  expect(forwarded(CONFIG_DSR | CONFIG_NATIVE, NODE_TAKES_DSR)).toEqual(['kept', 'dsr'])
  expect(forwarded(CONFIG_DSR, 0, { kind: 'pod', address: '203.0.113.8' })).toEqual([
    undefined,
    undefined,
  ])
  const shown = showExplanation(ask(mapsWith({ external: [1, 2], config: CONFIG_DSR }).maps, asked))
  expect(shown).toContain('n1    50 %    as it is')
  expect(shown).toContain('n2    50 %    as it is, answers itself (dsr)')
})

test('what is nobody’s: another port of a Service, an address of the range, and everything else', () => {
  const { maps } = mapsWith()
  expect(ask(maps, { port: 81 })).toMatchObject({
    outcome: 'refused',
    why: 'it is an address of default/web, which has no port 81/tcp',
  })
  expect(ask(maps, { address: '10.96.9.9' })).toMatchObject({
    outcome: 'dropped',
    why: expect.stringContaining('DROP_SERVICE_ADDRESS'),
  })
  expect(ask(maps, { address: '8.8.8.8' })).toMatchObject({ outcome: 'none', backends: [] })
})

test.each([
  ['address=x&port=1', 'address: expected an address, found x'],
  ['address=10.0.0.1&port=0', 'port: expected a whole number from 1 to 65535'],
  ['address=10.0.0.1&port=1&protocol=sctp', 'protocol: expected tcp or udp, found sctp'],
  ['address=10.0.0.1&port=1&from=nobody', 'from: nobody is no pod of this node and no address'],
])('decodeAsked(%s) is refused', (query, message) => {
  const from = (name: string | undefined): Caller | undefined =>
    name === 'nobody' ? undefined : { kind: 'node' }
  expect(() => decodeAsked(new URLSearchParams(query), from)).toThrow(message)
})

test('a client from outside that hashing decides for is asked for its port', () => {
  const { maps } = mapsWith({ flags: SERVICE_MAGLEV, external: [1, 2] })
  const table = { lookup: () => new Uint8Array(4) }
  const hashed = { ...maps, maglev: table } as unknown as typeof maps
  const asked = { address: '198.51.100.1', from: outside }
  expect(ask(hashed, asked).why).toBe('one of 2, as its port says (--from ADDRESS:PORT)')
  expect(ask({ ...maps, maglev: { lookup: () => undefined } } as never, asked).why).toBe(
    'one of 2, by chance',
  )
  expect(ask(hashed, {}).why).toBe('one of 2, by chance')
})
