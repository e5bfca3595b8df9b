// What an agent costs: a thousand nodes in its memory and in the kernel, and what it asks of the API server when nothing happens.
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually } from '../../lab/eventually.ts'
import type { Cluster } from '../cluster.ts'
import type { ClusterNode } from '../node.ts'
import { memoryOf, metricOf, replaceAgent, type Sample } from './agent.ts'
import { createFakeNodes, deleteFakeNodes } from './fake-nodes.ts'
import type { Scenario } from './scenario.ts'

const COUNT = 1000
const MOST_MIB = 70
const MOST_MIB_IDLE = 60
const ROWS_DEADLINE_MS = 300_000
const IDLE_MS = 60_000
/** Of ours, in the kernel's routing tables (docs/overlay.md). */
const ROUTE_PROTOCOL = '91'

async function thousandNodes(cluster: Cluster): Promise<string> {
  const observer = cluster.node(2)
  const before = await Promise.all(cluster.nodes.map(routesOf))
  try {
    await createFakeNodes(cluster, 1, COUNT)
    const added = COUNT * cluster.plan.podRanges.length
    await untilRoutes(
      cluster,
      before.map((count) => count + added),
    )
    const followed = Math.max(...(await Promise.all(cluster.nodes.map(memoryOf))))
    await replaceAgent(cluster, observer)
    await eventually('rows after the restart', () => allDone(observer), ROWS_DEADLINE_MS)
    const start = await trafficOf(observer)
    const restarted = await memoryOf(observer)
    for (const mib of [followed, restarted]) {
      if (mib > MOST_MIB) throw new Error(`${mib.toFixed(1)} MiB at ${COUNT} nodes`)
    }
    const pages = listsOf(start.requests, 'nodes')
    const wanted = Math.ceil((COUNT + cluster.nodes.length) / 100)
    if (pages !== wanted) throw new Error(`${pages} lists of nodes at the start, not ${wanted}`)
    return (
      `${followed.toFixed(0)} MiB while they came, ${restarted.toFixed(0)} MiB after a start ` +
      `with ${textOf(start)}`
    )
  } finally {
    await deleteFakeNodes(cluster)
    await untilRoutes(cluster, before)
  }
}

async function routesOf({ machine }: ClusterNode): Promise<number> {
  let count = 0
  for (const family of ['-4', '-6']) {
    const argv = ['ip', family, 'route', 'show', 'proto', ROUTE_PROTOCOL]
    const { stdout } = await machine.exec(argv)
    count += stdout
      .trim()
      .split('\n')
      .filter((line) => line.includes('via')).length
  }
  return count
}

async function untilRoutes(cluster: Cluster, wanted: readonly number[]): Promise<void> {
  for (const [i, node] of cluster.nodes.entries()) {
    await eventually(
      `${node.name} to have routes to ${wanted[i]} ranges`,
      async () => (await routesOf(node)) === wanted[i] && (await allDone(node)),
      ROWS_DEADLINE_MS,
    )
  }
}

async function allDone(node: ClusterNode): Promise<boolean> {
  const rows = await metricOf(node, 'sinabro_reconcile_rows')
  return sum(rows.filter(({ labels }) => !labels.includes('state="done"'))) === 0
}

interface Traffic {
  readonly requests: readonly Sample[]
  readonly bytes: number
}

/** What was asked since the start. */
async function trafficOf(node: ClusterNode): Promise<Traffic> {
  const requests = await metricOf(node, 'sinabro_kubernetes_requests_total')
  return { requests, bytes: sum(await metricOf(node, 'sinabro_kubernetes_received_bytes_total')) }
}

function textOf({ requests, bytes }: Traffic): string {
  return `${sum(requests)} requests, ${(bytes / 1024).toFixed(0)} KiB`
}

function listsOf(requests: readonly Sample[], resource = ''): number {
  const wanted = `resource="${resource}`
  return sum(
    requests.filter(({ labels }) => labels.includes('verb="list"') && labels.includes(wanted)),
  )
}

function sum(samples: readonly Sample[]): number {
  return samples.reduce((total, { value }) => total + value, 0)
}

async function idleMinute(cluster: Cluster): Promise<string> {
  const [first] = cluster.nodes
  if (first === undefined) throw new Error('a cluster without nodes')
  await replaceAgent(cluster, first)
  const start = await trafficOf(first)
  const before = await Promise.all(cluster.nodes.map(trafficOf))
  await sleep(IDLE_MS) // the minute is the scenario
  const after = await Promise.all(cluster.nodes.map(trafficOf))
  const idle = after.map(({ requests, bytes }, i) => ({
    lists: listsOf(requests) - listsOf(before[i]?.requests ?? []),
    requests: sum(requests) - sum(before[i]?.requests ?? []),
    bytes: bytes - (before[i]?.bytes ?? 0),
  }))
  for (const [i, { lists }] of idle.entries()) {
    if (lists > 0) throw new Error(`the agent of ${cluster.nodes[i]?.name} listed ${lists} times`)
  }
  const most = (of: (one: (typeof idle)[number]) => number): number => Math.max(...idle.map(of))
  const memory = Math.max(...(await Promise.all(cluster.nodes.map(memoryOf))))
  if (memory > MOST_MIB_IDLE) throw new Error(`${memory.toFixed(1)} MiB`)
  const idleText = `${most((one) => one.requests)} requests, ${(most((one) => one.bytes) / 1024).toFixed(0)} KiB`
  return `start: ${textOf(start)}; idle minute: at most ${idleText}; ${memory.toFixed(0)} MiB`
}

export const scale: readonly Scenario[] = [
  { name: 'a thousand nodes come and go', run: thousandNodes },
  { name: 'an idle agent watches and asks for nothing', run: idleMinute },
]
