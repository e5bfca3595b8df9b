// What one Service comes to: frontends, who is asked from where, in the situations that traffic policies, hints and conditions make.
import { describe, expect, test } from 'vitest'
import type { EndpointSliceRow, ServiceRow } from '../cluster/rows.ts'
import { type Context, compute } from './model-compute.ts'
import { explain, inWords } from './model-explain.ts'
import type { ServicePort, ServiceRows } from './rows.ts'
import { service, slice } from './testing/objects.ts'

const HERE: Context = { nodeName: 'n1', zone: 'a', isRefused: () => false }

const web = (spec: object = {}, more: object = {}): ServiceRow =>
  service('shop/web', '10.96.0.1', { spec, ...more })

function only(rows: ServiceRows): ServicePort {
  expect(rows.ports).toHaveLength(1)
  return rows.ports[0] as ServicePort
}

/** Addresses of both lists. */
function lists(
  one: ServiceRow,
  slices: readonly EndpointSliceRow[],
  context: Context = HERE,
): string {
  const { internal, external } = only(compute(one, slices, context))
  const text = (list: typeof internal): string => list.map(({ address }) => address).join(' ')
  if (internal === external) return text(internal)
  return `in: ${text(internal)} | out: ${text(external)}`
}

test('a Service with all kinds of frontends', () => {
  const spec = {
    type: 'LoadBalancer',
    ports: [
      { name: 'http', port: 80, nodePort: 30_080 },
      { name: 'dns', port: 53, protocol: 'UDP', nodePort: 30_053 },
    ],
    externalIPs: ['198.51.100.1', '203.0.113.1', '2001:db8::7'],
    sessionAffinity: 'ClientIP',
    healthCheckNodePort: 31_000,
    externalTrafficPolicy: 'Local',
    loadBalancerSourceRanges: ['192.0.2.0/24', '2001:db8::/32'],
  }
  const ingress = [
    { ip: '203.0.113.1' },
    { ip: '203.0.113.9', ipMode: 'Proxy' },
    { ip: '2001:db8::9' },
    { hostname: 'lb' },
  ]
  const endpoints = ['10.244.1.5@n1/a', '10.244.2.5@n2/b serving']
  const ports = [
    { name: 'http', port: 8080 },
    { name: 'dns', port: 5353, protocol: 'UDP' },
  ]
  const rows = compute(web(spec, { ingress }), [slice('shop/web', endpoints, { ports })], HERE)
  const http = {
    ...{ address: '10.244.1.5', port: 8080, nodeName: 'n1' },
    ...{ isTerminating: false, isOnThisNode: true },
  }
  const common = {
    ...{ family: 4, isInternalLocal: false, isExternalLocal: true, affinitySec: 10_800 },
    ...{ sourceRanges: ['192.0.2.0/24'], isNodeRefused: true },
  }
  const frontends = (port: number, nodePort: number): object[] => [
    { kind: 'ClusterIP', address: '10.96.0.1', port },
    { kind: 'LoadBalancer', address: '203.0.113.1', port },
    { kind: 'ExternalIP', address: '198.51.100.1', port },
    { kind: 'NodePort', address: '0.0.0.0', port: nodePort },
  ]
  expect(rows).toEqual({
    ...{ key: 'shop/web', addresses: ['10.96.0.1'], healthCheckNodePort: 31_000 },
    ports: [
      {
        ...{ key: 'shop/web:http/TCP/4', portName: 'http', protocol: 'TCP', ...common },
        ...{ frontends: frontends(80, 30_080), internal: [http], external: [http] },
      },
      {
        ...{ key: 'shop/web:dns/UDP/4', portName: 'dns', protocol: 'UDP', ...common },
        ...{ frontends: frontends(53, 30_053) },
        ...{ internal: [{ ...http, port: 5353 }], external: [{ ...http, port: 5353 }] },
      },
    ],
  })
  for (const { internal, external } of rows.ports) expect(internal).toBe(external)
})

