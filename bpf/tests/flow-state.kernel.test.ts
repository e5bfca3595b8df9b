// What the rows of a flow say of its state, packet by packet: opened, answered, finished, reset, forged, begun again; and pairs that mend.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  DEFAULT_TIMEOUTS,
  FLOW_FIN,
  FLOW_FIN_REPLY,
  FLOW_OPENER,
  FLOW_RST,
  FLOW_SEEN,
  FLOW_TRANSLATED,
  type Flow,
  type FlowKey,
  flow,
  flowKey,
} from '../src/layouts.ts'
import { TypedMap } from '../src/typed-map.ts'
import { type Clock, clockOf, sweepOf } from './clock.ts'
import { keysOf, leaving, modes } from './masquerade-rows.ts'
import { links, tcpPacket } from './packets.ts'
import {
  type Actors,
  type FlowSpec,
  families,
  GENERATION,
  keyOf,
  loadWorld,
  reverse,
  type World,
} from './world.ts'

const TCP = 6
const SHOT = 2
const ports = { sport: 40000, dport: 443 }
const STATE = FLOW_SEEN | FLOW_FIN | FLOW_FIN_REPLY | FLOW_RST

type Flags = Parameters<typeof tcpPacket>[3]

let world: World
let clock: Clock
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())
beforeEach(async () => {
  world.reset()
  clock = await clockOf(world)
})

const flows = () => new TypedMap(world.map('sb_flows'), flowKey, flow)

/** Pod a and the stranger, by the stack. */
function talk({ a, stranger }: Actors) {
  const sent: FlowSpec = { source: a, target: stranger, proto: TCP, ...ports }
  const back = { sport: ports.dport, dport: ports.sport }
  const send = (program: string, data: Uint8Array) =>
    expect(world.program(program).testRun({ data }).retval).not.toBe(SHOT)
  return {
    says: (...flags: Flags) =>
      send('sb_from_pod', tcpPacket(links.fromA, { src: a, dst: stranger }, ports, flags)),
    hears: (...flags: Flags) =>
      send('sb_to_pod', tcpPacket(links.toA, { src: stranger, dst: a }, back, flags)),
    state: () => [sent, reverse(sent)].map((key) => (flows().get(keyOf(key))?.flags ?? 0) & STATE),
    row: () => flows().get(keyOf(sent)),
  }
}

