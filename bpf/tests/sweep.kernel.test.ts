// How flow rows leave: sb_sweep by idle time, pairs together, rows of pods that are gone; and a full table helps itself.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  DEFAULT_SWEEP,
  FLOW_FIN,
  FLOW_FIN_REPLY,
  FLOW_RST,
  FLOW_SEEN,
  flow,
  flowKey,
  JIFFIES_PER_TICK,
  sweep,
} from '../src/layouts.ts'
import { TypedMap } from '../src/typed-map.ts'
import { type Clock, clockOf } from './clock.ts'
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
beforeEach(() => {
  world.reset()
  clock = clockOf(world)
})

const flows = () => new TypedMap(world.map('sb_flows'), flowKey, flow)

function run(settings: Partial<typeof DEFAULT_SWEEP> = {}) {
  const ctx = sweep.encode({ ...DEFAULT_SWEEP, ...settings })
  return sweep.decode(world.program('sb_sweep').testRun({ ctx }).ctx)
}

function put(spec: FlowSpec, row: RowSpec, idleSec: number): void {
  const seen = clock.secondsAgo(idleSec)
  flows().set(keyOf(spec), { ...flowRow({ flags: FLOW_SEEN, ...row }), seen })
}

const { stranger, service } = ipv4
const tcp: FlowSpec = { source: stranger, target: service, proto: TCP, sport: 1, dport: 2 }
const udp: FlowSpec = { ...tcp, proto: UDP }
const stack: RowSpec = { kind: 'stack' }

/** [idle that stays, idle that goes] by what the pair is. */
test.each([
  ['an established TCP connection', tcp, FLOW_SEEN, DEFAULT_SWEEP.tcpEstablishedSec],
  [
    'a TCP connection that ended',
    tcp,
    FLOW_SEEN | FLOW_FIN | FLOW_FIN_REPLY,
    DEFAULT_SWEEP.tcpClosingSec,
  ],
  ['a TCP connection that was reset', tcp, FLOW_SEEN | FLOW_RST, DEFAULT_SWEEP.tcpClosingSec],
  ['UDP', udp, FLOW_SEEN, DEFAULT_SWEEP.udpSec],
  ['ping', { ...tcp, proto: 1, icmpClass: 1 }, FLOW_SEEN, DEFAULT_SWEEP.icmpSec],
  ['ping over IPv6', { ...tcp, proto: 58, icmpClass: 1 }, FLOW_SEEN, DEFAULT_SWEEP.icmpSec],
  ['anything else', { ...tcp, proto: 132 }, FLOW_SEEN, DEFAULT_SWEEP.otherSec],
])('%s goes after its idle time, both rows at once', (_what, spec, flags, limit) => {
  put(spec, { ...stack, flags }, limit - 10)
  put(reverse(spec), { ...stack, flags }, limit - 10)
  expect(run()).toMatchObject({ rows: 2, removed: 0 })
  put(spec, { ...stack, flags }, limit + 1)
  put(reverse(spec), { ...stack, flags }, limit + 1)
  expect(run().removed).toBe(2)
  expect([...flows().keys()]).toEqual([])
})

test('a TCP connection without an answer goes sooner', () => {
  put(tcp, stack, DEFAULT_SWEEP.tcpOpeningSec + 1)
  put(reverse(tcp), { ...stack, flags: 0 }, DEFAULT_SWEEP.tcpOpeningSec + 1)
  expect(run().removed).toBe(2)
})

test('one direction that lives keeps both', () => {
  put(udp, stack, 0)
  put(reverse(udp), { ...stack, flags: 0 }, DEFAULT_SWEEP.udpSec + 100)
  expect(run().removed).toBe(0)
})

test('a row without its other goes too', () => {
  put(udp, stack, DEFAULT_SWEEP.udpSec + 1)
  expect(run().removed).toBe(1)
})

test('idle times are what the agent asks for', () => {
  put(udp, stack, 30)
  expect(run({ udpSec: 40 }).removed).toBe(0)
  expect(run({ udpSec: 20 }).removed).toBe(1)
})

describe.each(families)('IPv$family', ({ a, b }) => {
  test('rows of a pod that is gone, or whose address was given out again, go at once', () => {
    const spec = { source: a, target: b, proto: TCP, sport: 1, dport: 2 }
    const row = {
      kind: 'local',
      sourceIncarnation: INCARNATION_A,
      targetIncarnation: INCARNATION_B,
    } as const
    put(spec, row, 10)
    expect(run().removed).toBe(0)
    put(spec, { ...row, targetIncarnation: INCARNATION_B - 1 }, 10)
    expect(run().removed).toBe(1)
    put(spec, { ...row, sourceIncarnation: INCARNATION_A - 1 }, 10)
    expect(run().removed).toBe(1)
    put({ ...spec, source: '203.0.113.9' }, row, 10)
    expect(run().removed).toBe(1)
  })

  test('a full table makes room by removing what has expired, without the agent', () => {
    for (let i = 0; i < MAX_FLOWS; i++) {
      const spec = { ...udp, sport: 1000 + i }
      put(spec, stack, i < 10 ? DEFAULT_SWEEP.udpSec + 1 : 0)
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
  const before = clockOf(world)
  const start = process.hrtime.bigint()
  // What is measured is the clock itself, so the test cannot come too late.
  let after = before
  const ticks = () => {
    after = clockOf(world)
    return after.now - before.now
  }
  await expect.poll(ticks, { interval: 20, timeout: 60_000 }).toBeGreaterThanOrEqual(20)
  const sec = Number(process.hrtime.bigint() - start) / 1e9
  const measured = ((after.now - before.now) * JIFFIES_PER_TICK) / sec
  expect(Math.abs(measured - after.hz) / after.hz).toBeLessThan(0.15)
})
