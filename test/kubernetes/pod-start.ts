// `npm run test:kubernetes -- pod-start`: pods one by one and many at once, on a node of ours and one of the reference plug-ins in turns.
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BenchRow, compare, median, percentile, type Side } from '../bench/row.ts'
import { run } from '../lab/command.ts'
import { eventually } from '../lab/eventually.ts'
import { cpuMs } from './cgroups.ts'
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
const ONE_BY_ONE = 20
/** What a cluster without work leaves idle is 90 to 95 %. */
const IDLE_SHARE = 0.8
const LOOK_EVERY_MS = 1000
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
    `${ONE_BY_ONE} pods one by one, ${pods} at once; plug-ins are timed from exec to exit, portmap behind them is not; beside each call a program that does nothing`,
  )
  using watch = new PodWatch(cluster, BENCH)
  const stand = { cluster, watch }
  const rows: BenchRow[] = []
  for (const [how, batches] of [
    ['one by one', Array<number>(ONE_BY_ONE).fill(1)],
    ['at once', [pods]],
  ] as const) {
    const side = (node: ClusterNode, name: string): Side => ({
      name,
      measure: async () => named(how, await round(stand, node, batches)),
    })
    const sides = { ours: side(ours, 'sinabro'), peer: side(peer, 'ptp, host-local') }
    rows.push(...(await compare(BENCH, named(how, METRICS), sides, runs)))
  }
  return rows
}

const METRICS = {
  'scheduled to Ready p50': lower,
  'scheduled to Ready p99': lower,
  'CPU of the node per pod': lower,
  'plug-in p50': lower,
  'plug-in p99': lower,
  'a program that does nothing p50': lower,
  'a program that does nothing p99': lower,
}

type Figures<T> = Readonly<Record<keyof typeof METRICS, T>>

function named<T>(how: string, figures: Figures<T>): Record<string, T> {
  return Object.fromEntries(Object.entries(figures).map(([name, one]) => [`${how}: ${name}`, one]))
}

/** What is left of a round after its pods' end, in kubelets, runtimes and the kernel, is not the next one's to pay. */
async function untilIdle(): Promise<void> {
  let before = cpuTimes()
  await eventually(
    'this machine to be idle',
    () => {
      const now = cpuTimes()
      const allMs = now.allMs - before.allMs
      if (allMs < LOOK_EVERY_MS * cpus().length) return false
      const isIdle = now.idleMs - before.idleMs > allMs * IDLE_SHARE
      before = now
      return isIdle
    },
    DEADLINE_MS,
  )
}

function cpuTimes(): { readonly idleMs: number; readonly allMs: number } {
  let [idleMs, allMs] = [0, 0]
  for (const { times } of cpus()) {
    idleMs += times.idle
    allMs += times.idle + times.user + times.nice + times.sys + times.irq
  }
  return { idleMs, allMs }
}

interface Stand {
  readonly cluster: Cluster
  readonly watch: PodWatch
}

/** From no pod to no pod; those of a batch at once, the next batch when they are Ready. */
async function round(
  { cluster, watch }: Stand,
  node: ClusterNode,
  batches: readonly number[],
): Promise<Figures<number>> {
  await untilIdle()
  rmSync(node.machine.pathOnHost(CLOCK), { force: true })
  const cpuBefore = cpuMs(node.machine.cgroups)
  let starts: number[] = []
  for (const size of batches) {
    const count = starts.length + size
    const pods = Array.from({ length: size }, (_, i) =>
      podOn(node, `${node.name}-${starts.length + i}`),
    )
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: pods })
    await cluster.control.kubectl(['create', '-f', '-'], { input })
    starts = await watch.starts(count, DEADLINE_MS)
  }
  const cpu = cpuMs(node.machine.cgroups) - cpuBefore
  const adds = clockTimes(node, 'ADD')
  const empty = clockTimes(node, 'empty')
  await cluster.kubectl('-n', BENCH, 'delete', 'pods', '--all', '--wait=false')
  await watch.empty(DEADLINE_MS)
  return {
    'scheduled to Ready p50': median(starts),
    'scheduled to Ready p99': percentile(starts, 99),
    'CPU of the node per pod': cpu / starts.length,
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
