// Nodes without anything that an agent can do without: pods, services and masquerading go the other way of each feature, and status says so.
import type { FeatureView } from '@sinabro/agent/features/features.ts'
import { describeFeature, FEATURE_NAMES } from '@sinabro/agent/features/table.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Pod } from '../lab/index.ts'
import { echoUdp, greet, serve, upload } from '../lab/talk.ts'
import { grown } from './hostile-frames.ts'
import { FAMILIES, type MasqueradeStage, nodePlace, raiseMasquerading } from './masquerade-stage.ts'
import {
  AGENT,
  clusterIPs,
  ECHO_PORT,
  endpointOf,
  NODE_PORT,
  PORTS,
  untilAnsweredBy,
  WEB_PORT,
  writeService,
} from './service-stage.ts'
import { whatIsWrong } from './stage.ts'

const WITHOUT = FEATURE_NAMES.filter((name) => describeFeature(name).isRequired !== true)
const BULK_BYTES = 4 << 20
const SERVICE = 20

let stage: MasqueradeStage
let pod: Pod
let server: Pod

beforeAll(async () => {
  const without = ['--without-features', WITHOUT.join(), '--xdp', 'generic']
  const args = [...(AGENT.args ?? []), ...without]
  stage = await raiseMasquerading('without-features', 'ebpf', { nodes: 2, args })
  const { lab } = stage
  pod = await lab.node(1).addPod('pod')
  server = await lab.node(2).addPod('server')
  await serve(server)
  const ports = PORTS.map((port, i) => ({ ...port, nodePort: NODE_PORT + i }))
  writeService(lab, SERVICE, [endpointOf(server)], { ports, spec: { type: 'NodePort' } })
  for (const family of FAMILIES) {
    await untilAnsweredBy(pod, clusterIPs(SERVICE)[family], ['server'])
  }
})

afterAll(async () => {
  for (const node of stage?.lab.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
  await stage?.lab.down()
})

test('nothing of them is used', async () => {
  const status = (await stage.lab.node(1).agent.get('/v1/status')) as {
    readonly features: readonly FeatureView[]
  }
  const absent = status.features.filter(({ present }) => present !== 'yes')
  expect(absent.map(({ feature }) => feature)).toEqual(WITHOUT)
  expect(absent.filter(({ used }) => used)).toEqual([])
})

describe.each(FAMILIES)('IPv%i', (family) => {
  test('pods of two nodes talk', async () => {
    const report = await upload(pod, server.address(family), BULK_BYTES)
    expect(report.received).toEqual({ bytes: BULK_BYTES, sha256: report.sha256 })
  })

  test('a pod reaches a service packet by packet, and is seen as itself', async () => {
    const client = pod.address(family)
    const address = clusterIPs(SERVICE)[family]
    expect(await greet(pod, address, WEB_PORT)).toEqual({ server: 'server', client })
    const report = await echoUdp(pod, address, 5, 1200, ECHO_PORT)
    expect(report).toEqual({ sent: 5, echoed: 5 })
  })

  test('a host outside sees the node in place of the pod, every byte checked', async () => {
    const { far, lab } = stage
    const counts = await grown(lab.node(1), ['from_pod/out'], async () => {
      const client = stage.nodeAddress(family)
      expect(await greet(pod, far.address(family))).toEqual({ server: 'far', client })
      const report = await upload(pod, far.address(family), BULK_BYTES)
      expect(report.received).toEqual({ bytes: BULK_BYTES, sha256: report.sha256 })
    })
    expect(counts['from_pod/out']).toBeGreaterThan(0)
  })

  test('a host outside reaches a node port, by tc', async () => {
    const { far, lab } = stage
    const asked = stage.nodeAddress(family)
    const counts = await grown(lab.node(1), ['from_uplink/node', 'xdp_uplink/node'], async () => {
      expect((await greet(far, asked, NODE_PORT)).server).toBe('server')
      const report = await echoUdp(far, asked, 5, 1200, NODE_PORT + 1)
      expect(report).toEqual({ sent: 5, echoed: 5 })
    })
    expect(counts['from_uplink/node']).toBeGreaterThan(0)
    expect(counts['xdp_uplink/node']).toBe(0)
  })
})

test('the node’s own processes do not reach services, and status says why and what to do', async () => {
  const { lab } = stage
  await expect(greet(nodePlace(lab), clusterIPs(SERVICE)[4], WEB_PORT)).rejects.toThrow()
  const { stdout } = await lab.node(1).exec(['sinabro', 'status', '-o', 'json'], { canFail: true })
  expect(stdout).toContain('ebpf without sockets')
  expect(stdout).toMatch(/processes of the node itself do not find them.*mount -t cgroup2/)
  expect(stdout).toMatch(/no XDP on eth0: .*use --xdp off here/)
})
