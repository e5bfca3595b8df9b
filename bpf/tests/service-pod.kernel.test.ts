// sb_from_pod and those that answers meet, by packet vectors: a pod asks a service, for each kind of backend.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { FLOW_SEEN } from '../src/layouts.ts'
import type { Layer, Rows, TcpFlag } from '../testing/index.ts'
import { summing } from './masquerade-rows.ts'
import { Outside } from './outside.ts'
import { links, type Ports, type Route, tcpPacket, udpPacket } from './packets.ts'
import {
  answered,
  asked,
  BACKEND,
  begun,
  CLIENT,
  kindsOf,
  pairOf,
  type Served,
  service,
  standing,
  TCP,
  UDP,
} from './service-flows.ts'
import {
  type Actors,
  counted,
  families,
  IFINDEX_HERE,
  keyOf,
  loadWorld,
  podA,
  podB,
  reverse,
  type Shapes,
  type World,
} from './world.ts'

let outside: Outside
let world: World
let check: ReturnType<typeof summing>
beforeAll(async () => {
  outside = await Outside.open()
  world = await loadWorld({ netns: outside.netns })
  check = summing(world)
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const protocols = [
  {
    name: 'TCP',
    proto: TCP,
    first: ['syn'],
    back: ['syn', 'ack'],
    make: (link: Layer, route: Route, ports: Ports, flags: readonly TcpFlag[]) =>
      tcpPacket(link, route, ports, flags),
  },
  {
    name: 'UDP',
    proto: UDP,
    first: [],
    back: [],
    make: (link: Layer, route: Route, ports: Ports) => udpPacket(link, route, ports),
  },
] as const

describe.each(families)('IPv$family', (actors) => {
  const { a, service: address } = actors
  const backendOf = (index: number): Served => {
    const one = kindsOf(actors, outside)[index]
    if (one === undefined) throw new RangeError(`no kind ${index}`)
    return one
  }
  // The uplink is not there yet when tests are collected.
  const names = kindsOf(actors, { uplink: 0, uplinks: [] } as unknown as Outside)
  const cases = names.flatMap(({ kind }, index) =>
    protocols.map((protocol) => ({ kind, index, ...protocol })),
  )

  test.each(cases)('$name to $kind, and its answer', ({ index, proto, first, back, make }) => {
    const served = backendOf(index)
    const { source, backend, leaves, answer } = served
    const pair = pairOf(actors, served, proto)
    // Whoever puts a packet into a tunnel forgets the sum that a device may have made of it (hop.h).
    const checkOut = leaves.outcome === 'PASS_NODE' ? world.check.bind(world) : check
    const redirects = (redirect: typeof leaves.redirect, mark: number) =>
      redirect === undefined
        ? ({ verdict: 'next', ctx: { mark } } as const)
        : ({ verdict: 'redirect', redirect, ctx: { mark } } as const)
    checkOut({
      what: 'the first packet',
      program: 'sb_from_pod',
      maps: { ...service(actors, [backend]), ...served.node() },
      packet: make(links.fromA, { src: a, dst: address }, asked, first),
      expect: {
        ...redirects(leaves.redirect, leaves.mark),
        packetOut: make(
          leaves.link,
          { src: source, dst: backend, ttl: leaves.hops },
          { sport: CLIENT, dport: BACKEND },
          first,
        ),
        maps: {
          sb_flows: { added: begun(pair) },
          sb_counters: counted('from_pod', leaves.outcome),
        },
      },
    })
    checkOut({
      what: 'another one',
      program: 'sb_from_pod',
      maps: { ...served.node(), sb_flows: standing(pair) },
      packet: make(links.fromA, { src: a, dst: address }, asked, ['ack']),
      expect: {
        ...redirects(leaves.redirect, leaves.mark),
        packetOut: make(
          leaves.link,
          { src: source, dst: backend, ttl: leaves.hops },
          { sport: CLIENT, dport: BACKEND },
          ['ack'],
        ),
        maps: {
          sb_flows: { changed: [[keyOf(pair.out), {}]] },
          sb_counters: counted('from_pod', leaves.outcome),
        },
      },
    })
    const here = answer.link === links.fromB ? behindHere(actors) : {}
    check({
      what: 'the answer',
      program: answer.program,
      maps: { ...served.node(), ...here, sb_flows: standing(pair, 0) },
      packet: make(
        answer.link,
        { src: backend, dst: source },
        { sport: BACKEND, dport: CLIENT },
        back,
      ),
      expect: {
        ...redirects(answer.redirect, 0),
        packetOut: make(answer.linkOut, { src: address, dst: a, ttl: answer.hops }, answered, back),
        maps: {
          sb_flows: {
            changed: [[keyOf(reverse(pair.seen)), { flags: (f: number) => (f & FLOW_SEEN) > 0 }]],
          },
          sb_counters: counted(answer.place, answer.outcome),
        },
      },
    })
  })
})

/** A test run happens on one device: both pods are behind it. */
function behindHere({ a, b }: Actors): Rows<Shapes> {
  return {
    sb_endpoints: [
      [a, podA],
      [b, { ...podB, ifindex: IFINDEX_HERE }],
    ],
  }
}
