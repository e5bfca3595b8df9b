// How long it takes until what the cluster says is so on the node: many Services at the start, and one endpoint that changes; and what
// knowing them costs in memory. Ours beside a real kube-proxy; each side says itself when it last wrote, by the same metric.
import { setTimeout as sleep } from 'node:timers/promises'
import { eventually } from '../lab/index.ts'
import type { Bench } from './bench.ts'
import type { ManyServices } from './many-services.ts'
import { mapMemory } from './map-memory.ts'
import { compare, type MetricInfo, percentile, type Side } from './row.ts'
import { PEER, ServiceStand, SHORT_PORT } from './service-stands.ts'

const MANY: ManyServices = { services: 10_000, endpoints: 5, backend: '', ports: [SHORT_PORT] }
const LARGE: ManyServices = { ...MANY, services: 5_000, endpoints: 50 }
const LAST_SYNC = 'kubeproxy_sync_proxy_rules_last_timestamp_seconds'
/** kube-proxy takes minutes to write 250,000 endpoints, and holds a CPU in the kernel meanwhile. */
const SYNC_DEADLINE_MS = 600_000
/** Nothing was written for so long: it is done. Longer than kube-proxy waits between two syncs. */
const QUIET_MS = 2_500
/** Of all runs together, after those of the warm-up: the 99th percentile of fewer is the slowest. */
const CHANGES = 102
const WARM_UP_CHANGES = 5
/** Of the peer more than kube-proxy waits between two syncs, so that each change finds it ready; ours waits for nothing. */
const BETWEEN_CHANGES_MS = { ours: 100, peer: 1_300 } as const
/** Long enough for the start's garbage to be collected and handed back. */
const SETTLE_MS = 5_000
/** A pair takes a minute and a half. */
const MOST_RUNS = 3
const ONE_CHANGE = 'one change'
const SECONDS: MetricInfo = { unit: 's', better: 'lower' }
const MIB: MetricInfo = { unit: 'MiB', better: 'lower' }

export const serviceSync: Bench = {
  name: 'service-sync',
  async run({ dir, runs, say }) {
    await using ours = await ServiceStand.raise('ours', dir)
    await using peer = await ServiceStand.raise('peer', dir)
    const counted = Math.min(runs, MOST_RUNS)
    const each = Math.ceil(CHANGES / counted)
    say(
      `from the answer that completes the lists to the last write; then ${each} single changes a run`,
    )
    const all = { ours: [] as number[], peer: [] as number[] }
    const isWarmUp = { ours: true, peer: true }
    const measured = (name: string, stand: ServiceStand): Side => ({
      name,
      measure: async () => {
        const large = await started(stand, LARGE)
        await stand.stop()
        const many = await started(stand, MANY)
        const took: number[] = []
        const { who } = stand
        const changes = isWarmUp[who] ? WARM_UP_CHANGES : each
        for (let i = 0; i < changes; i++) took.push(await changed(stand))
        await stand.stop()
        if (!isWarmUp[who]) all[who].push(...took)
        isWarmUp[who] = false
        return { 'cold 10000x5': many, 'cold 5000x50': large, [ONE_CHANGE]: percentile(took, 99) }
      },
    })
    const rows = await compare(
      'service-sync',
      {
        'cold 10000x5': SECONDS,
        'cold 5000x50': SECONDS,
        [ONE_CHANGE]: { ...SECONDS, unit: 'ms, p99' },
      },
      { ours: measured('sinabro', ours), peer: measured(PEER, peer) },
      counted,
    )
    const [change, peers] = [percentile(all.ours, 99), percentile(all.peer, 99)]
    return rows.map((row) =>
      row.metric === ONE_CHANGE
        ? { ...row, ours: change, peer: peers, ratio: change / peers }
        : row,
    )
  },
}

export const serviceMemory: Bench = {
  name: 'service-memory',
  async run({ dir, runs, say }) {
    await using ours = await ServiceStand.raise('ours', dir)
    await using peer = await ServiceStand.raise('peer', dir)
    say(
      'with 10,000 Services of five endpoints; of the peer all resident memory, since none of it is a shared runtime',
    )
    const memory = (name: string, stand: ServiceStand): Side => ({
      name,
      measure: async () => {
        await started(stand, MANY)
        await sleep(SETTLE_MS)
        const { anonymous, rss } = stand.memory()
        const figure = stand.who === 'ours' ? anonymous : rss
        const maps = stand.who === 'ours' ? mapMemory(stand.node.machine) : Number.NaN
        await stand.stop()
        return { 'anonymous MiB': figure, 'map MiB': maps }
      },
    })
    const side = memory('sinabro', ours)
    const counted = Math.min(runs, MOST_RUNS)
    const peers = { ours: side, peer: memory(`${PEER}, RSS`, peer) }
    const rows = await compare(
      'service-memory',
      { 'anonymous MiB': MIB, 'map MiB': MIB },
      peers,
      counted,
    )
    // Its rules are in the kernel too, and nobody counts them.
    return rows.map((row) =>
      row.metric === 'map MiB' ? { ...row, peer: null, peerName: null, ratio: null } : row,
    )
  },
}

/** Seconds from when it knew all to its last write. */
async function started(stand: ServiceStand, spec: ManyServices): Promise<number> {
  const listed = Number(await stand.start(spec)) / 1e9
  const first = async () => ((await stand.metric(LAST_SYNC)) ?? 0) > listed || undefined
  await eventually(`${stand.who} to have written`, first, SYNC_DEADLINE_MS)
  for (;;) {
    const last = (await stand.metric(LAST_SYNC)) ?? 0
    if (Date.now() / 1000 - last > QUIET_MS / 1000) return last - listed
    await sleep(QUIET_MS / 5)
  }
}

/** Milliseconds from the event to its write. */
async function changed(stand: ServiceStand): Promise<number> {
  await sleep(BETWEEN_CHANGES_MS[stand.who])
  const at = Number(await stand.change()) / 1e9
  return await eventually('the change to be written', async () => {
    const last = (await stand.metric(LAST_SYNC)) ?? 0
    return last > at && (last - at) * 1e3
  })
}