test('both families keep apart', () => {
  const dual = service('shop/web', '10.96.0.1 fd96::1', {
    spec: { ports: [{ port: 80, nodePort: 30_080 }] },
  })
  const slices = [
    slice('shop/web', ['10.244.1.5@n1'], { name: 'a' }),
    slice('shop/web', ['fd00:1::5@n1'], { name: 'b', addressType: 'IPv6' }),
    slice('shop/web', [{ addresses: ['db.example'] }], { name: 'c', addressType: 'FQDN' }),
  ]
  const { ports, addresses } = compute(dual, slices, HERE)
  expect(addresses).toEqual(['10.96.0.1', 'fd96::1'])
  expect(
    ports.map(({ family, frontends, internal }) => [
      family,
      frontends.map(({ address }) => address).join(),
      internal.map(({ address }) => address).join(),
    ]),
  ).toEqual([
    [4, '10.96.0.1,0.0.0.0', '10.244.1.5'],
    [6, 'fd96::1,::', 'fd00:1::5'],
  ])
})

test('ports meet by name and protocol, and each slice has its own numbers', () => {
  const spec = {
    ports: [
      { name: 'a', port: 1 },
      { name: 'b', port: 2 },
      { name: 'a2', port: 1, protocol: 'UDP' },
    ],
  }
  const slices = [
    slice('shop/web', ['10.0.0.1'], { name: 's1', ports: [{ name: 'a', port: 11 }] }),
    slice('shop/web', ['10.0.0.2'], { name: 's2', ports: [{ name: 'a', port: 12 }, { port: 3 }] }),
    slice('shop/web', ['10.0.0.3'], {
      name: 's3',
      ports: [{ name: 'a', port: 13, protocol: 'UDP' }, { name: 'other', port: 9 }, { name: 'b' }],
    }),
  ]
  const { ports } = compute(web(spec), slices, HERE)
  const found = ports.map(({ portName, protocol, internal }) => [
    `${portName}/${protocol}`,
    internal.map(({ address, port }) => `${address}:${port}`).join(),
  ])
  expect(found).toEqual([
    ['a/TCP', '10.0.0.1:11,10.0.0.2:12'],
    ['b/TCP', ''],
    ['a2/UDP', ''],
  ])
})

const LOCAL_IN = { internalTrafficPolicy: 'Local' }
const LOCAL_OUT = { externalTrafficPolicy: 'Local', ports: [{ port: 80, nodePort: 30_080 }] }

