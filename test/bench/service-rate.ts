// What Services cost those that use them: new connections and round trips to a Service's address per second of one CPU that both ends share.
import type { Bench } from './bench.ts'
import { compile } from './compile.ts'
import { serviceAddress } from './many-services.ts'
import { CPU, startServer } from './pod-stands.ts'
import { drive, type Kind, kinds } from './pod-to-pod.ts'
import { compare, type MetricInfo, type Side } from './row.ts'
import { untilServed } from './service-first-packet.ts'
import { PEER, RR_PORT, ServiceStand, SHORT_PORT } from './service-stands.ts'

const SERVICES = 1_000
const KINDS: readonly Kind[] = ['short', 'rr']
/** How long the peer's table remembers a connection that has ended, in seconds. */
const TIME_WAIT = 'net.netfilter.nf_conntrack_tcp_timeout_time_wait'

export const serviceRate: Bench = {
  name: 'service-rate',
  async run({ dir, runs, say }) {
    const load = await compile('load', dir)
    const connects = await compile('connects', dir)
    await using ours = await ServiceStand.raise('ours', dir)
    await using peer = await ServiceStand.raise('peer', dir)
    for (const stand of [ours, peer]) {
      await startServer(stand.server, [load, String(CPU), 'serve'])
      const backend = stand.server.address
      const ports = [RR_PORT, SHORT_PORT]
      await stand.start({ services: SERVICES, endpoints: 1, backend, ports })
      await untilServed(stand, connects, { from: 0, to: SERVICES })
    }
    // Else what is measured is how it looks for a free port among those that ended.
    await peer.node.exec(['sysctl', '-qw', `${TIME_WAIT}=1`])
    say(`one of ${SERVICES} Services, a pod of the same node behind it; the peer's pods are of ptp`)
    const sides = { ours: side('sinabro', ours, load), peer: side(`${PEER}, ptp`, peer, load) }
    return await compare('service-rate', METRICS, sides, runs)
  },
}

const METRICS: Readonly<Record<string, MetricInfo>> = Object.fromEntries(
  KINDS.map((kind) => [kinds[kind].name, { unit: kinds[kind].unit, better: 'higher' }]),
)

function side(name: string, { client }: ServiceStand, load: string): Side {
  const route = { from: client, address: serviceAddress(SERVICES >> 1) }
  return {
    name,
    measure: async () => {
      const figures: Record<string, number> = {}
      for (const kind of KINDS) figures[kinds[kind].name] = await drive(route, load, kind)
      return figures
    },
  }
}
