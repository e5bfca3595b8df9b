// What is read of Services, their ranges and Namespaces: every field in one form, and what is wrong with its place.
import { expect, test } from 'vitest'
import { DecodeError } from './decode.ts'
import { decodeNamespace } from './decode-namespace.ts'
import { decodeService } from './decode-service.ts'
import { decodeServiceCIDR } from './decode-service-cidr.ts'

const metadata = { name: 'web', namespace: 'shop', uid: 'u' }
const decode = (spec: object) => decodeService({ metadata, spec })

test('decodeService() takes all that serving it needs, canonical and once', () => {
  const spec = {
    type: 'LoadBalancer',
    clusterIP: '10.96.0.10',
    clusterIPs: ['10.96.0.10', 'FD96::A'],
    ipFamilies: ['IPv4', 'IPv6'],
    externalIPs: ['198.51.100.1', '198.51.100.1'],
    ports: [
      { name: 'http', port: 80, targetPort: 'web', nodePort: 30_080, protocol: 'TCP' },
      { name: 'dns', port: 53, protocol: 'UDP', nodePort: 0 },
    ],
    sessionAffinity: 'ClientIP',
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
    internalTrafficPolicy: 'Local',
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: 31_000,
    trafficDistribution: 'PreferClose',
    loadBalancerSourceRanges: [' 192.0.2.0/24', '10.1.2.3/8', 'FD00::/8'],
    selector: { app: 'web' },
    // Nothing is to be done about these.
    allocateLoadBalancerNodePorts: false,
    loadBalancerClass: 'example.com/balancer',
  }
  const ingress = [
    { ip: '203.0.113.1' },
    { hostname: 'lb.example' },
    { ip: '203.0.113.2', ipMode: 'Proxy' },
    { ip: '203.0.113.3', ipMode: 'VIP' },
  ]
  const created = { ...metadata, creationTimestamp: '2026-01-01T00:00:00Z' }
  expect(decodeService({ metadata: created, spec, status: { loadBalancer: { ingress } } })).toEqual(
    {
      ...{ namespace: 'shop', name: 'web', uid: 'u', createdAt: '2026-01-01T00:00:00Z' },
      type: 'LoadBalancer',
      clusterIPs: ['10.96.0.10', 'fd96::a'],
      externalIPs: ['198.51.100.1'],
      ingress: [
        { ip: '203.0.113.1' },
        { ip: '203.0.113.2', ipMode: 'Proxy' },
        { ip: '203.0.113.3' },
      ],
      ports: [
        { name: 'http', protocol: 'TCP', port: 80, nodePort: 30_080 },
        { name: 'dns', protocol: 'UDP', port: 53 },
      ],
      affinitySec: 60,
      internalTrafficPolicy: 'Local',
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 31_000,
      trafficDistribution: 'PreferClose',
      loadBalancerSourceRanges: ['192.0.2.0/24', '10.0.0.0/8', 'fd00::/8'],
    },
  )
})

test('decodeService() says nothing of what is not asked for', () => {
  const spec = { clusterIP: '10.96.0.10', ports: [{ port: 80 }], internalTrafficPolicy: 'Cluster' }
  expect(decode({ ...spec, sessionAffinity: 'None', healthCheckNodePort: 0 })).toEqual({
    ...{ namespace: 'shop', name: 'web', uid: 'u', type: 'ClusterIP' },
    ...{ clusterIPs: ['10.96.0.10'], externalIPs: [], ingress: [] },
    ports: [{ name: '', protocol: 'TCP', port: 80 }],
  })
  expect(decode({ sessionAffinity: 'ClientIP' })).toMatchObject({ affinitySec: 10_800 })
})

test('decodeService() finds no address in a headless Service, an external name and a new one', () => {
  expect(decode({ clusterIP: 'None', clusterIPs: ['None'] }).clusterIPs).toEqual([])
  expect(decode({ type: 'ExternalName', externalName: 'db.example' }).clusterIPs).toEqual([])
  expect(decode({ type: 'ExternalName', clusterIP: '10.96.0.9' }).clusterIPs).toEqual([])
  expect(decode({ type: 'LoadBalancer', clusterIP: '' }).clusterIPs).toEqual([])
})

