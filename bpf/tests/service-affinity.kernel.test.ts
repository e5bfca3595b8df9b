// How long a client keeps its backend, by packet vectors: as long as the service says, a pod and a client outside.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { CLIENT_ADDRESS, SERVICE_AFFINITY } from '../src/layouts.ts'
import { type Clock, clockOf } from './clock.ts'
import { type Outside, openServing } from './outside.ts'
import { links, udpPacket } from './packets.ts'
import {
  asked,
  BACKEND,
  begun as begunByPod,
  kindsOf,
  pairOf,
  SERVICE,
  service,
  UDP,
} from './service-flows.ts'
import { BACKEND_PORT, begun, CLIENT_PORT, NODE_PORT } from './service-outside-rows.ts'
import { drawnFirst, serving } from './service-rows.ts'
import { counted, families, IFINDEX_HERE, type World } from './world.ts'

const AFFINITY_SEC = 3600
/** Since when the client has its backend, and whether it still has: not so near that the clock could go on past it. */
const cases = [
  { what: 'inside', secondsAgo: AFFINITY_SEC - 300, isKept: true },
  { what: 'past it', secondsAgo: AFFINITY_SEC, isKept: false },
] as const
const DRAWN = 101
const KEPT = 102

let outside: Outside
let world: World
let clock: Clock
beforeAll(async () => {
  ;({ outside, world } = await openServing())
  clock = await clockOf(world)
})
afterAll(() => {
  world?.close()
  outside?.close()
})

describe.each(families)('IPv$family', (actors) => {
  const { family, a, b, node1, service: address, stranger } = actors

  /** The client's row before, and as it is afterwards. */
  const remembered = (client: string, { secondsAgo, isKept }: (typeof cases)[number]) => {
    const key = { client, kind: CLIENT_ADDRESS, service: 7 }
    const seen = clock.secondsAgo(secondsAgo)
    const row = { backend: isKept ? KEPT : DRAWN, seen: (now: number) => now > seen }
    return {
      before: { sb_affinity: [[key, { backend: KEPT, seen }]] },
      after: { sb_affinity: { changed: [[key, row]] } },
    } as const
  }

  test.each(cases)('a pod, $what', (one) => {
    const [local, , remote] = kindsOf(actors, outside)
    if (local === undefined || remote === undefined) throw new TypeError('no kinds')
    const rows = drawnFirst(service(actors, [remote.backend, local.backend], SERVICE_AFFINITY))
    const sb_services = (rows.sb_services ?? []).map(
      ([key, row]) =>
        [key, { ...row, affinitySec: key.port === SERVICE ? AFFINITY_SEC : 0 }] as const,
    )
    const { before, after } = remembered(a, one)
    const served = one.isKept ? local : remote
    const { link, hops, mark, outcome, redirect } = served.leaves
    if (redirect === undefined) throw new TypeError('no redirect')
    world.check({
      what: one.what,
      program: 'sb_from_pod',
      maps: { ...rows, ...served.node(), sb_services, ...before },
      packet: udpPacket(links.fromA, { src: a, dst: address }, asked),
      expect: {
        verdict: 'redirect',
        redirect,
        packetOut: udpPacket(
          link,
          { src: a, dst: served.backend, ttl: hops },
          { ...asked, dport: BACKEND },
        ),
        ctx: { mark },
        maps: {
          ...after,
          sb_flows: { added: begunByPod(pairOf(actors, served, UDP)) },
          sb_counters: counted('from_pod', outcome),
        },
      },
    })
  })

  const here = { address: a, port: BACKEND_PORT }
  const other = { address: b, port: 1 }
  const outsideRows = (backends: readonly (typeof here)[]) =>
    serving({
      ...{ family, proto: UDP, port: NODE_PORT, backends },
      ...{ flags: SERVICE_AFFINITY, affinitySec: AFFINITY_SEC },
    })
  const outsideAsks = udpPacket(
    links.wire,
    { src: stranger, dst: node1 },
    { sport: CLIENT_PORT, dport: NODE_PORT },
  )
  /** It gets pod a. */
  const outsideGets = () =>
    ({
      verdict: 'redirect',
      redirect: { kind: 'peer', ifindex: IFINDEX_HERE },
      packetOut: udpPacket(
        links.toA,
        { src: stranger, dst: a, ttl: 63 },
        { sport: CLIENT_PORT, dport: BACKEND_PORT },
      ),
      maps: {
        sb_flows: {
          added: begun(
            actors,
            { where: 'here', proto: UDP, backend: a, service: node1 },
            outside.uplink,
          ),
        },
        sb_counters: counted('from_uplink', 'PASS_LOCAL'),
      },
    }) as const

  test.each(cases)('a client outside, $what', (one) => {
    const { before, after } = remembered(stranger, one)
    const rows = outsideRows(one.isKept ? [other, here] : [here, other])
    world.check({
      what: one.what,
      program: 'sb_from_uplink',
      maps: { ...drawnFirst(rows), ...before },
      packet: outsideAsks,
      expect: { ...outsideGets(), maps: { ...outsideGets().maps, ...after } },
    })
  })

  test('a client outside keeps its backend, by its address', () => {
    const program = 'sb_from_uplink'
    const key = { client: stranger, kind: CLIENT_ADDRESS, service: 7 }
    world.check({
      what: 'the first time',
      program,
      maps: outsideRows([here]),
      packet: outsideAsks,
      expect: {
        ...outsideGets(),
        maps: { ...outsideGets().maps, sb_affinity: { added: [[key, { backend: DRAWN }]] } },
      },
    })
    // Of two, the one that is not there; its place in the list would be taken by chance.
    const maps = {
      ...outsideRows([other, here]),
      sb_affinity: [[key, { backend: KEPT, seen: clock.now }]],
    } as const
    for (let i = 0; i < 8; i++) {
      world.check({
        what: `again, ${i}`,
        program,
        maps,
        packet: outsideAsks,
        expect: outsideGets(),
      })
    }
  })
})
