// `npm run test:kubernetes -- pod-start`: pods one by one and many at once, on a node of ours and one of the reference plug-ins in turn.
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
/** What a cluster without work leaves idle on two CPUs is 90 to 95 %. */
const IDLE_SHARE = 0.8
const LOOK_EVERY_MS = 1000
/** One after the other: a kubelet's work comes and goes. */
const IDLE_LOOKS = 3
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
  const phases: readonly Phase[] = [
    { how: 'one by one', batches: Array<number>(ONE_BY_ONE).fill(1), tail: LONGEST },
    { how: 'at once', batches: [pods], tail: P99 },
  ]
  const rows: BenchRow[] = []
  for (const phase of phases) {
    // The API server ends a watch after half an hour.
    using watch = new PodWatch(cluster, BENCH)
    const side = (node: ClusterNode, name: string): Side => ({
      name,
      measure: async () => figures(phase, await round({ cluster, watch }, node, phase.batches)),
    })
    const sides = { ours: side(ours, 'sinabro'), peer: side(peer, 'ptp, host-local') }
    const names = Object.keys(figures(phase, NONE))
    const metrics = Object.fromEntries(names.map((name) => [name, lower]))
    rows.push(...(await compare(BENCH, metrics, sides, runs)))
  }
  return rows
}

interface Phase {
  readonly how: string
  /** How many pods at a time. */
  readonly batches: readonly number[]
  readonly tail: Tail
}

interface Tail {
  readonly name: string
  readonly percent: number
}

const P99: Tail = { name: 'p99', percent: 99 }
/** The 99th percentile of twenty by its right name. */
const LONGEST: Tail = { name: 'longest', percent: 100 }

/** Of one round, in milliseconds. */
interface Round {
  readonly starts: readonly number[]
  readonly adds: readonly number[]
  readonly empty: readonly number[]
  /** All that the node's processes did from the first to the last start, its agent's and kubelet's everyday work too. */
  readonly nodeCpu: number
}

const NONE: Round = { starts: [0], adds: [0], empty: [0], nodeCpu: 0 }

function figures({ how, tail }: Phase, { starts, adds, empty, nodeCpu }: Round) {
  const each = {
    'scheduled to Ready': starts,
    'plug-in': adds,
    'a program that does nothing': empty,
  }
  return Object.fromEntries([
    ...Object.entries(each).flatMap(([what, times]) => [
      [`${how}: ${what} p50`, median(times)],
      [`${how}: ${what} ${tail.name}`, percentile(times, tail.percent)],
    ]),
    [`${how}: CPU of the node per pod`, nodeCpu / starts.length],
  ]) as Record<string, number>
}

/** What is left of a round after its pods' end, in kubelets, runtimes and the kernel, is not the next one's to pay. */
async function untilIdle(): Promise<void> {
  let before = cpuTicks()
  let lookMs = performance.now() + LOOK_EVERY_MS
  let looks = 0
  await eventually(
    'this machine to be idle',
    () => {
      if (performance.now() < lookMs) return false
      lookMs = performance.now() + LOOK_EVERY_MS
      const now = cpuTicks()
      const isIdle = now.idle - before.idle > (now.all - before.all) * IDLE_SHARE
      before = now
      looks = isIdle ? looks + 1 : 0
      return looks >= IDLE_LOOKS
    },
    DEADLINE_MS,
  )
}

/** Of all CPUs since the machine started; one that waits for its disk is not idle. proc_stat(5). */
function cpuTicks(): { readonly idle: number; readonly all: number } {
  const [, line = ''] = /^cpu +(.+)$/m.exec(readFileSync('/proc/stat', 'utf8')) ?? []
  // user, nice, system, idle, iowait, irq, softirq, steal; guests' time is in user's.
  const ticks = line.split(' ').slice(0, 8).map(Number)
  return { idle: ticks[3] ?? 0, all: ticks.reduce((sum, some) => sum + some, 0) }
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
): Promise<Round> {
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
  const nodeCpu = cpuMs(node.machine.cgroups) - cpuBefore
  const adds = clockTimes(node, 'ADD')
  const empty = clockTimes(node, 'empty')
  await cluster.kubectl('-n', BENCH, 'delete', 'pods', '--all', '--wait=false')
  await watch.empty(DEADLINE_MS)
  return { starts, adds, empty, nodeCpu }
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
