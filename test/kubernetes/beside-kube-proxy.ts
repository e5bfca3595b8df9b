// The manifest as it is shipped: Services and host ports are left to kube-proxy and portmap, and containerd 2 asks STATUS. A short raise of its own.
import { existsSync, renameSync, rmSync } from 'node:fs'
import { Cluster, type ClusterOptions } from './cluster.ts'
import { raise, type Say } from './network.ts'
import { CLUSTER_DIR, LOGS } from './places.ts'
import type { Report } from './report.ts'
import { BESIDE_KUBE_PROXY, runEach } from './scenarios/run.ts'

/** Of a failure, until the next run: the cluster that comes after takes LOGS. */
export const LOGS_BESIDE_KUBE_PROXY = `${CLUSTER_DIR}-beside-kube-proxy`

const OPTIONS: ClusterOptions = {
  nodes: 2,
  families: 'dual',
  containerd: '2',
  proxyMode: 'nftables',
}
const WHERE = ' (beside kube-proxy, containerd 2)'

export async function besideKubeProxy(
  report: Report,
  signal: AbortSignal,
  say: Say,
): Promise<void> {
  rmSync(LOGS_BESIDE_KUBE_PROXY, { recursive: true, force: true })
  await report.guard(async () => {
    const cluster = await raise(OPTIONS, 'sinabro', say)
    await runEach(BESIDE_KUBE_PROXY, cluster, report, signal, WHERE)
  })
  await report.guard(async () => {
    await Cluster.down({ keepsLogs: report.hasFailed })
    if (report.hasFailed && existsSync(LOGS)) renameSync(LOGS, LOGS_BESIDE_KUBE_PROXY)
  })
}
