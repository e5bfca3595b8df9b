// Short connections of many pods to one address and port, many times as many as the pool has ports, while others go on.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { shortConnections } from '../lab/conversation.ts'
import type { Pod } from '../lab/index.ts'
import { Upload } from '../lab/talk.ts'
import { grown } from './hostile-frames.ts'
import { addPods, FAMILIES, type MasqueradeStage, raiseMasquerading } from './masquerade-stage.ts'

/** SINABRO_SHORT_CONNECTIONS: 100000 is what a busy node sees in a minute. */
const COUNT = Number(process.env.SINABRO_SHORT_CONNECTIONS ?? 4_000)
/** Each costs this host a few milliseconds, all ends of it together. */
const TIMEOUT_MS = 120_000 + COUNT * 10
const NAMES = Array.from({ length: 8 }, (_, i) => `p${i}`)
const PORTS = 512
/** All pods use the same, one after the other. */
const FIRST_PORT = 20_000

let stage: MasqueradeStage
let pods: Pod[]

beforeAll(async () => {
  const args = ['--masquerade-ports', `40000-${40_000 + PORTS - 1}`]
  stage = await raiseMasquerading('many', 'ebpf', { args })
  pods = await addPods(stage.lab, 'bulk', ...NAMES)
})
afterAll(() => stage?.lab.down())

describe.each(FAMILIES)('IPv%i', { timeout: TIMEOUT_MS }, (family) => {
  test('every one succeeds, and a transfer beside them is whole', async () => {
    const [bulk, ...others] = pods
    if (bulk === undefined) throw new TypeError('pods')
    const address = stage.far.address(family)
    const transfer = new Upload(bulk, address, 16 << 20, 8)
    await transfer.reached(1)
    const each = Math.ceil(COUNT / FAMILIES.length / others.length)
    const names = ['from_pod/no_port', 'from_pod/flows_full'] as const
    const counts = await grown(stage.lab.node(1), names, async () => {
      const reports = await Promise.all(
        others.map((pod) => shortConnections(pod, address, each, FIRST_PORT)),
      )
      expect(reports).toEqual(others.map(() => ({ done: each, failed: 0 })))
    })
    expect(counts).toEqual({ 'from_pod/no_port': 0, 'from_pod/flows_full': 0 })
    const report = await transfer.report()
    expect(report.received.sha256).toBe(report.sha256)
    expect(await stage.leaks()).toBe(0)
  })
})