type Situation = [string, object, string[], string]
const SITUATIONS: Situation[] = [
  ['ready ones', {}, ['1.0.0.1@n1', '1.0.0.2@n2', '1.0.0.3@n2 unready'], '1.0.0.1 1.0.0.2'],
  ['nothing', {}, [], ''],
  ['nothing that serves', {}, ['1.0.0.1@n1 unready', '1.0.0.2@n2 terminating'], ''],
  [
    'serving terminating ones only where none is ready',
    {},
    ['1.0.0.1@n1 serving', '1.0.0.2@n2 terminating', '1.0.0.3@n2 unready', '1.0.0.4@n2 serving'],
    '1.0.0.1 1.0.0.4',
  ],
  ['a ready one outdoes them', {}, ['1.0.0.1@n1 serving', '1.0.0.2@n2'], '1.0.0.2'],
  ['internal Local', LOCAL_IN, ['1.0.0.1@n1', '1.0.0.2@n2'], '1.0.0.1'],
  ['internal Local, none here', LOCAL_IN, ['1.0.0.2@n2', '1.0.0.3'], ''],
  [
    'internal Local, here only terminating: not asked are the ready ones elsewhere',
    LOCAL_IN,
    ['1.0.0.1@n1 serving', '1.0.0.2@n2'],
    '1.0.0.1',
  ],
  ['external Local', LOCAL_OUT, ['1.0.0.1@n1', '1.0.0.2@n2'], 'in: 1.0.0.1 1.0.0.2 | out: 1.0.0.1'],
  ['external Local, none here', LOCAL_OUT, ['1.0.0.2@n2'], 'in: 1.0.0.2 | out: '],
  [
    'external Local, here only terminating',
    LOCAL_OUT,
    ['1.0.0.1@n1 serving', '1.0.0.2@n2', '1.0.0.3@n1 terminating'],
    'in: 1.0.0.2 | out: 1.0.0.1',
  ],
  [
    'external Local, terminating ones everywhere',
    LOCAL_OUT,
    ['1.0.0.1@n1 serving', '1.0.0.2@n2 serving'],
    'in: 1.0.0.1 1.0.0.2 | out: 1.0.0.1',
  ],
  [
    'external Local, all here: one list',
    LOCAL_OUT,
    ['1.0.0.1@n1', '1.0.0.2@n1'],
    '1.0.0.1 1.0.0.2',
  ],
  [
    'external Local counts only with something outside',
    { externalTrafficPolicy: 'Local' },
    ['1.0.0.1@n1', '1.0.0.2@n2'],
    '1.0.0.1 1.0.0.2',
  ],
  [
    'hints of zones',
    {},
    ['1.0.0.1@n1 ready zone=a', '1.0.0.2@n2 ready zone=b', '1.0.0.3@n3 ready zone=b zone=a'],
    '1.0.0.1 1.0.0.3',
  ],
  [
    'hints of zones, one ready endpoint without',
    {},
    ['1.0.0.1@n1 ready zone=a', '1.0.0.2@n2 ready'],
    '1.0.0.1 1.0.0.2',
  ],
  [
    'hints of zones, one unready endpoint without',
    {},
    ['1.0.0.1@n1 ready zone=a', '1.0.0.2@n2 unready', '1.0.0.3@n3 ready zone=b'],
    '1.0.0.1',
  ],
  [
    'hints of zones, none for ours',
    {},
    ['1.0.0.1@n1 ready zone=b', '1.0.0.2@n2 ready zone=c'],
    '1.0.0.1 1.0.0.2',
  ],
  [
    'hints of zones, for ours only terminating',
    {},
    ['1.0.0.1@n1 serving zone=a', '1.0.0.2@n2 ready zone=b'],
    '1.0.0.2',
  ],
  [
    'hints, and all are terminating',
    {},
    ['1.0.0.1@n1 serving zone=a', '1.0.0.2@n2 serving zone=b'],
    '1.0.0.1 1.0.0.2',
  ],
  [
    'hints of nodes',
    {},
    ['1.0.0.1@n1 ready zone=a node=n1', '1.0.0.2@n2 ready zone=a node=n2'],
    '1.0.0.1',
  ],
  [
    'hints of nodes, none for this: those of zones',
    {},
    ['1.0.0.1@n3 ready zone=a node=n3', '1.0.0.2@n2 ready zone=b node=n2'],
    '1.0.0.1',
  ],
  [
    'hints of nodes, one endpoint without: those of zones',
    {},
    ['1.0.0.1@n1 ready zone=a node=n1', '1.0.0.2@n2 ready zone=a', '1.0.0.3@n2 ready zone=b'],
    '1.0.0.1 1.0.0.2',
  ],
  [
    'hints do not count where the policy is Local',
    LOCAL_IN,
    ['1.0.0.1@n1 ready zone=b', '1.0.0.2@n1 ready zone=a'],
    '1.0.0.1 1.0.0.2',
  ],
  [
    'hints and external Local',
    LOCAL_OUT,
    ['1.0.0.1@n1 ready zone=b', '1.0.0.2@n2 ready zone=a'],
    'in: 1.0.0.2 | out: 1.0.0.1',
  ],
]
test.each(SITUATIONS)('%s', (_, spec, endpoints, expected) => {
  expect(lists(web(spec), [slice('shop/web', endpoints)])).toBe(expected)
})

test('without a zone of its own a node heeds no hints of zones', () => {
  const endpoints = ['1.0.0.1@n1 ready zone=a', '1.0.0.2@n2 ready zone=b']
  const { zone: _, ...nowhere } = HERE
  expect(lists(web(), [slice('shop/web', endpoints)], nowhere)).toBe('1.0.0.1 1.0.0.2')
})

