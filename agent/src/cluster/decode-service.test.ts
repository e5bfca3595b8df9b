// Where a Service is reached: every address of it, in one form, and none of what is no address.
import { expect, test } from 'vitest'
import { DecodeError } from './decode.ts'
import { decodeNamespace } from './decode-namespace.ts'
import { decodeService } from './decode-service.ts'

const metadata = { name: 'web', namespace: 'shop', uid: 'u' }
const addressesOf = (spec: object, status?: object): readonly string[] =>
  decodeService({ metadata, spec, status }).addresses

test('decodeService() takes cluster, external and load balancer addresses, canonical and once', () => {
  const spec = {
    type: 'LoadBalancer',
    clusterIP: '10.96.0.10',
    clusterIPs: ['10.96.0.10', 'FD96::A'],
    externalIPs: ['198.51.100.1', '10.96.0.10'],
  }
  const ingress = [{ ip: '203.0.113.1' }, { hostname: 'lb.example' }]
  expect(decodeService({ metadata, spec, status: { loadBalancer: { ingress } } })).toEqual({
    ...{ namespace: 'shop', name: 'web', uid: 'u' },
    addresses: ['10.96.0.10', 'fd96::a', '198.51.100.1', '203.0.113.1'],
  })
})

test('decodeService() finds no address in a headless Service, an external name and a new one', () => {
  expect(addressesOf({ clusterIP: 'None', clusterIPs: ['None'] })).toEqual([])
  expect(addressesOf({ type: 'ExternalName', externalName: 'db.example' })).toEqual([])
  expect(addressesOf({ type: 'LoadBalancer', clusterIP: '' }, { loadBalancer: {} })).toEqual([])
})

test('decodeService() takes the older form with one address', () => {
  expect(addressesOf({ clusterIP: '10.96.0.10' })).toEqual(['10.96.0.10'])
})

test.each([
  [{ clusterIPs: ['10.96.0.300'] }, 'spec.clusterIPs[0]: expected an IP address'],
  [{ externalIPs: '198.51.100.1' }, 'spec.externalIPs: expected a list'],
])('decodeService() refuses %o with the place', (spec, message) => {
  expect(() => decodeService({ metadata, spec })).toThrow(DecodeError)
  expect(() => decodeService({ metadata, spec })).toThrow(message)
})

test('decodeNamespace() takes labels and annotations', () => {
  const annotations = { 'sinabro.io/masquerade': 'false' }
  expect(decodeNamespace({ metadata: { name: 'shop', annotations } })).toEqual({
    ...{ name: 'shop', labels: {}, annotations },
  })
  expect(() => decodeNamespace({ metadata: { name: 'No Name' } })).toThrow(DecodeError)
})
