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
/** kube-proxy takes minutes to write 30,000 Services. */
const SYNC_DEADLINE_MS = 300_000

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
    for (const services of SIZES) {
      for (const stand of [ours, peer]) {
        const backend = stand.server.address
        await stand.start({ services, endpoints: 1, backend, ports: [SHORT_PORT] })
        await untilServed(stand, connects, services)
      }
      const side = (name: string, stand: ServiceStand): Side => ({
        name,
        measure: async () => {
          const [p50 = Number.NaN, p99 = Number.NaN] = await drive(stand, connects, services)
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
      for (const stand of [ours, peer]) await stand.stop()
    }
    return rows
  },
}

async function drive(
  { client }: ServiceStand,
  connects: string,
  services: number,
  count = CONNECTS,
): Promise<number[]> {
  const what = [serviceAddress(0), services, SHORT_PORT, count].map(String)
  const { stdout } = await client.exec([connects, String(CPU), ...what])
  return stdout.trim().split(' ').map(Number)
}

/** Every Service once: each was asked for before the clock starts, and none is missing. */
export async function untilServed(
  stand: ServiceStand,
  connects: string,
  services: number,
): Promise<void> {
  await eventually(
    `${services} services of ${stand.who}`,
    () =>
      drive(stand, connects, services, 0).then(
        () => true,
        () => false,
      ),
    SYNC_DEADLINE_MS,
  )
}
