// A directory of YAML as a person writes it: what is read, what is refused and where, what follows from changes.
import { mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../runtime/clock.ts'
import { silentLog } from '../../runtime/log.ts'
import { type Cluster, createCluster } from '../cluster.ts'
import { ManifestSource } from './source.ts'

let base: string
let dir: string
let cluster: Cluster
let source: ManifestSource

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'sinabro-manifests-'))
  dir = join(base, 'cluster')
  mkdirSync(dir)
  cluster = createCluster()
  source = new ManifestSource({ dir, cluster, log: silentLog, clock: systemClock, quietMs: 1 })
})
afterEach(() => {
  rmSync(base, { recursive: true })
})

function write(name: string, text: string): void {
  writeFileSync(join(dir, name), text)
}

/** Problems with the directory cut off: `a.yaml:3 yaml Node/x: message`. */
function problems(): string[] {
  return cluster.problems.values().map(({ where, code, object, message }) => {
    const place = where.replace(`${dir}/`, '')
    return `${place} ${code}${object === undefined ? '' : ` ${object}`}: ${message}`
  })
}

function node(name: string, cidr: string, address = '192.0.2.1'): string {
  return `apiVersion: v1
kind: Node
metadata:
  name: ${name}
spec:
  podCIDRs: ["${cidr}"]
status:
  addresses:
    - { type: Hostname, address: ${name} }
    - { type: InternalIP, address: "${address}" }
`
}

const names = (): string[] => cluster.nodes.values().map(({ name }) => name)

test('ManifestSource reads several documents, several files, lists and JSON', async () => {
  write(
    '10-nodes.yaml',
    `# the nodes\n---\n${node('n1', '10.244.1.0/24')}---\n${node('n2', '10.244.2.0/24', 'FD00::2')}...\n`,
  )
  write(
    '20-list.yml',
    `apiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: Pod\n    metadata: {name: web, namespace: shop, uid: u1, annotations: {a: b}}\n    spec: {nodeName: n1}\n  - apiVersion: v1\n    kind: Pod\n    metadata: {name: lone}\n`,
  )
  write(
    '30.json',
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'n3', labels: { zone: 'z' } },
      spec: { podCIDRs: ['10.244.3.0/24', 'fd00:3:0::/64'] },
    }),
  )
  write('.hidden.yaml', 'not: read')
  write('notes.txt', 'not read')
  await source.read()
  expect(problems()).toEqual([])
  expect(cluster.nodes.values()).toEqual([
    {
      name: 'n1',
      podCIDRs: ['10.244.1.0/24'],
      internalIPs: ['192.0.2.1'],
      labels: {},
      annotations: {},
    },
    {
      name: 'n2',
      podCIDRs: ['10.244.2.0/24'],
      internalIPs: ['fd00::2'],
      labels: {},
      annotations: {},
    },
    {
      name: 'n3',
      podCIDRs: ['10.244.3.0/24', 'fd00:3::/64'],
      internalIPs: [],
      labels: { zone: 'z' },
      annotations: {},
    },
  ])
  expect(cluster.pods.values()).toEqual([
    {
      namespace: 'shop',
      name: 'web',
      uid: 'u1',
      nodeName: 'n1',
      labels: {},
      annotations: { a: 'b' },
    },
    { namespace: 'default', name: 'lone', labels: {}, annotations: {} },
  ])
  expect([cluster.nodes, cluster.pods, cluster.problems].every(({ isReady }) => isReady)).toBe(true)
})

test('ManifestSource names file and line of bad YAML and applies the rest of the file', async () => {
  write(
    'a.yaml',
    `${node('n1', '10.244.1.0/24')}---\nkind: Node\n  metadata: [oops\n---\n${node('n2', '10.244.2.0/24')}`,
  )
  await source.read()
  expect(names()).toEqual(['n1', 'n2'])
  expect(problems()).toHaveLength(1)
  expect(problems()[0]).toMatch(/^a\.yaml:1[23] yaml: /)
})

