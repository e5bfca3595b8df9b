// What is read of EndpointSlices: conditions with their defaults, hints, and which addresses are no endpoint's.
import { expect, test } from 'vitest'
import { decodeEndpointSlice } from './decode-endpoint-slice.ts'
import type { EndpointCondition } from './rows.ts'

const slice = (more: object) => ({
  metadata: {
    ...{ name: 'web-abc', namespace: 'shop' },
    labels: { 'kubernetes.io/service-name': 'web' },
  },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080, protocol: 'TCP', appProtocol: 'http' }],
  ...more,
})

test('decodeEndpointSlice() takes names, ports and endpoints', () => {
  const endpoints = [
    {
      addresses: ['10.244.1.5', '10.244.1.6'],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: 'n1',
      zone: 'a',
      hints: { forZones: [{ name: 'a' }, { name: 'b' }], forNodes: [{ name: 'n1' }] },
      targetRef: { kind: 'Pod', namespace: 'shop', name: 'web-1', uid: 'u' },
    },
    { addresses: ['10.244.1.7'], nodeName: 'n1', zone: 'a', targetRef: { kind: 'Pod', name: 'p' } },
    { addresses: ['192.0.2.1'], targetRef: { kind: 'Node', name: 'n1' } },
    { addresses: [] },
  ]
  expect(decodeEndpointSlice(slice({ endpoints }))).toEqual({
    ...{ namespace: 'shop', name: 'web-abc', service: 'web', addressType: 'IPv4' },
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
    endpoints: [
      {
        ...{ address: '10.244.1.5', condition: 'Ready', nodeName: 'n1', zone: 'a' },
        ...{ pod: 'shop/web-1', forZones: ['a', 'b'], forNodes: ['n1'] },
      },
      { address: '10.244.1.7', condition: 'Ready', nodeName: 'n1', zone: 'a', pod: 'shop/p' },
      { address: '192.0.2.1', condition: 'Ready' },
    ],
  })
})

test('when its change was triggered is read, and nothing else takes its place', () => {
  const triggered = (text: string) =>
    decodeEndpointSlice({
      ...slice({}),
      metadata: {
        ...{ name: 'a', namespace: 'b' },
        annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': text },
      },
    }).triggeredAt
  expect(triggered('2026-01-01T00:00:00Z')).toBe(Date.UTC(2026, 0, 1))
  expect(triggered('soon')).toBeUndefined()
})

test('a port without a number is left out, an unnamed TCP one is the default', () => {
  const { ports } = decodeEndpointSlice(
    slice({ ports: [{}, { port: 80 }, { name: 'x' }, { port: 0 }] }),
  )
  expect(ports).toEqual([{ name: '', protocol: 'TCP', port: 80 }])
  expect(decodeEndpointSlice(slice({ ports: null, endpoints: null })).ports).toEqual([])
})

const CONDITIONS: [object | undefined, EndpointCondition][] = [
  [undefined, 'Ready'],
  [{}, 'Ready'],
  [{ ready: true, serving: false, terminating: true }, 'Ready'],
  [{ ready: false }, 'NotReady'],
  [{ ready: false, serving: true, terminating: false }, 'NotReady'],
  [{ ready: false, serving: true, terminating: true }, 'ServingTerminating'],
  [{ ready: false, terminating: true }, 'ServingTerminating'],
  [{ ready: false, serving: false, terminating: true }, 'Terminating'],
]
test.each(CONDITIONS)('conditions %o: %s', (conditions, expected) => {
  const endpoints = [{ addresses: ['10.244.1.5'], conditions }]
  expect(decodeEndpointSlice(slice({ endpoints })).endpoints[0]?.condition).toBe(expected)
})

test.each([
  ['IPv4', ['10.244.1.5', '192.0.2.1', '223.255.255.255', '100.64.0.1']],
  ['IPv6', ['fd00:1::5', '2001:db8::1', '::2', '64:ff9b::1']],
])('%s endpoints may be anywhere packets go', (addressType, texts) => {
  const endpoints = texts.map((text) => ({ addresses: [text] }))
  const row = decodeEndpointSlice(slice({ addressType, endpoints }))
  expect(row.endpoints.map(({ address }) => address)).toEqual(texts)
  expect(row.refused).toBeUndefined()
})

test.each([
  [
    'IPv4',
    ['0.0.0.0', '0.1.2.3', '127.0.0.1', '127.9.9.9', '169.254.1.1', '224.0.0.1', '255.255.255.255'],
  ],
  ['IPv4', ['240.0.0.1', 'fd00::1', 'nonsense', '010.0.0.1', '10.0.0.1/32', '']],
  [
    'IPv6',
    ['::', '::1', 'fe80::1', 'febf::1', 'ff02::1', '::ffff:10.0.0.1', '10.0.0.1', 'fe80::1%eth0'],
  ],
])('%s endpoints %j are refused, the others hold', (addressType, texts) => {
  const good = addressType === 'IPv4' ? '10.244.1.5' : 'fd00:1::5'
  const endpoints = [...texts, good].map((text) => ({ addresses: [text] }))
  const row = decodeEndpointSlice(slice({ addressType, endpoints }))
  expect(row.refused).toEqual(texts)
  expect(row.endpoints.map(({ address }) => address)).toEqual([good])
})

test('names instead of addresses are no endpoints', () => {
  const row = decodeEndpointSlice(
    slice({ addressType: 'FQDN', endpoints: [{ addresses: ['db.example'] }] }),
  )
  expect(row).toMatchObject({ addressType: 'FQDN', endpoints: [] })
})

test.each([
  [{ addressType: 'IPX' }, 'addressType: expected one of IPv4, IPv6, FQDN, found "IPX"'],
  [{ endpoints: {} }, 'endpoints: expected a list'],
  [{ endpoints: [{ addresses: [7] }] }, 'endpoints[0].addresses[0]: expected a string'],
  [
    { endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: 'yes' } }] },
    'endpoints[0].conditions.ready: expected true or false',
  ],
  [{ ports: [{ port: 70_000 }] }, 'ports[0].port: expected a whole number from 1 to 65535'],
])('decodeEndpointSlice() refuses %j with the place', (more, message) => {
  expect(() => decodeEndpointSlice(slice(more))).toThrow(message)
})

test('texts that many have are shared', () => {
  const seen: string[] = []
  const endpoints = [{ addresses: ['10.244.1.5'], nodeName: 'n1', zone: 'a' }]
  decodeEndpointSlice(slice({ endpoints }), (text) => {
    seen.push(text)
    return text
  })
  expect(seen.sort()).toEqual(['a', 'http', 'n1', 'shop'])
})
