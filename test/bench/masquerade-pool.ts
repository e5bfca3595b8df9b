// How far a pool of ports goes: one pod takes 99 of 100 under its own port numbers, another looks for what is left until it finds
// none; what looking costs then. Ours beside a plain nftables rule with the same range.
import { type Bench, LAB_NAME } from './bench.ts'
import { compile } from './compile.ts'
import { masqueradeRules } from './masquerade-rate.ts'
import {
  type BenchPod,
  CPU,
  ownStand,
  type PodStand,
  routedStand,
  startServer,
} from './pod-stands.ts'
import { compare, type Side } from './row.ts'

const FIRST = 32_768
const LAST = 65_535
const POOL = LAST - FIRST + 1
/** One port of so many is left to be found, scattered over the pool. */
const LEFT = 100
/** Local ones of the pod that looks: none is in the pool, so that it has to every time. */
const LOCAL_FIRST = 1_024
const LOCAL_LAST = FIRST - 1
/** So many, while the pool is not much fuller than that. */
const SEARCHES = 32
const SERVER_FIRST = 7_100

const METRICS = {
  'first failure': { unit: '% of the pool', better: 'higher' },
  'a port at 99 % full': { unit: 'µs to look for it', better: 'lower' },
} as const

export const masqueradePool: Bench = {
  name: 'masquerade-pool',
  async run({ dir, runs, say }) {
    const ports = await compile('ports', dir)
    const range = `${FIRST}-${LAST}`
    // Nothing that one run leaves is gone when the next begins, so each has a destination of its own.
    const flags = ['--masquerade', 'ebpf', '--masquerade-ports', range, '--flows-max', '1048576']
    await using ours = await ownStand(`${LAB_NAME}-ebpf`, dir, flags)
    await using routed = await routedStand(`${LAB_NAME}-ptp`, dir)
    await routed.loadRules(masqueradeRules(`meta l4proto udp masquerade to :${range}`))
    for (const { outside } of [ours, routed]) {
      await startServer(outside, [
        ports,
        String(CPU),
        'serve',
        String(SERVER_FIRST),
        String(runs + 1),
      ])
    }
    say(`${POOL} ports towards one address and port; UDP, IPv4`)
    const sides = {
      ours: side('sinabro', ours, ports),
      peer: side('ptp, kernel routes, nft masquerade', routed, ports),
    }
    return await compare('masquerade-pool', METRICS, sides, runs)
  },
}

function side(name: string, stand: PodStand, ports: string): Side {
  let server = SERVER_FIRST
  return {
    name,
    measure: async () => {
      const [one, two] = stand.pods
      if (one === undefined || two === undefined) throw new Error('unreachable')
      const to = [ports, String(CPU), 'fill', stand.outside.address, String(server++)]
      const fill = async (pod: BenchPod, ...what: readonly number[]): Promise<number[]> => {
        const { stdout } = await pod.exec([...to, ...what.map(String)])
        return stdout.split('\n').filter(Boolean).map(Number)
      }
      const kept = await fill(one, FIRST, LAST, LEFT)
      const found = await fill(two, LOCAL_FIRST, LOCAL_LAST, 0)
      return poolFigures(kept, found, POOL)
    },
  }
}

/** Of the nanoseconds of each port: those that were not looked for, then those that were, up to the first that failed. */
export function poolFigures(
  kept: readonly number[],
  found: readonly number[],
  pool: number,
): Record<string, number> {
  const mean = (some: readonly number[]): number =>
    some.reduce((sum, ns) => sum + ns, 0) / some.length
  return {
    'first failure': ((kept.length + found.length) / pool) * 100,
    'a port at 99 % full':
      (mean(found.slice(0, SEARCHES)) - mean(kept.slice(-kept.length / 10))) / 1000,
  }
}