test('ManifestSource names what it expected and found, at the line where it stands', async () => {
  const bad: [string, string][] = [
    [
      node('n1', '10.244.1.1/24'),
      'a.yaml:6 invalid Node/n1: spec.podCIDRs[0]: expected a range such as 10.244.1.0/24 or fd00:1::/64, with no bits after the prefix, found "10.244.1.1/24"',
    ],
    [
      node('n1', '10.244.1.0/24', '010.0.0.1'),
      'a.yaml:10 invalid Node/n1: status.addresses[1].address: expected an IP address, found "010.0.0.1"',
    ],
    [
      node('N_1', '10.244.1.0/24'),
      'a.yaml:4 invalid Node/N_1: metadata.name: expected a name (RFC 1123), found "N_1"',
    ],
    [
      'apiVersion: v1\nkind: Node\nspec: {}\n',
      'a.yaml:1 invalid Node: metadata.name: expected a string, found nothing',
    ],
    [
      'apiVersion: v1\nkind: Node\nmetadata: {name: 7}\n',
      'a.yaml:3 invalid Node: metadata.name: expected a string, found 7',
    ],
    [
      'apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec:\n  podCIDRs: 10.0.0.0/24\n',
      'a.yaml:5 invalid Node/a: spec.podCIDRs: expected a list, found "10.0.0.0/24"',
    ],
    [
      'apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec:\n  podCIDRs: [10.0.0.0/24, 10.1.0.0/24]\n',
      'a.yaml:5 invalid Node/a: spec.podCIDRs: expected at most one range per family, found ["10.0.0.0/24","10.1.0.0/24"]',
    ],
    [
      'apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {b: 1}}\n',
      'a.yaml:3 invalid Pod/a: metadata.labels.b: expected a string, found 1',
    ],
    ['\n\n- just\n- a list\n', 'a.yaml:3 invalid: expected an object with apiVersion and kind'],
    [
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n',
      'a.yaml:1 unknown-kind Deployment/a: Deployment of apps/v1 is not read by this version; Node, Pod, Service and Namespace of v1, EndpointSlice of discovery.k8s.io/v1 and ServiceCIDR of networking.k8s.io/v1 are',
    ],
  ]
  for (const [text, problem] of bad) {
    write('a.yaml', `${text}---\n${node('good', '10.9.0.0/24')}`)
    await source.read()
    expect(problems()).toEqual([problem])
    expect(names()).toEqual(['good'])
  }
})

test('ManifestSource keeps the first of two objects of one name and reports the other', async () => {
  write('a.yaml', node('n1', '10.244.1.0/24'))
  write('b.yaml', `\n${node('n1', '10.244.9.0/24')}`)
  await source.read()
  expect(cluster.nodes.get('n1')?.podCIDRs).toEqual(['10.244.1.0/24'])
  expect(problems()).toEqual([
    `b.yaml:2 duplicate Node/n1: already read from ${dir}/a.yaml:1, which is kept`,
  ])
})

test('ManifestSource lets the first of two nodes with overlapping ranges keep its own', async () => {
  write(
    'a.yaml',
    [
      node('n1', '10.244.0.0/23'),
      node('n2', '10.244.1.0/24'),
      node('n3', '10.0.0.0/8'),
      node('n4', '10.244.2.0/24'),
    ].join('---\n'),
  )
  await source.read()
  expect(cluster.nodes.values().map(({ name, podCIDRs }) => [name, ...podCIDRs])).toEqual([
    ['n1', '10.244.0.0/23'],
    ['n2'],
    ['n3'],
    ['n4', '10.244.2.0/24'],
  ])
  expect(problems()).toEqual([
    'a.yaml:12 overlap Node/n2: podCIDR 10.244.1.0/24 overlaps 10.244.0.0/23 of Node/n1, which keeps it',
    'a.yaml:23 overlap Node/n3: podCIDR 10.0.0.0/8 overlaps 10.244.0.0/23 of Node/n1, which keeps it',
  ])
})

test('ManifestSource reports a node without a range and reads it all the same', async () => {
  write(
    'a.yaml',
    'apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: {podCIDR: 10.244.1.0/24}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: n2}\n',
  )
  await source.read()
  expect(cluster.nodes.get('n1')?.podCIDRs).toEqual(['10.244.1.0/24'])
  expect(cluster.nodes.get('n2')?.podCIDRs).toEqual([])
  expect(problems()).toEqual([
    'a.yaml:6 no-pod-cidrs Node/n2: spec.podCIDRs is empty: this node can run no pods of the pod network',
  ])
})

