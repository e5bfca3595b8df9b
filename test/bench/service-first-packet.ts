// How long a connection to a Service takes to be made, with few Services and with many; ours beside a real kube-proxy.
import { eventually } from '../lab/index.ts'
import type { Bench } from './bench.ts'
import { compile } from './compile.ts'
import { serviceAddress } from './many-services.ts'
import { CPU, startServer } from './pod-stands.ts'
import { type BenchRow, compare, type Side } from './row.ts'
import { PEER, ServiceStand, SHORT_PORT } from './service-stands.ts'

const SIZES = [10, 1_000, 10_000, 30_000] as const
const CONNECTS = 3_000
const SYNC_DEADLINE_MS = 120_000
/**
 * New ones at a time: written at once, kube-proxy's 30,000 are one transaction that the kernel works on for more than eight minutes
 * with a CPU held (each rule that looks into a set walks the list of what the transaction makes, in `__nft_set_trans_bind`).
 */
const STEP = 1_000

export const serviceFirstPacket: Bench = {
  name: 'service-first-packet',
  async run({ dir, runs, say }) {
    const load = await compile('load', dir)
    const connects = await compile('connects', dir)
    await using ours = await ServiceStand.raise('ours', dir)
    await using peer = await ServiceStand.raise('peer', dir)
    for (const { server } of [ours, peer]) await startServer(server, [load, String(CPU), 'serve'])
    say(
      'connect() of a pod to a pod of its node, both ends on one CPU; a Service by chance each time',
    )
    const rows: BenchRow[] = []
    for (const [i, services] of SIZES.entries()) {
      for (const stand of [ours, peer]) {
        const before = SIZES[i - 1]
        if (before === undefined) await startWith(stand, services)
        for (let from = before ?? 0; from < services; from += STEP) {
          const to = Math.min(from + STEP, services)
          if (before !== undefined) await stand.grow(to)
          await untilServed(stand, connects, { from, to })
        }
      }
      const side = (name: string, stand: ServiceStand): Side => ({
        name,
        measure: async () => {
          const [p50 = Number.NaN, p99 = Number.NaN] = await drive(
            stand,
            connects,
            { from: 0, to: services },
            CONNECTS,
          )
          return {
            [`${services} services, p50`]: p50 / 1e3,
            [`${services} services, p99`]: p99 / 1e3,
          }
        },
      })
      const metrics = Object.fromEntries(
        ['p50', 'p99'].map((percent) => [
          `${services} services, ${percent}`,
          { unit: 'µs', better: 'lower' as const },
        ]),
      )
      const sides = { ours: side('sinabro', ours), peer: side(PEER, peer) }
      rows.push(...(await compare('service-first-packet', metrics, sides, runs)))
    }
    return rows
  },
}

async function startWith(stand: ServiceStand, services: number): Promise<void> {
  const backend = stand.server.address
  await stand.start({ services, endpoints: 1, backend, ports: [SHORT_PORT] })
}

interface Range {
  readonly from: number
  /** Not counted. */
  readonly to: number
}

/** `count` of them by chance, or each once. */
async function drive(
  { client }: ServiceStand,
  connects: string,
  { from, to }: Range,
  count = 0,
): Promise<number[]> {
  const what = [serviceAddress(from), to - from, SHORT_PORT, count].map(String)
  const { stdout } = await client.exec([connects, String(CPU), ...what])
  return stdout.trim().split(' ').map(Number)
}

/** Each was asked for before the clock starts, and none is missing. */
export async function untilServed(
  stand: ServiceStand,
  connects: string,
  range: Range,
): Promise<void> {
  await eventually(
    `services ${range.from} to ${range.to} of ${stand.who}`,
    () =>
      drive(stand, connects, range).then(
        () => true,
        () => false,
      ),
    SYNC_DEADLINE_MS,
  )
}
