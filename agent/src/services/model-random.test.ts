// Whatever changes come in whatever order, the model ends where one that starts now would: seeded, so that a failure comes again.
import { expect, test } from 'vitest'
import { type Cluster, createCluster } from '../cluster/cluster.ts'
import { decodeNode } from '../cluster/decode-node.ts'
import { Table } from '../state/table.ts'
import { ServiceModel } from './model.ts'
import type { ServiceRows } from './rows.ts'
import { service, slice } from './testing/objects.ts'

const SETTINGS = {
  externalIPCIDRs: ['198.51.100.0/24'],
  clusterCIDRs: [],
  serviceCIDRs: ['10.96.0.0/16'],
}

/** Of few names and addresses, so that they meet. */
class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  /** From 0 to below. */
  number(below: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((this.#state / 2 ** 32) * below)
  }

  one<T>(...things: readonly [T, ...T[]]): T {
    return things[this.number(things.length)] as T
  }

  some<T>(...things: readonly T[]): T[] {
    return things.filter(() => this.number(2) === 0)
  }
}

function model(cluster: Cluster) {
  const rows = new Table<ServiceRows>('Service rows', ({ key }) => key)
  const sink = { event: () => undefined }
  const made = new ServiceModel({ ...cluster, rows, nodeName: 'n1', settings: SETTINGS, sink })
  return { rows, made }
}

function change(cluster: Cluster, dice: Dice): void {
  const { services, endpointSlices, nodes, serviceCIDRs } = cluster
  const name = dice.one('a', 'b', 'c', 'd', 'e')
  const n = name.charCodeAt(0)
  const kind = dice.number(20)
  if (kind < 5) {
    const clusterIPs = dice.one(`10.96.0.${n}`, `10.96.0.${n} fd96::${n}`, 'None', '10.96.0.1')
    const spec = {
      ports: [
        { name: 'x', port: 80, nodePort: dice.one(0, 30_080, 30_081) },
        { name: 'y', port: 81, protocol: dice.one('TCP', 'UDP') },
      ],
      externalIPs: dice.some('198.51.100.1', '198.51.100.2', '203.0.113.3'),
      internalTrafficPolicy: dice.one('Cluster', 'Local'),
      externalTrafficPolicy: dice.one('Cluster', 'Local'),
    }
    const ingress = dice.some({ ip: '203.0.113.1' }, { ip: '192.0.2.9' }, { ip: '198.51.100.1' })
    const createdAt = dice.one('2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z')
    services.upsert(service(name, clusterIPs, { spec, ingress, createdAt }))
  } else if (kind < 7) services.remove(`default/${name}`)
  else if (kind < 15) {
    const endpoints = dice.some(1, 2, 3, 4).map((at) => {
      const condition = dice.one('ready', 'ready', 'unready', 'serving', 'terminating')
      const hints = dice.some('zone=a', 'zone=b', 'node=n1').join(' ')
      return `10.244.0.${dice.one(at, 127)}@${dice.one('n1', 'n2')} ${condition} ${hints}`
    })
    const [one, other] = [dice.one('x', 'y', ''), dice.one(8080, 9090)]
    const ports = [
      { name: one, port: other },
      { name: 'y', port: 53, protocol: 'UDP' },
    ]
    endpointSlices.upsert(slice(name, endpoints, { ports, name: dice.one('s1', 's2', 's3') }))
  } else if (kind < 17) endpointSlices.remove(`default/${dice.one('s1', 's2', 's3')}`)
  else if (kind < 19) {
    const zone = dice.one('a', 'b')
    const address = dice.one('192.0.2.9', '192.0.2.8')
    nodes.upsert(
      decodeNode({
        metadata: { name: dice.one('n1', 'n2'), labels: { 'topology.kubernetes.io/zone': zone } },
        spec: { podCIDRs: dice.some('203.0.113.0/24') },
        status: { addresses: [{ type: 'InternalIP', address }] },
      }),
    )
  } else if (dice.number(2) === 0) nodes.remove(dice.one('n1', 'n2'))
  else serviceCIDRs.replaceAll(dice.some({ name: 'x', cidrs: ['198.51.100.0/31', '10.96.0.0/16'] }))
}

/** With the same rows, in another order: nobody but its own model follows it. */
function copyOf(cluster: Cluster): Cluster {
  const copy = createCluster()
  copy.nodes.replaceAll(cluster.nodes.values().reverse())
  copy.services.replaceAll(cluster.services.values().reverse())
  copy.endpointSlices.replaceAll(cluster.endpointSlices.values().reverse())
  copy.serviceCIDRs.replaceAll(cluster.serviceCIDRs.values())
  for (const table of Object.values(copy)) table.markReady()
  return copy
}

const sorted = (table: { entries(): [string, object][] }): unknown[] =>
  table.entries().sort(([a], [b]) => (a < b ? -1 : 1))

test.each([1, 2, 3, 4, 5, 6, 7, 8])('seed %i', (seed) => {
  const dice = new Dice(seed)
  const cluster = createCluster()
  for (const table of Object.values(cluster)) table.markReady()
  const { rows, made } = model(cluster)
  for (let step = 0; step < 400; step++) {
    change(cluster, dice)
    if (step % 5 !== 0) continue
    const anew = model(copyOf(cluster))
    expect(sorted(rows), `step ${step}`).toEqual(sorted(anew.rows))
    expect(sorted(made.problems), `step ${step}`).toEqual(sorted(anew.made.problems))
  }
  expect(rows.size).toBeGreaterThan(0)
})