test('decodeService() finds no address in a Service that is labelled headless', () => {
  const labels = { 'service.kubernetes.io/headless': '' }
  const spec = { clusterIP: '10.96.0.9' }
  expect(decodeService({ metadata: { ...metadata, labels }, spec }).clusterIPs).toEqual([])
})

test('decodeService() leaves out a bad address from outside alone, and says which', () => {
  const spec = { clusterIPs: ['10.96.0.1'], externalIPs: ['198.51.100.01', 7, '198.51.100.2'] }
  const ingress = [{ ip: 'balancer' }, { ip: '203.0.113.7' }]
  expect(decodeService({ metadata, spec, status: { loadBalancer: { ingress } } })).toMatchObject({
    clusterIPs: ['10.96.0.1'],
    externalIPs: ['198.51.100.2'],
    ingress: [{ ip: '203.0.113.7' }],
    refused: [
      'spec.externalIPs[0]: expected an IP address, found "198.51.100.01"',
      'spec.externalIPs[1]: expected a string, found 7',
      'status.loadBalancer.ingress[0].ip: expected an IP address, found "balancer"',
    ],
  })
})

test('decodeService() sees whose it is', () => {
  const labels = { 'service.kubernetes.io/service-proxy-name': 'other' }
  expect(decodeService({ metadata: { ...metadata, labels }, spec: {} }).proxyName).toBe('other')
})

test.each([
  [{ clusterIPs: ['10.96.0.300'] }, 'spec.clusterIPs[0]: expected an IP address'],
  [{ clusterIPs: ['10.96.0.1', '10.96.0.2'] }, 'spec.clusterIPs: expected at most one'],
  [{ externalIPs: '198.51.100.1' }, 'spec.externalIPs: expected a list'],
  [{ type: 'Balancer' }, 'spec.type: expected one of ClusterIP, NodePort'],
  [{ ports: [{ port: 0 }] }, 'spec.ports[0].port: expected a whole number from 1 to 65535'],
  [{ ports: [{ port: '80' }] }, 'spec.ports[0].port: expected a whole number'],
  [{ ports: [{ port: 80, protocol: 'tcp' }] }, 'spec.ports[0].protocol: expected one of TCP'],
  [{ loadBalancerSourceRanges: ['192.0.2.0/33'] }, 'loadBalancerSourceRanges[0]: expected a range'],
  [{ externalTrafficPolicy: 'Near' }, 'spec.externalTrafficPolicy: expected one of Cluster'],
])('decodeService() refuses %o with the place', (spec, message) => {
  expect(() => decode(spec)).toThrow(DecodeError)
  expect(() => decode(spec)).toThrow(message)
})

test('decodeServiceCIDR() takes the ranges', () => {
  const object = {
    metadata: { name: 'kubernetes' },
    spec: { cidrs: ['10.96.0.0/12', 'FD96::/108'] },
  }
  expect(decodeServiceCIDR(object)).toEqual({
    ...{ name: 'kubernetes', cidrs: ['10.96.0.0/12', 'fd96::/108'] },
  })
})

test('decodeNamespace() takes labels and annotations', () => {
  const annotations = { 'sinabro.io/masquerade': 'false' }
  expect(decodeNamespace({ metadata: { name: 'shop', annotations } })).toEqual({
    ...{ name: 'shop', labels: {}, annotations },
  })
  expect(() => decodeNamespace({ metadata: { name: 'No Name' } })).toThrow(DecodeError)
})

test('how a backend is chosen: random or maglev; what is neither is named, and the rest holds', () => {
  const decode = (choice: string) =>
    decodeService({
      metadata: { namespace: 'n', name: 's', annotations: { 'sinabro.io/backend-choice': choice } },
      spec: { clusterIPs: ['10.96.0.1'] },
    })
  expect(decode('maglev')).toMatchObject({ backendChoice: 'maglev' })
  expect(decode('random')).toMatchObject({ backendChoice: 'random' })
  const other = decode('Maglev')
  expect(other.backendChoice).toBeUndefined()
  expect(other.refused).toEqual([
    'annotation sinabro.io/backend-choice: expected random or maglev, found Maglev',
  ])
  expect(other.clusterIPs).toEqual(['10.96.0.1'])
})