test('ManifestSource takes nothing away for a slip of the pen, and all of it when a file goes', async () => {
  write('a.yaml', `${node('n1', '10.244.1.0/24')}---\n${node('n2', '10.244.2.0/24')}`)
  await source.read()
  write('a.yaml', `${node('n1', '10.244.7.0/24')}---\n{ ${node('n2', '10.244.2.0/24')}`)
  await source.read()
  expect(cluster.nodes.get('n1')?.podCIDRs).toEqual(['10.244.7.0/24'])
  expect(names()).toEqual(['n1', 'n2'])
  expect(problems()).toHaveLength(1)
  unlinkSync(join(dir, 'a.yaml'))
  await source.read()
  expect(names()).toEqual([])
  expect(problems()).toEqual([])
})

test('ManifestSource reads an empty directory as an empty cluster', async () => {
  write('empty.yaml', '---\n# nothing yet\n')
  await source.read()
  expect(cluster.nodes.isReady).toBe(true)
  expect(names()).toEqual([])
})

test('ManifestSource says what to do when the directory is not there, or is none', async () => {
  const at = (path: string) =>
    new ManifestSource({ dir: path, cluster, log: silentLog, clock: systemClock }).read()
  await expect(at(join(base, 'none'))).rejects.toMatchObject({
    code: 'source-unreadable',
    message: expect.stringContaining('Make it and put the Node objects'),
  })
  write('file', '')
  await expect(at(join(dir, 'file'))).rejects.toMatchObject({
    message: expect.stringContaining('not a directory'),
  })
  expect(cluster.nodes.isReady).toBe(false)
})

test('ManifestSource follows files that come, change and go, and the directory being swapped', async () => {
  write('a.yaml', node('n1', '10.244.1.0/24'))
  const stop = new AbortController()
  const running = source.run(stop.signal)
  await cluster.nodes.whenReady(stop.signal)
  const next = () => cluster.nodes.changed(cluster.nodes.revision, AbortSignal.timeout(10_000))
  let changed = next()
  write('.b', node('n2', '10.244.2.0/24'))
  renameSync(join(dir, '.b'), join(dir, 'b.yaml'))
  await changed
  expect(names()).toEqual(['n1', 'n2'])
  changed = next()
  write('a.yaml', node('n1', '10.244.5.0/24'))
  await changed
  expect(cluster.nodes.get('n1')?.podCIDRs).toEqual(['10.244.5.0/24'])
  changed = next()
  unlinkSync(join(dir, 'b.yaml'))
  await changed
  expect(names()).toEqual(['n1'])
  changed = next()
  mkdirSync(join(base, 'other'))
  writeFileSync(join(base, 'other', 'c.yaml'), node('n3', '10.244.3.0/24'))
  renameSync(dir, join(base, 'old'))
  renameSync(join(base, 'other'), dir)
  await changed
  expect(names()).toEqual(['n3'])
  stop.abort()
  await running
})

test('ManifestSource reads Services, what is behind them, and their ranges', async () => {
  write(
    'services.yaml',
    `apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints:
  - {addresses: [10.244.1.5], nodeName: n1}
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: kubernetes}
spec: {cidrs: [10.96.0.0/12]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-2, namespace: shop}
addressType: IPv4
endpoints: [{addresses: [7]}]
`,
  )
  await source.read()
  expect(cluster.services.get('shop/web')?.clusterIPs).toEqual(['10.96.0.1'])
  expect(cluster.endpointSlices.values()).toEqual([
    {
      ...{ namespace: 'shop', name: 'web-1', service: 'web', addressType: 'IPv4' },
      ports: [{ name: '', protocol: 'TCP', port: 8080 }],
      endpoints: [{ address: '10.244.1.5', condition: 'Ready', nodeName: 'n1' }],
    },
  ])
  expect(cluster.serviceCIDRs.get('kubernetes')?.cidrs).toEqual(['10.96.0.0/12'])
  expect(problems()).toEqual([
    'services.yaml:23 invalid EndpointSlice/web-2: endpoints[0].addresses[0]: expected a string, found 7',
  ])
  const tables = [cluster.services, cluster.endpointSlices, cluster.serviceCIDRs]
  expect(tables.every(({ isReady }) => isReady)).toBe(true)
})
