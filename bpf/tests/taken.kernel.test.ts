// What is remembered of a pool of ports that fills up: found by it until the last one is given, made anew by the sweep, put right when wrong.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  DEFAULT_TIMEOUTS,
  FLOW_FIN,
  FLOW_FIN_REPLY,
  FLOW_OPENER,
  flow as flowCodec,
  flowKey,
  timeouts,
} from '../src/layouts.ts'
import { u32 } from '../src/struct.ts'
import { TypedMap } from '../src/typed-map.ts'
import { sweepOf } from './clock.ts'
import { MASQUERADE, Outside } from './outside.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import { families, loadWorld, readyConfig, type World } from './world.ts'

const TCP = 6
const UDP = 17
/** Not where a word of bits begins or ends. */
const FIRST = 40010
const SIZE = 2000
const RESERVED = [FIRST + 7, FIRST + 900]
const GIVEN = SIZE - RESERVED.length
const TAKEN_FIRST = 29952
const REDIRECT = 7
const SHOT = 2

let outside: Outside
let world: World
beforeAll(async () => {
  outside = await Outside.open()
  world = await loadWorld({ rows: outside.rows, netns: outside.netns, maxFlows: 16384 })
})
beforeEach(async () => {
  world.reset()
  const config = { ...readyConfig, flags: MASQUERADE, portMin: FIRST, portMax: FIRST + SIZE - 1 }
  const reserved = RESERVED.map((port) => [port >> 6, 1n << BigInt(port & 63)] as const)
  world.put({ sb_config: [[0, config]], sb_reserved: reserved })
  new TypedMap(world.map('sb_timeouts'), u32, timeouts).set(0, DEFAULT_TIMEOUTS)
  await sweepOf(world)
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const flows = () => new TypedMap(world.map('sb_flows'), flowKey, flowCodec)

function portsGiven(): number[] {
  return [...flows().entries()]
    .filter(([, { flags }]) => flags & FLOW_OPENER)
    .map(([, { to }]) => to.sport)
}

/** Of the one pool of which ports are remembered; undefined: of none. */
function portsTaken(): number[] | undefined {
  const rows = [...world.map('sb_taken').entries()]
  expect(rows.length).toBeLessThan(2)
  const [, value] = rows[0] ?? []
  if (value === undefined) return undefined
  const bits = [...value].flatMap((byte, at) =>
    Array.from({ length: 8 }, (_, bit) => ((byte >> bit) & 1 ? at * 8 + bit : -1)),
  )
  return bits.filter((bit) => bit >= 0).map((bit) => TAKEN_FIRST + bit)
}

const sorted = (ports: readonly number[]) => [...ports].sort((a, b) => a - b)

describe.each(families)('IPv$family', ({ a, stranger }) => {
  /** From ports that are not the pool's. */
  const begin = (count: number, proto = UDP, first = 1) =>
    Array.from({ length: count }, (_, i) => {
      const route = { src: a, dst: stranger }
      const ports = { sport: first + i, dport: 53 }
      const data =
        proto === TCP
          ? tcpPacket(links.fromA, route, ports, ['syn'])
          : udpPacket(links.fromA, route, ports)
      const program = world.program('sb_from_pod')
      return program.testRun({ data, ctx: new Uint8Array(192), netns: outside.netns }).retval
    })
  /** Rows of the flows that have the ports go, and nobody is told. */
  const end = (...ports: readonly number[]) => {
    for (const [key, { to }] of [...flows().entries()]) {
      if (ports.includes(to.sport) || ports.includes(key.dport)) flows().delete(key)
    }
  }

  test('each port is given once, and all of them, before one flow fails', () => {
    expect(begin(GIVEN).filter((verdict) => verdict !== REDIRECT)).toEqual([])
    expect(portsGiven()).toHaveLength(GIVEN)
    expect(new Set(portsGiven()).size).toBe(GIVEN)
    for (const port of RESERVED) expect(portsGiven()).not.toContain(port)
    expect(begin(1, UDP, SIZE + 1)).toEqual([SHOT])
    expect(sorted(portsTaken() ?? [])).toEqual(sorted(portsGiven()))
  })

  test('nothing is remembered of a pool that is all but empty', () => {
    begin(SIZE / 10)
    expect(portsTaken()).toBeUndefined()
  })

  test('a port that is free, against what is remembered, is found, and all is learned anew', () => {
    begin(GIVEN)
    end(FIRST + 1000)
    expect(begin(1, UDP, SIZE + 1)).toEqual([REDIRECT])
    expect(new Set(portsGiven()).size).toBe(GIVEN)
    expect(portsTaken()).toEqual([FIRST + 1000])
  })

  test('the sweep remembers what it meets, and forgets a pool that has emptied', async () => {
    begin(GIVEN)
    end(...Array.from({ length: 100 }, (_, i) => FIRST + 10 * i))
    // The first eighth of a pass that does not know how many there are is not worth it.
    await sweepOf(world)
    expect(portsTaken()?.length).toBeGreaterThan(SIZE / 2)
    await sweepOf(world)
    expect(sorted(portsTaken() ?? [])).toEqual(sorted(portsGiven()))
    const left = portsGiven().length
    expect(begin(GIVEN - left, UDP, SIZE + 1).filter((verdict) => verdict !== REDIRECT)).toEqual([])
    for (const key of [...flows().keys()]) flows().delete(key)
    await sweepOf(world)
    expect(portsTaken()).toBeUndefined()
  })

  test('when none is free a SYN gets the port of a connection that has ended, and no other', () => {
    begin(GIVEN, TCP)
    for (const [key, row] of [...flows().entries()]) {
      if (key.dport !== FIRST + 500 && row.to.sport !== FIRST + 500) continue
      flows().set(key, { ...row, flags: row.flags | FLOW_FIN | FLOW_FIN_REPLY })
    }
    expect(begin(2, TCP, SIZE + 1)).toEqual([REDIRECT, SHOT])
    expect(new Set(portsGiven()).size).toBe(GIVEN)
  })
})
