// Whose address is kept: the pod's own word, else the namespace's, and who is told of a change.
import { beforeEach, expect, test } from 'vitest'
import { type Cluster, createCluster } from '../cluster/cluster.ts'
import { Table } from '../state/table.ts'
import { ANNOTATION, ExemptAddresses, Exemptions, type LocalPod } from './exemptions.ts'

let cluster: Cluster
let exemptions: Exemptions
let told: number

function say(masquerade?: string): Record<string, string> {
  return masquerade === undefined ? {} : { [ANNOTATION]: masquerade }
}

function pod(name: string, masquerade?: string): void {
  const annotations = { other: 'x', ...say(masquerade) }
  cluster.pods.upsert({ namespace: 'shop', name, labels: {}, annotations })
}

function shop(masquerade?: string): void {
  cluster.namespaces.upsert({ name: 'shop', labels: {}, annotations: say(masquerade) })
}

const keeps = (podName: string) => exemptions.of({ podNamespace: 'shop', podName })

beforeEach(() => {
  cluster = createCluster()
  exemptions = new Exemptions(cluster.pods, cluster.namespaces)
  cluster.pods.markReady()
  cluster.namespaces.markReady()
  told = 0
  exemptions.subscribe(() => told++)
})

test('a pod that says false keeps its address, until it says so no longer', () => {
  pod('web', 'false')
  expect(keeps('web')).toBe(true)
  pod('web')
  expect(keeps('web')).toBe(false)
  expect(told).toBe(2)
})

test('a namespace speaks for pods that say nothing themselves', () => {
  pod('web')
  pod('out', 'true')
  shop('false')
  expect([keeps('web'), keeps('out')]).toEqual([true, false])
  shop()
  expect([keeps('web'), keeps('out')]).toEqual([false, false])
})

test('anything but false masquerades, and nobody is told of what changes nothing', () => {
  pod('web', 'False')
  pod('web', 'no')
  shop('true')
  expect(keeps('web')).toBe(false)
  expect(exemptions.of({})).toBe(false)
  expect(told).toBe(0)
})

test('nothing is known before both lists are in, and the last of them is told of', () => {
  const { pods, namespaces } = createCluster()
  const early = new Exemptions(pods, namespaces)
  early.subscribe(() => told++)
  pods.markReady()
  expect(early.of({ podNamespace: 'shop', podName: 'web' })).toBeUndefined()
  expect(told).toBe(0)
  namespaces.markReady()
  expect(early.of({ podNamespace: 'shop', podName: 'web' })).toBe(false)
  expect(told).toBe(1)
})

test('addresses are those of exempt pods; who hears of them hears of no other pod', () => {
  const live = new Table<LocalPod>('live', ({ podName = '' }) => podName)
  const exempt = new ExemptAddresses(exemptions, live, { podEndpoints: () => [] })
  let heard = 0
  exempt.subscribe(() => heard++)
  pod('web', 'false')
  expect(heard).toBe(1)
  const add = (podName: string, address: string) =>
    live.upsert({ podNamespace: 'shop', podName, addresses: [{ address }] })
  add('other', '10.1.0.4')
  expect(heard).toBe(1)
  add('web', '10.1.0.5')
  expect(heard).toBe(2)
  expect(exempt.list()).toEqual(['10.1.0.5'])
  live.remove('web')
  expect([heard, exempt.list()]).toEqual([3, []])
})

test('as long as the annotations are not known, addresses stay as the maps have them', () => {
  const { pods, namespaces } = createCluster()
  const live = new Table<LocalPod>('live', ({ podName = '' }) => podName)
  const addresses = ['10.1.0.5', '10.1.0.6'].map((address) => ({ address }))
  live.upsert({ podNamespace: 'shop', podName: 'web', addresses })
  const podEndpoints = () => [['10.1.0.5', { keepsAddress: true }]] as const
  const exempt = new ExemptAddresses(new Exemptions(pods, namespaces), live, { podEndpoints })
  expect(exempt.list()).toEqual(['10.1.0.5'])
  pods.markReady()
  namespaces.markReady()
  expect(exempt.list()).toEqual([])
})
