// Metrics of a real datapath: every one of them can be read, and what happened shows.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createCluster } from './cluster/cluster.ts'
import { Recorder } from './cluster/recorder.ts'
import { Pools } from './masquerade/pools.ts'
import { addRoomMetrics, CniCalls } from './measure.ts'
import { requestFor, Stage } from './pods/testing/stage.ts'
import { systemClock } from './runtime/clock.ts'
import { Histogram } from './runtime/histogram.ts'
import { silentLog } from './runtime/log.ts'
import { addProcessMetrics, Metrics } from './runtime/metrics.ts'

const NO_ROWS = { headers: 0, slots: 0, backends: 0, failed: 0 }

test('every metric can be read from real rooms', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'sinabro-measure-'))
  const stage = new Stage()
  try {
    const agent = await stage.start({ stateDir, isIdle: true })
    const { netns, path } = stage.namespace()
    const allocation = await agent.ipam.allocate(requestFor('web', path))
    await agent.pods.add(allocation, netns, new AbortController().signal)
    await agent.datapath.sweep()
    const metrics = new Metrics()
    const recorder = new Recorder({ clock: systemClock, log: silentLog })
    recorder.condition({ type: 'T', status: 'False', reason: 'R', message: 'm' })
    addProcessMetrics(metrics, agent.health)
    addRoomMetrics(metrics, {
      ...agent,
      masquerade: {
        pools: new Pools(agent.datapath.maps),
        state: () => ({ ports: { first: 40_000, last: 40_099 }, reserved: [] }) as never,
      },
      services: {
        lag: { now: { lastAt: 1_500 }, batches: new Histogram() } as never,
        latency: { histogram: new Histogram() } as never,
        tables: { builds: new Histogram() } as never,
        state: () =>
          ({
            ...NO_ROWS,
            services: 3,
            backends: 5,
            tables: 2,
            refusals: new Map([['sb_slots', 1]]),
          }) as never,
      },
      cluster: createCluster(),
      recorder,
      calls: new CniCalls(),
      rowStatuses: () => new Map([['pods', agent.pods.statuses()]]),
    })
    const text = await metrics.text((name, error) => {
      throw new Error(name, { cause: error })
    })
    for (const line of [
      'sinabro_ipam_addresses_used{range="10.244.1.0/24"} 1',
      'sinabro_ipam_addresses_capacity{range="10.244.1.0/24"} 253',
      'sinabro_map_entries{map="sb_endpoints"} 2',
      'sinabro_map_entries{map="sb_flows"} 0',
      'sinabro_map_capacity{map="sb_flows"} 1024',
      'sinabro_masquerade_ports_capacity 100',
      'sinabro_masquerade_flow_rows 0',
      'kubeproxy_sync_proxy_rules_last_timestamp_seconds 1.5',
      'sinabro_services 3',
      'sinabro_service_tables 2',
      'sinabro_service_map_entries{map="sb_backends"} 5',
      'sinabro_service_map_full_total{map="sb_slots"} 1',
      'sinabro_condition{type="T",status="False"} 1',
      'sinabro_condition{type="T",status="True"} 0',
    ]) {
      expect(text.split('\n')).toContain(line)
    }
    await agent.stop()
  } finally {
    stage.close()
    rmSync(stateDir, { recursive: true })
  }
})
