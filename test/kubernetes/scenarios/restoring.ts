// etcd is put back to a backup under running agents: versions of objects go back, and what came or went since must go or come again.
import { cpSync, rmSync } from 'node:fs'
import { eventually } from '../../lab/eventually.ts'
import type { Cluster } from '../cluster.ts'
import { ETCD_DATA } from '../control-plane.ts'
import { nodesOf } from './agent.ts'
import { Connections } from './connections.ts'
import { createFakeNodes, deleteFakeNodes, fakeName } from './fake-nodes.ts'
import { everyoneTalks, withNamespace } from './pods.ts'
import type { Scenario } from './scenario.ts'

const BACKUP = `${ETCD_DATA}.backup`
const EARLY = 1
const LATE = 2
/** More than everybody writes between the restore and an agent's next look: who is overtaken cannot notice (ADR 0066). */
const CHANGES = 1000
const PER_KUBECTL = 250

async function restored(cluster: Cluster): Promise<string> {
  return withNamespace(cluster, 'restored', async (space) => {
    const connections = await Connections.open(cluster, space)
    try {
      await createFakeNodes(cluster, EARLY, 1)
      await known(cluster, [EARLY])
      backUp(cluster)
      await makeHistory(cluster)
      await cluster.kubectl('delete', 'node', fakeName(EARLY))
      await createFakeNodes(cluster, LATE, 1)
      await known(cluster, [LATE])
      await restore(cluster)
      await known(cluster, [EARLY])
    } finally {
      rmSync(BACKUP, { recursive: true, force: true })
      await deleteFakeNodes(cluster)
    }
    await known(cluster, [])
    await cluster.waitReady()
    await everyoneTalks(space)
    await connections.check()
    return `${CHANGES} changes undone`
  })
}

/** The state that a machine without power would leave, which is one that etcd starts from. */
function backUp({ control }: Cluster): void {
  const [pid] = control.etcd.pids()
  if (pid === undefined) throw new Error('no etcd')
  process.kill(pid, 'SIGSTOP')
  try {
    cpSync(ETCD_DATA, BACKUP, { recursive: true })
  } finally {
    process.kill(pid, 'SIGCONT')
  }
}

async function makeHistory(cluster: Cluster): Promise<void> {
  const batches = Array.from({ length: CHANGES / PER_KUBECTL }, (_, batch) => {
    const items = Array.from({ length: PER_KUBECTL }, (_, i) => ({
      ...{ apiVersion: 'v1', kind: 'ConfigMap' },
      metadata: { name: `history-${batch}-${i}`, namespace: 'restored' },
    }))
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items })
    return cluster.control.kubectl(['create', '-f', '-'], { input })
  })
  await Promise.all(batches)
}

/** As the documentation of etcd says: everything that has a cache is started again. But not our agents. */
async function restore({ control, nodes }: Cluster): Promise<void> {
  await control.apiServer.kill('SIGKILL')
  await control.etcd.kill('SIGKILL')
  rmSync(ETCD_DATA, { recursive: true })
  cpSync(BACKUP, ETCD_DATA, { recursive: true })
  control.etcd.start()
  control.apiServer.start()
  await control.waitReady()
  await control.restartControllers()
  for (const { kubelet, kubeProxy } of nodes) {
    await kubelet.restart('SIGKILL')
    await kubeProxy?.restart('SIGKILL')
  }
}

/** Every agent knows these fake nodes and no others. */
async function known(cluster: Cluster, numbers: readonly number[]): Promise<void> {
  const wanted = numbers.map(fakeName).join()
  for (const node of cluster.nodes) {
    await eventually(
      `${node.name} to know ${wanted || 'no fake node'}`,
      async () => {
        const names = (await nodesOf(node)).map(({ name }) => name)
        return names.filter((name) => name.startsWith('fake-')).join() === wanted
      },
      60_000,
    )
  }
}

export const restoring: readonly Scenario[] = [
  { name: 'etcd is put back to an older state', run: restored },
]
