// What it costs to sweep a full flow table every 30 s, as the agent does it, and how long its event loop waits meanwhile.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { Sweeper } from '@sinabro/agent/datapath/sweep.ts'
import { systemClock } from '@sinabro/agent/runtime/clock.ts'
import { addr, BpfObject, objectPath, TypedMap, u32 } from '@sinabro/libbpf-ts'
import {
  DEFAULT_TIMEOUTS,
  ENDPOINT_LOCAL_POD,
  encodeWay,
  endpoint,
  FLOW_OPENER,
  FLOW_SEEN,
  FLOW_TRANSLATED,
  type Flow,
  flow,
  flowKey,
  MAP_NAMES,
  NOT_TRANSLATED,
  timeouts,
} from '@sinabro/libbpf-ts/layouts'
import { mountBpffs } from '@sinabro/libbpf-ts/testing'
import type { Bench } from './bench.ts'
import { compare } from './row.ts'

const ROWS = 1_000_000
const PODS = 100
const REMOTES = 200
const TCP = 6
const INTERVAL_SEC = 30
const DELAY_RESOLUTION_MS = 1
const MIB = 2 ** 20

export const flowSweep: Bench = {
  name: 'flow-sweep',
  async run({ runs, say }) {
    const bpffs = mountBpffs()
    const maxEntries = { [MAP_NAMES.flows]: ROWS }
    const object = BpfObject.open(objectPath('sweep'), {
      pinDir: join(bpffs.path, 'maps'),
      maxEntries,
    })
    try {
      await object.load()
      const table = object.map(MAP_NAMES.flows)
      new TypedMap(object.map(MAP_NAMES.timeouts), u32, timeouts).set(0, DEFAULT_TIMEOUTS)
      const clock = { ...systemClock, sleep: () => Promise.resolve() }
      const sweeper = new Sweeper(object.program('sb_sweep'), table, clock)
      const { nowTicks, hz } = await sweeper.sweep()
      fill(object, nowTicks - Math.ceil((20 * hz) / 256))
      say(`${ROWS} rows, half of them translated, ${PODS} pods, none moving: each is judged whole`)
      say(`the table has ${Math.round(memoryOf(table.fd) / MIB)} MiB`)
      let wallMs = 0
      const pass = async () => {
        const before = process.cpuUsage()
        const start = performance.now()
        const { rows, removed } = await sweeper.sweep()
        wallMs = performance.now() - start
        const { user, system } = process.cpuUsage(before)
        if (rows < ROWS * 0.99 || removed > 0) throw new Error(`${rows} rows, ${removed} removed`)
        const cpuMs = (user + system) / 1e3
        return { 'share of a core': cpuMs / (INTERVAL_SEC * 10), 'a pass, CPU': cpuMs }
      }
      const costs = await compare(
        'flow-sweep',
        {
          'share of a core': { unit: '%', better: 'lower' },
          'a pass, CPU': { unit: 'ms', better: 'lower' },
        },
        { ours: { name: 'sinabro', measure: pass } },
        runs,
      )
      const idle = () => setTimeout(wallMs)
      const stalls = await compare(
        'flow-sweep',
        { 'longest stall': { unit: 'ms', better: 'lower' } },
        {
          ours: { name: 'sinabro', measure: () => stallOf(pass) },
          peer: { name: 'doing nothing', measure: () => stallOf(idle) },
        },
        runs,
      )
      return [...costs, ...stalls]
    } finally {
      object.close()
      bpffs.unmount()
    }
  },
}

/** How long the event loop was late at most, which on a busy machine it is for other reasons too. */
async function stallOf(work: () => Promise<unknown>): Promise<Record<string, number>> {
  const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
  delay.enable()
  await work()
  delay.disable()
  return { 'longest stall': Math.max(0, delay.max / 1e6 - DELAY_RESOLUTION_MS) }
}

function fill(object: BpfObject, seen: number): void {
  const endpoints = new TypedMap(object.map(MAP_NAMES.endpoints), addr, endpoint)
  const mac = '02:00:00:00:00:01'
  for (let pod = 0; pod < PODS; pod++) {
    const incarnation = pod + 1
    const flags = ENDPOINT_LOCAL_POD
    const row = { ifindex: 1, id: pod, incarnation, flags, podMac: mac, hostMac: mac, mtu: 1450 }
    endpoints.set(podAddress(pod), row)
  }
  let rows: (readonly [Uint8Array, Uint8Array])[] = []
  for (let i = 0; i < ROWS / 2; i++) {
    rows.push(...pairOf(i, seen >>> 0))
    if (rows.length < 10_000) continue
    object.map(MAP_NAMES.flows).updateMany(rows)
    rows = []
  }
}

const podAddress = (pod: number) => `10.244.1.${pod + 2}`

/** Every other one leaves under the node's address. */
function pairOf(i: number, seen: number): (readonly [Uint8Array, Uint8Array])[] {
  const pod = i % PODS
  const pair = Math.floor(i / 2)
  const there = { saddr: podAddress(pod), daddr: `198.51.100.${pair % REMOTES}` }
  const ports = { sport: 1024 + Math.floor(pair / REMOTES), dport: 443 }
  const key = { ...there, ...ports, proto: TCP, icmpClass: 0 }
  const isTranslated = i % 2 === 0
  const out = isTranslated ? { ...there, ...ports, saddr: '192.0.2.1' } : { ...there, ...ports }
  const back = turn(out)
  const flags = FLOW_SEEN | (isTranslated ? FLOW_TRANSLATED : 0)
  const row: Flow = {
    way: encodeWay({ kind: isTranslated ? 'out' : 'stack', node: 1, generation: 1 }),
    sourceIncarnation: pod + 1,
    targetIncarnation: 0,
    sourceNode: 0,
    flags: flags | FLOW_OPENER,
    seen,
    created: seen,
    to: isTranslated ? out : NOT_TRANSLATED,
    mtu: 1500,
  }
  const backRow: Flow = {
    ...row,
    flags,
    sourceIncarnation: 0,
    targetIncarnation: pod + 1,
    to: isTranslated ? turn({ ...there, ...ports }) : NOT_TRANSLATED,
  }
  return [
    [flowKey.encode(key), flow.encode(row)],
    [flowKey.encode({ ...back, proto: TCP, icmpClass: 0 }), flow.encode(backRow)],
  ]
}

function turn<T extends Flow['to']>({ saddr, daddr, sport, dport }: T): Flow['to'] {
  return { saddr: daddr, daddr: saddr, sport: dport, dport: sport }
}

/** As the kernel charges it. */
function memoryOf(fd: number): number {
  const [, bytes] =
    /^memlock:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? []
  return Number(bytes ?? 0)
}
