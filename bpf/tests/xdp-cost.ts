// Cost of sb_xdp_uplink in ns above an empty XDP program: both directions of a flow whose backend is on another node.
import { flowKey } from '../src/layouts.ts'
import { type Rows, TestNode, testObject } from '../testing/index.ts'
import { encodeXdpMd, xdpVerdicts } from '../testing/xdp.ts'
import { type Cost, put } from './cost.ts'
import type { Outside } from './outside.ts'
import { links, udpPacket } from './packets.ts'
import { BACKEND_PORT, CLIENT_PORT, NODE_PORT, served } from './service-outside-rows.ts'
import { SERVICES } from './service-rows.ts'
import {
  type Actors,
  base,
  families,
  flowRow,
  keyOf,
  nativeRows,
  readyConfig,
  type Shapes,
} from './world.ts'
import { openOutside, sent, sentTunnelled, tunnelled } from './xdp-world.ts'

const UDP = 17
/** BENCH_BYTES of bench_xdp_uplink.bpf.c. */
const BENCH_BYTES = 128
/** As in cost.ts. */
const MAX_ENTRIES: Readonly<Record<string, number>> = { sb_nodes: 16, sb_flows: 4096 }
/** Of the payload: with it every frame is longer than what is restored. */
const PAYLOAD = 100

const yardstick = keyOf({
  ...{ source: '192.0.2.8', target: '192.0.2.9', proto: UDP, sport: 40_000, dport: 53 },
})

interface XdpCase {
  readonly path: string
  readonly before: Uint8Array
  readonly after: Uint8Array
  readonly isNative: boolean
}

function casesOf({ c, own1, node1, stranger }: Actors): readonly XdpCase[] {
  const asks = { sport: CLIENT_PORT, dport: NODE_PORT }
  const gets = { sport: CLIENT_PORT, dport: BACKEND_PORT }
  const answers = { sport: BACKEND_PORT, dport: CLIENT_PORT }
  const isAnswered = { sport: NODE_PORT, dport: CLIENT_PORT }
  const before = udpPacket(links.wire1, { src: stranger, dst: node1 }, asks, PAYLOAD)
  const there = { src: own1, dst: c, ttl: 63 }
  const out = { src: node1, dst: stranger, ttl: 63 }
  const after = udpPacket(sent.toGateway, out, isAnswered, PAYLOAD)
  const answer = (link: (typeof links)['in' | 'wire']) =>
    udpPacket(link, { src: c, dst: own1 }, answers, PAYLOAD)
  return [
    {
      path: 'XDP forward, outside to node port, a pod of another node',
      before,
      after: sentTunnelled(udpPacket(links.out, there, gets, PAYLOAD)),
      isNative: false,
    },
    {
      path: 'XDP forward, node port to outside, a pod of another node',
      before: tunnelled(answer(links.in)),
      after,
      isNative: false,
    },
    {
      path: 'XDP forward, outside to node port, a pod of another node, no tunnel',
      before,
      after: udpPacket(sent.toNode2, there, gets, PAYLOAD),
      isNative: true,
    },
    {
      path: 'XDP forward, node port to outside, a pod of another node, no tunnel',
      before: answer(links.wire1),
      after,
      isNative: true,
    },
  ]
}

function rowsOf(actors: Actors, { uplink, uplinks }: Outside, isNative: boolean): Rows<Shapes> {
  const where = isNative ? 'uplink' : 'tunnel'
  const flow = { where, proto: UDP, backend: actors.c, name: actors.own1 } as const
  const native = nativeRows.sb_config?.[0]?.[1]
  const config = isNative
    ? { ...readyConfig, ...native, uplinkIfindex: uplink, flags: SERVICES | (native?.flags ?? 0) }
    : { ...readyConfig, flags: SERVICES }
  return {
    ...base,
    ...(isNative ? nativeRows : {}),
    sb_config: [[0, config]],
    sb_uplinks: uplinks,
    sb_flows: [
      ...served(actors, flow, { answeredBy: uplink }),
      [yardstick, flowRow({ kind: 'stack' })],
    ],
  }
}

export async function measureXdp(repeat: number): Promise<Cost[]> {
  using outside = await openOutside()
  const costs: Cost[] = []
  for (const actors of families) {
    for (const one of casesOf(actors)) costs.push(await measure(one, actors, outside, repeat))
  }
  return costs
}

async function measure(one: XdpCase, actors: Actors, outside: Outside, repeat: number) {
  const { path, before, after, isNative } = one
  const number = (value: number) => new Uint8Array(Int32Array.of(value).buffer)
  using node = await TestNode.load({
    objects: [testObject('bench_xdp_uplink')],
    maps: {},
    maxEntries: (map) => MAX_ENTRIES[map],
    rodata: {
      bench_before: before.slice(0, BENCH_BYTES),
      bench_after: after.slice(0, BENCH_BYTES),
      bench_bytes: number(before.length),
      bench_grows: number(after.length - before.length),
      bench_key: flowKey.encode(yardstick),
    },
  })
  put(node, rowsOf(actors, outside, isNative))
  const frame = { data: before, ctx: encodeXdpMd(before.length, outside.uplink) }
  const ns = (program: string) => {
    const run = node.program(program).testRun({ ...frame, repeat, netns: outside.netns })
    if (run.retval !== xdpVerdicts.tx) {
      const left = Buffer.from(run.data).toString('hex')
      throw new Error(`${path}: ${program} returned ${run.retval} and left ${left}`)
    }
    return run.durationNs
  }
  const emptyNs = ns('bench_empty')
  const lookupNs = ns('bench_lookup') - emptyNs
  const restoreNs = ns('bench_restore')
  const cost = { path, family: actors.family, program: 'sb_xdp_uplink', emptyNs, lookupNs }
  return { ...cost, ns: ns('bench_xdp_uplink') - restoreNs }
}