describe.each(families)('IPv$family', (actors) => {
  test('a connection from its first packet to its last', () => {
    const { says, hears, state } = talk(actors)
    says('syn')
    expect(state()).toEqual([0, 0])
    hears('syn', 'ack')
    expect(state()).toEqual([0, FLOW_SEEN])
    says('ack')
    expect(state()).toEqual([FLOW_SEEN, FLOW_SEEN])
    says('fin', 'ack')
    expect(state()).toEqual([FLOW_SEEN | FLOW_FIN, FLOW_SEEN | FLOW_FIN_REPLY])
    hears('ack')
    hears('fin', 'ack')
    const both = FLOW_SEEN | FLOW_FIN | FLOW_FIN_REPLY
    expect(state()).toEqual([both, both])
    says('ack')
    expect(state()).toEqual([both, both])
  })

  test('a connection whose opener has sent no more than SYNs is half open, and goes as such', async () => {
    const { says, hears, row } = talk(actors)
    says('syn')
    hears('syn', 'ack')
    says('syn')
    const age = () => {
      for (const [key, value] of flows().entries()) {
        flows().set(key, { ...value, seen: clock.secondsAgo(DEFAULT_TIMEOUTS.tcpOpening + 5) })
      }
    }
    age()
    expect(await sweepOf(world)).toMatchObject({ removed: 2 })
    says('syn')
    hears('syn', 'ack')
    says('ack')
    age()
    expect(await sweepOf(world)).toMatchObject({ removed: 0 })
    expect(row()).toBeDefined()
  })

  test('who forges segments that acknowledge nothing, or resets, has a connection that is half open', () => {
    const { says, hears, state } = talk(actors)
    says()
    expect(state()).toEqual([0, 0])
    hears('syn', 'ack')
    says('psh')
    says('fin')
    expect(state()).toEqual([FLOW_FIN, FLOW_SEEN | FLOW_FIN_REPLY])
    says('rst', 'ack')
    expect((state()[0] ?? 0) & FLOW_SEEN).toBe(0)
  })

  test('what acknowledges nothing takes no reset back', () => {
    const { says, hears, state } = talk(actors)
    says('syn')
    hears('syn', 'ack')
    says('ack')
    hears('rst')
    says('psh')
    expect(state()).toEqual([FLOW_SEEN | FLOW_RST, FLOW_SEEN | FLOW_RST])
  })

  test('a connection that is refused has ended', async () => {
    const { says, hears, state } = talk(actors)
    says('syn')
    hears('rst', 'ack')
    expect(state()).toEqual([FLOW_RST, FLOW_RST])
    expect(await sweepOf(world)).toMatchObject({ rows: 2, closed: 2 })
  })

  test.each(['says', 'hears'] as const)(
    'a reset that the connection outlives has not ended it, whoever %s more',
    (who) => {
      const both = talk(actors)
      both.says('syn')
      both.hears('syn', 'ack')
      both.hears('rst')
      expect(both.state()).toEqual([FLOW_RST, FLOW_SEEN | FLOW_RST])
      both[who]('ack')
      expect(both.state()).toEqual([who === 'says' ? FLOW_SEEN : 0, FLOW_SEEN])
    },
  )

  test('what answers the SYN of before does not take a reset back', () => {
    const { says, hears, state } = talk(actors)
    says('syn')
    says('rst')
    hears('syn', 'ack')
    expect(state()).toEqual([FLOW_RST, FLOW_SEEN | FLOW_RST])
  })

  test.each([
    ['both have finished', [['fin', 'ack']] as const, [['fin', 'ack']] as const],
    ['it was reset', [['rst']] as const, [] as const],
  ])('a SYN where %s begins another connection', (_what, said, heard) => {
    const { says, hears, state } = talk(actors)
    says('syn')
    hears('syn', 'ack')
    for (const flags of said) says(...flags)
    for (const flags of heard) hears(...flags)
    says('syn')
    expect(state()).toEqual([0, 0])
    hears('syn', 'ack')
    expect(state()).toEqual([0, FLOW_SEEN])
  })

  test('a SYN on the row of a connection that lives changes nothing', () => {
    const { says, hears, state, row } = talk(actors)
    says('syn')
    hears('syn', 'ack')
    hears('fin', 'ack')
    const before = row()
    says('syn')
    expect(state()).toEqual([FLOW_FIN_REPLY, FLOW_SEEN | FLOW_FIN])
    expect(row()?.created).toBe(before?.created)
  })

  describe('translated', () => {
    const spec = { proto: TCP, sport: 40000, port: 50000, dport: 443 }
    const { a, node1, stranger } = actors
    const out = keyOf(keysOf(actors, spec).out)
    const back = keyOf(keysOf(actors, spec).back)
    const [[, outRow], [, backRow]] = leaving(actors, spec)

    /** Rows that were used so long ago; the next packet of theirs comes in another tick. */
    function put(idleSec: number, ...rows: (readonly [FlowKey, Flow])[]): void {
      const seen = clock.secondsAgo(idleSec)
      for (const [key, row] of rows) flows().set(key, { ...row, seen, created: seen })
    }
    const run = (program: string, data: Uint8Array) =>
      world.program(program).testRun({ data }).retval
    const leaves = (...flags: Flags) =>
      run('sb_from_pod', tcpPacket(links.fromA, { src: a, dst: stranger }, ports, flags))
    const answer = { sport: 443, dport: 50000 }
    const comes = (...flags: Flags) =>
      run('sb_from_uplink', tcpPacket(links.wire, { src: stranger, dst: node1 }, answer, flags))
    const flagsOf = (key: FlowKey) => (flows().get(key)?.flags ?? 0) & STATE

    beforeEach(() => world.put(modes['a tunnel']))

    test('both rows are told of the end, and of a reset that was none', () => {
      put(0, [out, outRow], [back, backRow])
      comes('fin', 'ack')
      expect([out, back].map(flagsOf)).toEqual([FLOW_SEEN | FLOW_FIN_REPLY, FLOW_SEEN | FLOW_FIN])
      leaves('rst')
      expect(flagsOf(back) & FLOW_RST).toBe(FLOW_RST)
      comes('ack')
      expect([out, back].map(flagsOf)).toEqual([FLOW_SEEN | FLOW_FIN_REPLY, FLOW_SEEN | FLOW_FIN])
    })

    test('a row whose other is gone makes it again: what leaves', () => {
      put(10, [out, { ...outRow, flags: outRow.flags | FLOW_FIN }])
      leaves('ack')
      expect(flows().get(back)).toMatchObject({
        flags: FLOW_TRANSLATED | FLOW_FIN_REPLY,
        sourceIncarnation: 0,
        targetIncarnation: outRow.sourceIncarnation,
        to: backRow.to,
      })
      expect(comes('ack')).not.toBe(SHOT)
      expect(flagsOf(back) & FLOW_SEEN).toBe(FLOW_SEEN)
    })

    test('a row whose other is gone makes it again: what comes', () => {
      put(10, [back, backRow])
      comes('ack')
      const made = flows().get(out)
      expect(made).toMatchObject({
        flags: FLOW_TRANSLATED | FLOW_OPENER,
        sourceIncarnation: backRow.targetIncarnation,
        to: outRow.to,
      })
      // Of another generation: its next packet asks routes where it leaves.
      expect(Number((made?.way ?? 0n) & 0xffff_ffffn)).toBe(GENERATION - 1)
    })

    test('it is not asked for with every packet', () => {
      const seen = (): number | undefined => flows().get(out)?.seen
      // A tick may begin between two packets: then it is asked for, and these two tell nothing.
      for (let tries = 0, before: number | undefined; before !== seen() || tries === 0; tries++) {
        expect(tries).toBeLessThan(10)
        put(10, [out, outRow], [back, backRow])
        leaves('ack')
        flows().delete(back)
        before = seen()
        leaves('ack')
      }
      expect(flows().get(back)).toBeUndefined()
    })

    test.each([
      ['another pod’s', { to: { saddr: stranger, daddr: actors.b, sport: 443, dport: 9 } }],
      [
        'no translated one',
        { flags: FLOW_SEEN, to: { saddr: '::', daddr: '::', sport: 0, dport: 0 } },
      ],
    ])('what leaves by a port that is %s by now is dropped, and its row goes', (_what, change) => {
      put(10, [out, outRow], [back, { ...backRow, ...change }])
      expect(leaves('ack')).toBe(SHOT)
      expect(flows().get(out)).toBeUndefined()
      expect(flows().get(back)).toMatchObject(change)
    })
  })
})
