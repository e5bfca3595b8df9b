// What lists and events make of the tables, and that the snapshot makes the same of them.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../../runtime/log.ts'
import { type Cluster, createCluster } from '../cluster.ts'
import { type Collections, createCollections } from './collections.ts'
import { formatSnapshot, readSnapshot, writeSnapshot } from './snapshot.ts'

let cluster: Cluster
let collections: Collections

beforeEach(() => {
  cluster = createCluster()
  collections = createCollections(cluster, 'n1')
})

const OLD = '2026-01-01T00:00:00Z'

function node(name: string, podCIDR: unknown, createdAt = OLD): object {
  return {
    metadata: {
      name,
      uid: `uid-${name}`,
      creationTimestamp: createdAt,
      labels: { zone: 'z' },
      annotations: {},
      managedFields: [{ manager: 'kubelet' }],
    },
    spec: { podCIDR, podCIDRs: [podCIDR] },
    status: {
      addresses: [{ type: 'InternalIP', address: '192.0.2.1' }],
      images: [{ names: ['a'], sizeBytes: 1 }],
    },
  }
}

const pod = { metadata: { name: 'web', namespace: 'shop', labels: { app: 'web' } } }

function list(...objects: object[]): void {
  collections.nodes.replace(objects.map((one) => collections.nodes.read(one)))
}

const ranges = (): string[] =>
  cluster.nodes.values().map(({ name, podCIDRs }) => `${name} ${podCIDRs.join(',')}`)

test('a list replaces, events change, and what is not read of a node is not kept', () => {
  list(node('n1', '10.0.1.0/24'), node('n2', '10.0.2.0/24'))
  collections.pods.replace([collections.pods.read(pod)])
  expect(cluster.nodes.get('n1')).toEqual({
    name: 'n1',
    uid: 'uid-n1',
    podCIDRs: ['10.0.1.0/24'],
    internalIPs: ['192.0.2.1'],
    labels: { zone: 'z' },
    annotations: {},
  })
  expect(cluster.pods.get('shop/web')?.nodeName).toBe('n1')
  const { revision } = cluster.nodes
  const same = collections.nodes.read(node('n2', '10.0.2.0/24'))
  collections.nodes.apply([{ type: 'put', object: same }])
  expect(cluster.nodes.revision).toBe(revision)
  const n3 = collections.nodes.read(node('n3', '10.0.3.0/24'))
  collections.nodes.apply([
    { type: 'put', object: n3 },
    { type: 'delete', object: same },
  ])
  expect(ranges()).toEqual(['n1 10.0.1.0/24', 'n3 10.0.3.0/24'])
  list(node('n4', '10.0.4.0/24'))
  expect(ranges()).toEqual(['n4 10.0.4.0/24'])
})

test('of two nodes with one range the older keeps it, whatever order they come in', () => {
  const older = node('b', '10.0.1.0/24', '2026-01-01T00:00:00Z')
  const younger = node('a', '10.0.1.0/24', '2026-01-02T00:00:00Z')
  list(younger, older)
  expect(ranges().sort()).toEqual(['a ', 'b 10.0.1.0/24'])
  expect(cluster.problems.values()).toMatchObject([{ code: 'overlap', object: 'Node/a' }])
  const gone = collections.nodes.read(older)
  collections.nodes.apply([{ type: 'delete', object: gone }])
  expect(ranges()).toEqual(['a 10.0.1.0/24'])
  expect(cluster.problems.values()).toEqual([])
})

test('a label changes without a word about ranges, also of a node that lost one', () => {
  const labelled = (name: string, createdAt: string, zone: string): object => {
    const one = node(name, '10.0.1.0/24', createdAt) as { metadata: object }
    return { ...one, metadata: { ...one.metadata, labels: { zone } } }
  }
  list(node('a', '10.0.1.0/24', '2026-01-02T00:00:00Z'), node('b', '10.0.1.0/24'))
  for (const changed of [labelled('a', '2026-01-02T00:00:00Z', 'y'), labelled('b', OLD, 'x')]) {
    collections.nodes.apply([{ type: 'put', object: collections.nodes.read(changed) }])
  }
  expect(cluster.nodes.get('a')).toMatchObject({ labels: { zone: 'y' }, podCIDRs: [] })
  expect(cluster.nodes.get('b')).toMatchObject({ labels: { zone: 'x' }, podCIDRs: ['10.0.1.0/24'] })
  expect(cluster.problems.values()).toMatchObject([{ code: 'overlap', object: 'Node/a' }])
})

test('an object that cannot be read is a problem, and what was last read of it stays', () => {
  list(node('n1', '10.0.1.0/24'))
  const bad = collections.nodes.read(node('n1', 'nonsense'))
  collections.nodes.apply([{ type: 'put', object: bad }])
  expect(ranges()).toEqual(['n1 10.0.1.0/24'])
  expect(cluster.problems.values()).toMatchObject([{ code: 'invalid', object: 'Node/n1' }])
  list(node('n1', '10.0.9.0/24'))
  expect(ranges()).toEqual(['n1 10.0.9.0/24'])
  expect(cluster.problems.values()).toEqual([])
})

