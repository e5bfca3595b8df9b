// How flow rows leave: sb_sweep by idle time and state, pairs together, rows of pods that are gone; and a full table helps itself.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  DEFAULT_TIMEOUTS,
  FLOW_FIN,
  FLOW_FIN_REPLY,
  FLOW_OPENER,
  FLOW_RST,
  FLOW_SEEN,
  FLOW_TRANSLATED,
  flow,
  flowKey,
  JIFFIES_PER_TICK,
  opened,
  type Pool,
  pool,
  poolKey,
  type Timeouts,
  timeouts,
} from '../src/layouts.ts'
import { u32 } from '../src/struct.ts'
import { TypedMap } from '../src/typed-map.ts'
import { type Clock, clockOf, sweepOf } from './clock.ts'
import { links, udpPacket } from './packets.ts'
import {
  counted,
  type FlowSpec,
  families,
  flowRow,
  IFINDEX_B,
  INCARNATION_A,
  INCARNATION_B,
  ipv4,
  keyOf,
  loadWorld,
  type RowSpec,
  reverse,
  type World,
} from './world.ts'

const TCP = 6
const UDP = 17
const MAX_FLOWS = 64

let world: World
let clock: Clock
beforeAll(async () => {
  world = await loadWorld({ maxFlows: MAX_FLOWS })
})
afterAll(() => world?.close())
beforeEach(async () => {
  world.reset()
  clock = await clockOf(world)
})

const flows = () => new TypedMap(world.map('sb_flows'), flowKey, flow)

function run(change: Partial<Timeouts> = {}) {
  new TypedMap(world.map('sb_timeouts'), u32, timeouts).set(0, { ...DEFAULT_TIMEOUTS, ...change })
  return sweepOf(world)
}

/** @param lastedSec undefined: since the beginning of time */
function put(spec: FlowSpec, row: RowSpec, idleSec: number, lastedSec?: number): void {
  const created = lastedSec === undefined ? 0 : clock.secondsAgo(idleSec + lastedSec)
  const seen = clock.secondsAgo(idleSec)
  flows().set(keyOf(spec), { ...flowRow({ flags: FLOW_SEEN, ...row }), seen, created })
}

const { a, b, node1, stranger, service } = ipv4
const tcp: FlowSpec = { source: stranger, target: service, proto: TCP, sport: 1, dport: 2 }
const udp: FlowSpec = { ...tcp, proto: UDP }
const stack: RowSpec = { kind: 'stack' }
const short: RowSpec = { kind: 'node', node: 2 }
const FINS = FLOW_FIN | FLOW_FIN_REPLY

/** What the pair is, and how long it may idle. */
test.each<[string, FlowSpec, RowSpec, keyof Timeouts, number?]>([
  ['an established TCP connection', tcp, stack, 'tcpEstablished'],
  ['one that one side has finished', tcp, { ...stack, flags: FLOW_SEEN | FLOW_FIN }, 'tcpClosing'],
  ['one that both have finished', tcp, { ...stack, flags: FLOW_SEEN | FINS }, 'tcpClosed'],
  ['one that was reset', tcp, { ...stack, flags: FLOW_SEEN | FLOW_RST }, 'tcpClosed'],
  [
    'one that both have finished, by the short way',
    tcp,
    { ...short, flags: FLOW_SEEN | FINS },
    'tcpClosedShort',
  ],
  ['UDP of a while', udp, stack, 'udpStream'],
  ['a question and its answer', udp, stack, 'udpBrief', 1],
  ['ping', { ...tcp, proto: 1, icmpClass: 1 }, stack, 'icmp'],
  ['ping over IPv6', { ...tcp, proto: 58, icmpClass: 1 }, stack, 'icmp'],
  ['anything else', { ...tcp, proto: 132 }, stack, 'other'],
])('%s goes after its idle time, both rows at once', async (_what, spec, row, name, lasted) => {
  const limit = DEFAULT_TIMEOUTS[name]
  put(spec, row, limit - 10, lasted)
  put(reverse(spec), row, limit - 10, lasted)
  expect(await run()).toMatchObject({ rows: 2, removed: 0 })
  put(spec, row, limit + 1, lasted)
  put(reverse(spec), row, limit + 1, lasted)
  expect(await run()).toMatchObject({ rows: 2, removed: 2 })
  expect([...flows().keys()]).toEqual([])
})

test.each([
  ['a TCP connection', tcp, DEFAULT_TIMEOUTS.tcpOpening],
  ['UDP', udp, DEFAULT_TIMEOUTS.udpBrief],
])('%s without an answer goes sooner', async (_what, spec, limit) => {
  put(spec, stack, limit - 10)
  put(reverse(spec), { ...stack, flags: 0 }, limit - 10)
  expect(await run()).toMatchObject({ removed: 0 })
  put(spec, stack, limit + 1)
  put(reverse(spec), { ...stack, flags: 0 }, limit + 1)
  expect(await run()).toMatchObject({ removed: 2 })
})

test('one direction that lives keeps both', async () => {
  put(udp, stack, 0)
  put(reverse(udp), { ...stack, flags: 0 }, DEFAULT_TIMEOUTS.udpStream + 100)
  expect(await run()).toMatchObject({ removed: 0 })
})

test('a row without its other goes too', async () => {
  put(udp, stack, DEFAULT_TIMEOUTS.udpStream + 1)
  expect(await run()).toMatchObject({ removed: 1 })
})

test('idle times are what the agent says, and without them nothing goes', async () => {
  put(udp, stack, 30)
  expect(await run({ udpBrief: 40 })).toMatchObject({ removed: 0 })
  expect(await run({ udpBrief: 20, tcpEstablished: 0 })).toMatchObject({ removed: 0 })
  expect(await run({ udpBrief: 20 })).toMatchObject({ removed: 1 })
})

