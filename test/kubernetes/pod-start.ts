// `npm run test:kubernetes -- pod-start`: many pods at once on a node of ours, and on one of the reference plug-ins, in turns, on one cluster.
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BenchRow, compare, median, percentile, type Side } from '../bench/row.ts'
import { run } from '../lab/command.ts'
import { Cluster } from './cluster.ts'
import { makeParts, type Say } from './network.ts'
import type { ClusterNode } from './node.ts'
import { PAUSE_IMAGE } from './node-config.ts'
import { PodWatch } from './pod-watch.ts'
import { applyReferenceNetwork } from './reference-network.ts'
import { applySinabro, importImage, waitSinabro } from './sinabro-network.ts'

const BENCH = 'pod-start'
const CLOCK = '/run/plugin-clock'
const BIN_DIR = 'opt/cni/bin'
/** Of plugin-clock.c. */
const TIMED = '.timed'
const DEADLINE_MS = 300_000
const lower = { unit: 'ms', better: 'lower' } as const

export interface PodStartOptions {
  readonly pods: number
  readonly runs: number
}

/** Raises a cluster of its own: node1 has the control plane and no pods, node2 is ours, node3 the peer's. */
export async function podStart({ pods, runs }: PodStartOptions, say: Say): Promise<BenchRow[]> {
  const images = await makeParts('debian', say)
  const options = {
    nodes: 3,
    families: 'ipv4',
    containerd: 'debian',
    proxyMode: 'nftables',
  } as const
  const cluster = await Cluster.up(options, images)
  const [ours, peer] = [cluster.node(2), cluster.node(3)]
  await importImage(cluster)
  await applySinabro(cluster, ours)
  await applyReferenceNetwork(cluster, [peer])
  await waitSinabro(cluster)
  await cluster.waitReady([ours.name, peer.name])
  await timePlugin(ours, 'sinabro-cni')
  await timePlugin(peer, 'ptp')
  await cluster.kubectl('create', 'namespace', BENCH)
  say(
    `${pods} pods at once on one node; plug-ins are timed from exec to exit, portmap behind them is not; beside each call a program that does nothing`,
  )
  using watch = new PodWatch(cluster, BENCH)
  const side = (node: ClusterNode, name: string): Side => ({
    name,
    measure: async () => await round(cluster, watch, node, pods),
  })
  const metrics = {
    'scheduled to Ready p50': lower,
    'scheduled to Ready p99': lower,
    'plug-in p50': lower,
    'plug-in p99': lower,
    'a program that does nothing p50': lower,
    'a program that does nothing p99': lower,
  }
  const sides = { ours: side(ours, 'sinabro'), peer: side(peer, 'ptp, host-local') }
  return await compare(BENCH, metrics, sides, runs)
}

/** From no pod to no pod. */
async function round(cluster: Cluster, watch: PodWatch, node: ClusterNode, count: number) {
  rmSync(node.machine.pathOnHost(CLOCK), { force: true })
  const pods = Array.from({ length: count }, (_, i) => podOn(node, `${node.name}-${i}`))
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: pods })
  await cluster.control.kubectl(['create', '-f', '-'], { input })
  const starts = await watch.starts(count, DEADLINE_MS)
  const adds = clockTimes(node, 'ADD')
  const empty = clockTimes(node, 'empty')
  await cluster.kubectl('-n', BENCH, 'delete', 'pods', '--all', '--wait=false')
  await watch.empty(DEADLINE_MS)
  return {
    'scheduled to Ready p50': median(starts),
    'scheduled to Ready p99': percentile(starts, 99),
    'plug-in p50': median(adds),
    'plug-in p99': percentile(adds, 99),
    'a program that does nothing p50': median(empty),
    'a program that does nothing p99': percentile(empty, 99),
  }
}

function podOn(node: ClusterNode, name: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: BENCH },
    spec: {
      // Not by nodeName: it is the scheduler's word that a start is counted from.
      nodeSelector: { 'kubernetes.io/hostname': node.name },
      terminationGracePeriodSeconds: 1,
      containers: [{ name: 'pause', image: PAUSE_IMAGE, imagePullPolicy: 'IfNotPresent' }],
    },
  }
}

/** From now on each call of it on this node leaves its lines in CLOCK. */
async function timePlugin({ machine }: ClusterNode, name: string): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'sinabro-clock-'))
  try {
    const source = join(import.meta.dirname, 'plugin-clock.c')
    const clock = join(dir, 'plugin-clock')
    const flags = ['-std=gnu11', '-O2', '-static', '-Wall', '-Wextra', '-Werror']
    await run(['gcc', ...flags, source, '-o', clock])
    const bin = machine.onDisk(BIN_DIR)
    mkdirSync(join(bin, TIMED), { recursive: true })
    renameSync(join(bin, name), join(bin, TIMED, name))
    copyFileSync(clock, join(bin, `${name}.new`))
    chmodSync(join(bin, `${name}.new`), 0o755)
    renameSync(join(bin, `${name}.new`), join(bin, name))
  } finally {
    rmSync(dir, { recursive: true })
  }
}

/** Milliseconds of each line with this word since the clock was removed. */
function clockTimes({ machine }: ClusterNode, word: string): number[] {
  return readFileSync(machine.pathOnHost(CLOCK), 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([of]) => of === word)
    .map(([, ns]) => Number(ns) / 1e6)
}