test('what is no object at all is a problem and no crash', () => {
  for (const odd of [null, 7, 'x', [], {}, { metadata: 3 }, { metadata: { name: 3 } }]) {
    expect(collections.nodes.read(odd).problem).toBeDefined()
  }
})

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sinabro-snapshot-'))
})
afterEach(() => rmSync(folder, { recursive: true }))
const file = (nodeName = 'n1') => ({ folder, name: 'cluster.json', nodeName })
const SAVED_AT = '2026-01-03T00:00:00.000Z'

test('a snapshot brings back the same tables', async () => {
  list(node('n1', '10.0.1.0/24'), node('n2', '10.0.1.0/24'))
  collections.pods.replace([collections.pods.read(pod)])
  const shop = { metadata: { name: 'shop', annotations: { 'sinabro.io/masquerade': 'false' } } }
  collections.namespaces.replace([collections.namespaces.read(shop)])
  await writeSnapshot(file(), formatSnapshot(collections, 'n1', SAVED_AT))
  const snapshot = await readSnapshot(file(), silentLog)
  const later = createCluster()
  const { nodes, pods, namespaces } = createCollections(later, 'n1')
  nodes.replace((snapshot?.nodes ?? []).map((one) => nodes.read(one)))
  pods.replace((snapshot?.pods ?? []).map((one) => pods.read(one)))
  namespaces.replace((snapshot?.namespaces ?? []).map((one) => namespaces.read(one)))
  expect(later.nodes.values()).toEqual(cluster.nodes.values())
  expect(later.namespaces.values()).toEqual(cluster.namespaces.values())
  expect(later.pods.values()).toEqual(cluster.pods.values())
  expect(later.problems.values()).toEqual(cluster.problems.values())
  expect(snapshot?.savedAt).toBe(SAVED_AT)
})

test('readSnapshot() finds nothing where nothing is', async () => {
  expect(await readSnapshot(file(), silentLog)).toBeUndefined()
  expect(readdirSync(folder)).toEqual([])
})

test('a snapshot that is cut off anywhere, of another format or node, is set aside and not used', async () => {
  list(node('n1', '10.0.1.0/24'))
  const text = formatSnapshot(collections, 'n1', SAVED_AT)
  const bad = [
    ...Array.from({ length: text.length }, (_, length) => text.slice(0, length)),
    text.replace('"format":1', '"format":2'),
    text.replace('"nodeName":"n1"', '"nodeName":"n2"'),
    text.replace('"items":[', '"items":{"a":[').replace(/\]\}$/, ']}}'),
  ]
  for (const broken of bad) {
    writeFileSync(join(folder, 'cluster.json'), broken)
    expect(await readSnapshot(file(), silentLog)).toBeUndefined()
    expect(readdirSync(folder)).toEqual(['cluster.json.unreadable'])
    expect(readFileSync(join(folder, 'cluster.json.unreadable'), 'utf8')).toBe(broken)
  }
})

const service = (name: string, ...clusterIPs: unknown[]): object => ({
  metadata: { name, namespace: 'shop' },
  spec: { clusterIPs, ports: [{ port: 80 }], selector: { app: name } },
})

test('an event changes its own row only; what is bad keeps the row it had, until it is gone', () => {
  const { services } = collections
  services.replace(['a', 'b'].map((name) => services.read(service(name, '10.96.0.1'))))
  const told: string[][] = []
  cluster.services.subscribe((changes) => told.push(changes.map(({ key }) => key)))
  services.apply([{ type: 'put', object: services.read(service('b', '10.96.0.2')) }])
  expect(told).toEqual([['shop/b']])
  services.apply([{ type: 'put', object: services.read(service('b', 'x')) }])
  expect(cluster.services.get('shop/b')?.clusterIPs).toEqual(['10.96.0.2'])
  expect(cluster.problems.values()).toMatchObject([{ code: 'invalid', where: 'Service/shop/b' }])
  services.apply([{ type: 'delete', object: services.read(service('b', 'x')) }])
  expect(cluster.services.values().map(({ name }) => name)).toEqual(['a'])
  expect(cluster.problems.values()).toEqual([])
})

test('what was listed or told again is in memory once, and is no change', () => {
  const { services } = collections
  const read = () => ['a', 'b'].map((name) => services.read(service(name, '10.96.0.1')))
  services.replace(read())
  const { revision } = cluster.services
  services.replace(read())
  services.apply(read().map((object) => ({ type: 'put', object })))
  expect(cluster.services.revision).toBe(revision)
  for (const { key, row } of services.oldestFirst()) expect(cluster.services.get(key)).toBe(row)
})