test('ended connections of the short way go sooner when the table is all but full', async () => {
  const idle = DEFAULT_TIMEOUTS.tcpClosedPressed + 1
  const isFull = (flows: number) =>
    new TypedMap(world.map('sb_opened'), u32, opened).set(0, { flows, recount: 0 })
  put(tcp, { ...short, flags: FLOW_SEEN | FINS }, idle)
  put({ ...tcp, sport: 3 }, { ...stack, flags: FLOW_SEEN | FINS }, idle)
  expect(await run()).toMatchObject({ removed: 0, closed: 2 })
  isFull(MAX_FLOWS / 2)
  expect(await run()).toMatchObject({ removed: 1, closed: 1 })
})

const masqueraded = { source: a, target: stranger, proto: TCP, sport: 1000, dport: 443 }
const outside = { ...masqueraded, source: node1, sport: 50_000 }
const way: RowSpec = {
  kind: 'out',
  sourceIncarnation: INCARNATION_A,
  flags: FLOW_SEEN | FLOW_OPENER | FLOW_TRANSLATED,
  to: { saddr: node1, daddr: stranger, sport: 50_000, dport: 443 },
}
const wayBack: RowSpec = {
  kind: 'local',
  targetIncarnation: INCARNATION_A,
  flags: FLOW_SEEN | FLOW_TRANSLATED,
  to: { saddr: stranger, daddr: a, sport: 443, dport: 1000 },
}

test('a translated pair goes together, from either side, and is counted until then', async () => {
  const pools = () =>
    new Map(
      [...new TypedMap(world.map('sb_pools'), poolKey, pool).entries()].map(([k, v]) => [k, v]),
    )
  const inUse = (): Pool[] => [...pools().values()]
  put(masqueraded, way, 10)
  put(reverse(outside), wayBack, 10)
  expect(await run()).toMatchObject({ removed: 0, translated: 2 })
  expect([...pools().keys()]).toEqual([{ saddr: node1, daddr: stranger, dport: 443, proto: TCP }])
  expect(inUse()).toMatchObject([{ used: 1 }])
  put(masqueraded, way, DEFAULT_TIMEOUTS.tcpEstablished + 1)
  put(reverse(outside), wayBack, DEFAULT_TIMEOUTS.tcpEstablished - 10)
  expect(await run()).toMatchObject({ removed: 0 })
  put(reverse(outside), wayBack, DEFAULT_TIMEOUTS.tcpEstablished + 1)
  expect(await run()).toMatchObject({ removed: 2, translated: 0 })
  expect(inUse()).toEqual([])
})

test('half of a translated pair goes alone when its tuple is another flow’s', async () => {
  put(masqueraded, way, DEFAULT_TIMEOUTS.tcpEstablished + 1)
  flows().set(keyOf(reverse(outside)), {
    ...flowRow({ ...wayBack, targetIncarnation: INCARNATION_B }),
    to: { saddr: stranger, daddr: b, sport: 443, dport: 9 },
    seen: clock.now,
  })
  expect(await run()).toMatchObject({ removed: 1, translated: 1 })
  expect([...flows().keys()]).toEqual([keyOf(reverse(outside))])
})

describe.each(families)('IPv$family', ({ a, b }) => {
  test('rows of a pod that is gone, or whose address was given out again, go at once', async () => {
    const spec = { source: a, target: b, proto: TCP, sport: 1, dport: 2 }
    const row = {
      kind: 'local',
      sourceIncarnation: INCARNATION_A,
      targetIncarnation: INCARNATION_B,
    } as const
    put(spec, row, 10)
    expect(await run()).toMatchObject({ removed: 0 })
    put(spec, { ...row, targetIncarnation: INCARNATION_B - 1 }, 10)
    expect(await run()).toMatchObject({ removed: 1 })
    put(spec, { ...row, sourceIncarnation: INCARNATION_A - 1 }, 10)
    expect(await run()).toMatchObject({ removed: 1 })
    put({ ...spec, source: '203.0.113.9' }, row, 10)
    expect(await run()).toMatchObject({ removed: 1 })
  })

  test('a full table makes room by removing what has expired, without the agent', () => {
    for (let i = 0; i < MAX_FLOWS; i++) {
      const spec = { ...udp, sport: 1000 + i }
      put(spec, stack, i < 10 ? DEFAULT_TIMEOUTS.udpStream + 1 : 0)
    }
    const ports = { sport: 1, dport: 2 }
    const spec = { source: a, target: b, proto: UDP, ...ports }
    world.step({
      what: 'a → b, table full of others',
      program: 'sb_from_pod',
      packet: udpPacket(links.fromA, { src: a, dst: b }, ports),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_B },
        packetOut: 'any',
        maps: {
          sb_flows: {
            added: [
              [keyOf(spec), { sourceIncarnation: INCARNATION_A }],
              [keyOf(reverse(spec)), { sourceIncarnation: INCARNATION_B }],
            ],
            removed: Array.from({ length: 10 }, (_, i) => keyOf({ ...udp, sport: 1000 + i })),
          },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })
})

test('the sweep tells the length of a jiffy from both clocks', async () => {
  const before = await clockOf(world)
  const start = process.hrtime.bigint()
  // What is measured is the clock itself, so the test cannot come too late.
  let after = before
  const ticks = async () => {
    after = await clockOf(world)
    return after.now - before.now
  }
  await expect.poll(ticks, { interval: 20, timeout: 60_000 }).toBeGreaterThanOrEqual(20)
  const sec = Number(process.hrtime.bigint() - start) / 1e9
  const measured = ((after.now - before.now) * JIFFIES_PER_TICK) / sec
  expect(Math.abs(measured - after.hz) / after.hz).toBeLessThan(0.15)
})