test('publishNotReadyAddresses is in the conditions: such endpoints are ready', () => {
  const conditions = { ready: true, serving: false, terminating: true }
  const endpoints = [{ addresses: ['1.0.0.1'], conditions }, '1.0.0.2@n2']
  const { internal } = only(compute(web(), [slice('shop/web', endpoints)], HERE))
  expect(internal.map(({ address, isTerminating }) => [address, isTerminating])).toEqual([
    ['1.0.0.1', false],
    ['1.0.0.2', false],
  ])
})

describe('an endpoint in several slices is asked once', () => {
  test.each([
    ['the better condition wins', ['1.0.0.1 unready'], ['1.0.0.1'], '1.0.0.1'],
    ['in either order', ['1.0.0.1'], ['1.0.0.1 terminating', '1.0.0.2 serving'], '1.0.0.1'],
    ['serving outdoes terminating', ['1.0.0.1 terminating'], ['1.0.0.1 serving'], '1.0.0.1'],
    ['in one slice too', ['1.0.0.1', '1.0.0.1', '1.0.0.2'], [], '1.0.0.1 1.0.0.2'],
  ])('%s', (_, first, second, expected) => {
    const slices = [
      slice('shop/web', first, { name: 'a' }),
      slice('shop/web', second, { name: 'b' }),
    ]
    expect(lists(web(), slices)).toBe(expected)
  })

  test('but with another port it is another', () => {
    const other = slice('shop/web', ['1.0.0.1'], { name: 'b', ports: [{ port: 9090 }] })
    const { internal } = only(compute(web(), [slice('shop/web', ['1.0.0.1']), other], HERE))
    expect(internal.map(({ port }) => port)).toEqual([8080, 9090])
  })
})

test('a hundred slices, and slices of a thousand endpoints', () => {
  const endpoints = (at: number, count: number): string[] =>
    Array.from({ length: count }, (_, i) => `10.${at}.${i >> 8}.${i & 255}@n${i % 7}`)
  const many = Array.from({ length: 100 }, (_, at) =>
    slice('shop/web', endpoints(at, 100), { name: `web-${at}` }),
  )
  expect(only(compute(web(), many, HERE)).internal).toHaveLength(10_000)
  const large = [slice('shop/web', endpoints(0, 1000))]
  expect(only(compute(web(LOCAL_IN), large, HERE)).internal).toHaveLength(143)
})

test('internal Local is of cluster addresses: who asks another from within is led to the whole cluster', () => {
  const spec = { ...LOCAL_IN, ports: [{ port: 80, nodePort: 30_080 }] }
  const { ports } = compute(web(spec), [slice('shop/web', ['1.0.0.1@n1', '1.0.0.2@n2'])], HERE)
  expect(
    ports.map(({ key, frontends, internal, external, isInternalLocal, isExternalLocal }) => ({
      ...{ key, isInternalLocal, isExternalLocal, isOne: internal === external },
      kinds: frontends.map(({ kind }) => kind).join(),
      internal: internal.map(({ address }) => address).join(),
    })),
  ).toEqual([
    {
      ...{ key: 'shop/web:/TCP/4', isInternalLocal: true, isExternalLocal: true, isOne: true },
      ...{ kinds: 'ClusterIP', internal: '1.0.0.1' },
    },
    {
      ...{ key: 'shop/web:/TCP/4/external', isInternalLocal: false, isExternalLocal: false },
      ...{ isOne: true, kinds: 'NodePort', internal: '1.0.0.1,1.0.0.2' },
    },
  ])
})

test('source ranges are of load balancer addresses; none of a family lets nobody of it in', () => {
  const spec = { loadBalancerSourceRanges: ['2001:db8::/32'] }
  expect(only(compute(web(spec), [], HERE)).sourceRanges).toBeUndefined()
  const ingress = [{ ip: '203.0.113.1' }]
  expect(only(compute(web(spec, { ingress }), [], HERE)).sourceRanges).toEqual([])
})

