// Each drop reason has a vector that causes it, in both families where it has both; a reason without one fails here.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isDrop, OUTCOMES, type PacketPlace } from '../src/drop-reasons.ts'
import { type Clock, clockOf } from './clock.ts'
import { MAX_FLOWS } from './drops/drop.ts'
import { malformed } from './drops/malformed.ts'
import { noise } from './drops/noise.ts'
import { notToSay } from './drops/not-to-say.ts'
import { nowhere } from './drops/nowhere.ts'
import { outsideClaims } from './drops/outside-claims.ts'
import { podsClaims } from './drops/pods-claims.ts'
import { services } from './drops/services.ts'
import { translated } from './drops/translated.ts'
import { wayOut } from './drops/way-out.ts'
import { Outside } from './outside.ts'
import { counted, ipv4, ipv6, keyOf, loadWorld, type World } from './world.ts'

const programs: Record<PacketPlace, string> = {
  from_pod: 'sb_from_pod',
  to_pod: 'sb_to_pod',
  from_overlay: 'vector_from_overlay',
  to_overlay: 'sb_to_overlay',
  from_uplink: 'sb_from_uplink',
  to_uplink: 'sb_to_uplink',
}

let outside: Outside
let world: World
let clock: Clock
beforeAll(async () => {
  outside = await Outside.open()
  const { netns, uplinks } = outside
  // Nobody is masqueraded unless a case says so.
  world = await loadWorld({ maxFlows: MAX_FLOWS, netns, rows: { sb_uplinks: uplinks } })
  clock = await clockOf(world)
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const seen = new Set<string>()
const drops = [
  ...[...malformed, ...podsClaims, ...outsideClaims, ...noise, ...nowhere, ...notToSay],
  ...services,
  ...translated,
  ...wayOut,
]
const cases = drops.flatMap((drop) =>
  [ipv4, ipv6]
    .filter(({ family }) => drop.family === undefined || drop.family === family)
    .map((actors) => ({ ...drop, actors, title: `IPv${actors.family}` })),
)

test.each(cases)('$place drops with $reason: $what ($title)', (drop) => {
  const { actors, reason, what, place } = drop
  const sent = drop.packet(actors)
  const renewed = drop.renews?.(actors)
  const removed = drop.removes?.(actors)
  world.check({
    what,
    program: programs[place],
    packet: sent,
    maps: drop.maps?.(actors, clock) ?? {},
    expect: {
      verdict: 'shot',
      maps: {
        sb_counters: counted(place, reason, sent.length),
        sb_flows: {
          ...(renewed === undefined ? {} : { changed: [[keyOf(renewed), {}]] }),
          ...(removed === undefined ? {} : { removed: [keyOf(removed)] }),
        },
      },
    },
  })
  seen.add(reason)
})

test('every drop reason has a vector that causes it', () => {
  const all = OUTCOMES.filter(isDrop).map(({ symbol }) => symbol)
  expect([...seen].sort()).toEqual(all.sort())
})
