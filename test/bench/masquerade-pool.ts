// How far a pool of ports goes: datagrams from two pods to one address and port until the first gets no port, and what the last
// ports cost; ours beside a plain nftables rule with the same range.
import { type Bench, LAB_NAME } from './bench.ts'
import { compile } from './compile.ts'
import { MASQUERADE } from './masquerade-rate.ts'
import { CPU, ownStand, type PodStand, routedStand, startServer } from './pod-stands.ts'
import { compare, type Side } from './row.ts'

const FIRST = 32_768
const LAST = 65_535
const POOL = LAST - FIRST + 1
/** Of the pods: none is in the pool, so that a port has to be looked for every time. */
const LOCAL_FIRST = 1_024
const LOCAL_LAST = FIRST - 1
const SERVER_FIRST = 7_100

const METRICS = {
  'first failure': { unit: '% of the pool', better: 'higher' },
  'a port at 99 % full': { unit: 'µs more than at 1 %', better: 'lower' },
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
    await routed.loadRules(MASQUERADE(`to :${range}`))
    for (const { outside } of [ours, routed]) {
      await startServer(outside, [
        ports,
        String(CPU),
        'serve',
        String(SERVER_FIRST),
        String(runs + 1),
      ])
    }
    say(`${POOL} ports, ${LOCAL_LAST - LOCAL_FIRST + 1} local ones of each of two pods; UDP, IPv4`)
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
      const to = [ports, String(CPU), 'fill', stand.outside.address, String(server++)]
      const each: number[] = []
      for (const [at, pod] of stand.pods.entries()) {
        const last = at === 0 ? LOCAL_FIRST + POOL / 2 - 1 : LOCAL_LAST
        const { stdout } = await pod.exec([...to, String(LOCAL_FIRST), String(last)])
        each.push(...stdout.split('\n').filter(Boolean).map(Number))
      }
      return poolFigures(each, POOL)
    },
  }
}

/** Of the nanoseconds of each port in turn, up to the first that failed. */
export function poolFigures(each: readonly number[], pool: number): Record<string, number> {
  const mean = (from: number, to: number): number => {
    const some = each.slice(Math.floor(pool * from), Math.ceil(pool * to))
    return some.reduce((sum, ns) => sum + ns, 0) / some.length
  }
  // A pool that ends earlier is as full as it gets there.
  const end = Math.min(0.995, each.length / pool)
  return {
    'first failure': (each.length / pool) * 100,
    'a port at 99 % full': (mean(end - 0.01, end) - mean(0.005, 0.015)) / 1000,
  }
}
