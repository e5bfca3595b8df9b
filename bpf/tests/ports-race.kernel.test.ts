// Several CPUs that choose ports at once: no port is given twice, and no flow begins twice.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FLOW_OPENER, flow as flowCodec, flowKey } from '../src/layouts.ts'
import type { OpenerWork } from './opener-worker.ts'
import { MASQUERADE, Outside } from './outside.ts'
import { links, udpPacket } from './packets.ts'
import { families, loadWorld, readyConfig, type World } from './world.ts'

const THREADS = 3
const FLOWS = 150
const FIRST_PORT = 40000
const REDIRECT = 7

let outside: Outside
let world: World
beforeAll(async () => {
  outside = await Outside.open()
  world = await loadWorld({ rows: outside.rows, netns: outside.netns, maxFlows: 16384 })
})
afterAll(() => {
  world?.close()
  outside?.close()
})

/** Each thread sends its packets, all begin together; their verdicts. */
async function openAtOnce(packets: readonly (readonly Uint8Array[])[]): Promise<number[]> {
  const programFd = world.program('sb_from_pod').fd
  const workers = packets.map((some) => {
    const workerData: OpenerWork = { programFd, netnsFd: outside.netns.fd, packets: some }
    return new Worker(new URL('./opener-worker.ts', import.meta.url), { workerData })
  })
  try {
    await Promise.all(workers.map((worker) => once(worker, 'message')))
    const verdicts = workers.map((worker) => once(worker, 'message') as Promise<[number[]]>)
    for (const worker of workers) worker.postMessage('go')
    return (await Promise.all(verdicts)).flatMap(([some]) => some)
  } finally {
    for (const worker of workers) await worker.terminate()
  }
}

/** Each row has its partner; the ports that flows of pods got. */
function portsGiven(): number[] {
  const ports: number[] = []
  const flows = world.map('sb_flows')
  for (const [key, value] of flows.entries()) {
    const { to, flags } = flowCodec.decode(value)
    const { proto, icmpClass } = flowKey.decode(key)
    const other = { saddr: to.daddr, daddr: to.saddr, sport: to.dport, dport: to.sport }
    expect(flows.lookup(flowKey.encode({ ...other, proto, icmpClass }))).toBeDefined()
    if (flags & FLOW_OPENER) ports.push(to.sport)
  }
  return ports
}

describe.each(families)('IPv$family', ({ a, stranger }) => {
  const packet = (sport: number) =>
    udpPacket(links.fromA, { src: a, dst: stranger }, { sport, dport: 53 })
  const pool = (size: number) => {
    world.reset()
    const range = { portMin: FIRST_PORT, portMax: FIRST_PORT + size - 1 }
    world.put({ sb_config: [[0, { ...readyConfig, flags: MASQUERADE, ...range }]] })
  }

  test.each([
    ['of a small pool', FLOWS],
    ['of one whose taken ports are remembered', 3 * FLOWS],
  ])(
    'flows that begin at once all get ports, until the last one is given: %s',
    async (_, flows) => {
      const size = THREADS * flows
      pool(size)
      const verdicts = await openAtOnce(
        Array.from({ length: THREADS }, (_, t) =>
          Array.from({ length: flows }, (_, i) => packet(1 + t * flows + i)),
        ),
      )
      expect(verdicts.filter((verdict) => verdict !== REDIRECT)).toEqual([])
      const given = portsGiven()
      expect(new Set(given).size).toBe(size)
      expect(given).toHaveLength(size)
    },
  )

  test('one flow that several CPUs see at once begins once', async () => {
    pool(10_000)
    const same = Array.from({ length: FLOWS }, (_, i) => packet(1 + i))
    const verdicts = await openAtOnce(Array.from({ length: THREADS }, () => same))
    expect(verdicts.filter((verdict) => verdict !== REDIRECT)).toEqual([])
    expect(portsGiven()).toHaveLength(FLOWS)
  })
})