test('source ranges have this node’s own processes in by its addresses of the family', () => {
  const spec = { loadBalancerSourceRanges: ['192.0.2.0/25', '192.0.2.240/28', '2001:db8::/32'] }
  const refused = (addresses?: readonly string[]) => {
    const here = addresses === undefined ? HERE : { ...HERE, addresses }
    const rows = compute(web(spec, { ingress: [{ ip: '203.0.113.1' }] }), [], here)
    return only(rows).isNodeRefused
  }
  expect(refused(['198.51.100.1', '192.0.2.241'])).toBeUndefined()
  expect(refused(['192.0.2.128', '2001:db8::1'])).toBe(true)
  expect(refused()).toBe(true)
})

test('what is refused is no frontend', () => {
  const context: Context = { ...HERE, isRefused: ({ kind }) => kind === 'ExternalIP' }
  const { frontends } = only(compute(web({ externalIPs: ['198.51.100.1'] }), [], context))
  expect(frontends.map(({ kind }) => kind)).toEqual(['ClusterIP'])
})

test('backends carry the pod and the node; those of other networks have neither', () => {
  const targetRef = { kind: 'Pod', name: 'web-1' }
  const endpoints = [{ addresses: ['1.0.0.1'], nodeName: 'n2', targetRef }, '192.0.2.1']
  const { internal } = only(compute(web(), [slice('shop/web', endpoints)], HERE))
  const common = { port: 8080, isTerminating: false, isOnThisNode: false }
  expect(internal).toEqual([
    { address: '1.0.0.1', nodeName: 'n2', pod: 'shop/web-1', ...common },
    { address: '192.0.2.1', ...common },
  ])
})

test('explain() says of every endpoint whether it is asked, and why not', () => {
  const endpoints = [
    '1.0.0.1@n1/a ready zone=a',
    '1.0.0.2@n2/b ready zone=b',
    '1.0.0.3@n1/a serving',
    '1.0.0.4@n1/a terminating',
    '1.0.0.5@n1/a unready',
  ]
  const [port] = explain(web(LOCAL_OUT), [slice('shop/web', endpoints)], HERE)
  expect(
    port?.endpoints.map(({ address, internal, external }) => [address, internal, external]),
  ).toEqual([
    ['1.0.0.1', 'Asked', 'Asked'],
    ['1.0.0.2', 'ForOtherZone', 'OnOtherNode'],
    ['1.0.0.3', 'OthersReady', 'OthersReady'],
    ['1.0.0.4', 'Terminating', 'Terminating'],
    ['1.0.0.5', 'NotReady', 'NotReady'],
  ])
  expect(port?.endpoints[1]).toMatchObject({
    slice: 'web-1',
    nodeName: 'n2',
    zone: 'b',
    port: 8080,
  })
  expect(inWords('OnOtherNode')).toBe('is not on this node, and the traffic policy is Local')
})

test('explain() agrees with what is computed, in every situation', () => {
  for (const [, spec, endpoints] of SITUATIONS) {
    const slices = [slice('shop/web', endpoints)]
    const rows = only(compute(web(spec), slices, HERE))
    const [port] = explain(web(spec), slices, HERE)
    const asked = port?.endpoints.filter(({ internal }) => internal === 'Asked') ?? []
    expect(asked.map(({ address }) => address)).toEqual(rows.internal.map(({ address }) => address))
  }
})

test('how a backend is chosen: as the Service says, else as the agent was told', () => {
  const slices = [slice('shop/web', ['10.244.1.5@n1/a'])]
  const hashed = (change: Partial<ServiceRow>, context: Context) =>
    only(compute({ ...web(), ...change }, slices, context)).isHashed
  expect(hashed({}, HERE)).toBeUndefined()
  expect(hashed({ backendChoice: 'maglev' }, HERE)).toBe(true)
  expect(hashed({}, { ...HERE, backendChoice: 'maglev' })).toBe(true)
  expect(hashed({ backendChoice: 'random' }, { ...HERE, backendChoice: 'maglev' })).toBeUndefined()
})
