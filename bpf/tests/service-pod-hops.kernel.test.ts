// What the short way to a service cannot carry, and who may not use it, by packet vectors: hops, sizes, fragments, devices, strangers.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { ENDPOINT_LOCAL_POD, ENDPOINT_NETKIT, ENDPOINT_SHAPED, FLOW_SEEN } from '../src/layouts.ts'
import { ip4, packet, payload, udp } from '../testing/index.ts'
import { Outside } from './outside.ts'
import { firstFragment, laterFragment, links, udpPacket } from './packets.ts'
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
  UDP,
} from './service-flows.ts'
import {
  counted,
  families,
  IFINDEX_B,
  IFINDEX_HERE,
  IFINDEX_OVERLAY,
  keyOf,
  loadWorld,
  NODE_2,
  NODE_3,
  podA,
  podB,
  reverse,
  SB_DONE,
  tunnelIn,
  type World,
} from './world.ts'

const MTU_OUT = 1500

let outside: Outside
let world: World
beforeAll(async () => {
  outside = await Outside.open()
  world = await loadWorld({ netns: outside.netns })
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const overlay = { kind: 'device', ifindex: IFINDEX_OVERLAY } as const
const there = { sport: CLIENT, dport: BACKEND }
const back = { sport: BACKEND, dport: CLIENT }
const limits = [
  ['PASS_STACK_TTL', 'on its last hop', 1, 20],
  ['PASS_STACK_MTU', 'too long', 64, MTU_OUT],
] as const

describe.each(families)('IPv$family', (actors) => {
  const { family, a, b, c, service: address, stranger } = actors
  const kind = (name: string): Served => {
    const one = kindsOf(actors, outside).find((each) => each.kind === name)
    if (one === undefined) throw new RangeError(name)
    return one
  }
  const both = (flagsA: number, flagsB = ENDPOINT_LOCAL_POD, ifindex = IFINDEX_B) =>
    ({
      sb_endpoints: [
        [a, { ...podA, flags: flagsA }],
        [b, { ...podB, flags: flagsB, ifindex }],
      ],
    }) as const
  const bHere = both(ENDPOINT_LOCAL_POD, ENDPOINT_LOCAL_POD, IFINDEX_HERE)

  describe.each(limits)('%s: a packet to a service %s', (outcome, _what, ttl, size) => {
    test.each([
      ['a pod of this node', SB_DONE, true],
      ['a pod of another node', 0, true],
      ['a pod of another node, without a tunnel', SB_DONE, true],
      ['the pod itself', 0, false],
      ['a host outside', 0, false],
    ])('to %s goes on by the stack', (name, mark, isRewritten) => {
      const served = kind(name)
      const pair = pairOf(actors, served, UDP)
      const route = { src: a, dst: address, ttl }
      const sent = udpPacket(links.fromA, route, asked, size)
      // Cut up it would leave for an address that nobody has.
      const isWhole = family === 4 && outcome === 'PASS_STACK_MTU'
      const told = isWhole
        ? packet(links.fromA, ip4({ ...route, isDontFragment: true }), udp(asked), payload(size))
        : sent
      world.check({
        what: name,
        program: 'sb_from_pod',
        maps: { ...served.node(), sb_flows: standing(pair) },
        packet: sent,
        expect: {
          verdict: 'next',
          ctx: { mark },
          packetOut: isRewritten
            ? udpPacket(links.fromA, { src: a, dst: served.backend, ttl }, there, size)
            : told,
          maps: {
            sb_flows: { changed: [[keyOf(pair.out), {}]] },
            sb_counters: counted('from_pod', outcome),
          },
        },
      })
    })

    test.each([
      'a pod of this node',
      'a pod of another node',
      'a pod of another node, without a tunnel',
    ])('and its answer by %s, which is told of it as it was', (name) => {
      const served = kind(name)
      const pair = pairOf(actors, served, UDP)
      const { answer } = served
      const route = { src: served.backend, dst: a, ttl }
      world.check({
        what: name,
        program: answer.program,
        maps: { ...served.node(), ...bHere, sb_flows: standing(pair) },
        packet: udpPacket(answer.link, route, back, size),
        expect: {
          verdict: 'next',
          ctx: { mark: 0 },
          maps: {
            sb_flows: { changed: [[keyOf(reverse(pair.seen)), {}]] },
            sb_counters: counted(answer.place, outcome),
          },
        },
      })
      world.check({
        what: 'behind the stack it gets the name of the service',
        program: 'sb_to_pod',
        maps: { ...served.node(), sb_flows: standing(pair) },
        packet: udpPacket(links.toA, route, back, size),
        expect: {
          verdict: 'next',
          packetOut: udpPacket(links.toA, { src: address, dst: a, ttl }, answered, size),
          maps: {
            sb_flows: { changed: [[keyOf(reverse(pair.seen)), {}]] },
            sb_counters: counted('to_pod', 'PASS_STACK'),
          },
        },
      })
    })

    test('and the answer of a host outside under the name of the service', () => {
      const served = kind('a host outside')
      const pair = pairOf(actors, served, UDP)
      world.check({
        what: 'stranger → a',
        program: 'sb_from_uplink',
        maps: { ...served.node(), sb_flows: standing(pair) },
        packet: udpPacket(links.wire, { src: stranger, dst: served.source, ttl }, back, size),
        expect: {
          verdict: 'next',
          ctx: { mark: SB_DONE },
          packetOut: udpPacket(links.wire, { src: address, dst: a, ttl }, answered, size),
          maps: {
            sb_flows: { changed: [[keyOf(reverse(pair.seen)), {}]] },
            sb_counters: counted('from_uplink', outcome),
          },
        },
      })
    })
  })

  describe('fragments', () => {
    test('go where the first one goes', () => {
      const served = kind('a pod of another node')
      const pair = pairOf(actors, served, UDP)
      const route = { src: a, dst: address }
      const seen = { src: a, dst: c, ttl: 63 }
      const leaves = { verdict: 'redirect', redirect: overlay } as const
      world.reset()
      world.put({ ...service(actors, [c]), ...served.node() })
      world.step({
        what: 'the first',
        program: 'sb_from_pod',
        packet: firstFragment(links.fromA, route, asked),
        expect: {
          ...leaves,
          packetOut: firstFragment(links.out, seen, there),
          maps: {
            sb_flows: { added: begun(pair) },
            sb_counters: counted('from_pod', 'PASS_NODE'),
          },
        },
      })
      world.step({
        what: 'a later one',
        program: 'sb_from_pod',
        packet: laterFragment(links.fromA, route),
        expect: {
          ...leaves,
          packetOut: laterFragment(links.out, seen),
          maps: { sb_flows: {}, sb_counters: counted('from_pod', 'PASS_NODE', undefined, 2) },
        },
      })
    })

    test('of an answer come back so', () => {
      const served = kind('a pod of another node')
      const pair = pairOf(actors, served, UDP)
      const route = { src: c, dst: a }
      const named = { src: address, dst: a, ttl: 63 }
      const arrives = {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_HERE },
      } as const
      world.reset()
      world.put({ ...served.node(), sb_flows: standing(pair) })
      world.step({
        what: 'the first',
        program: 'vector_from_overlay',
        packet: firstFragment(links.in, route, back),
        expect: {
          ...arrives,
          packetOut: firstFragment(links.toA, named, answered),
          maps: {
            sb_flows: { changed: [[keyOf(reverse(pair.seen)), {}]] },
            sb_counters: counted('from_overlay', 'PASS_LOCAL'),
          },
        },
      })
      world.step({
        what: 'a later one',
        program: 'vector_from_overlay',
        packet: laterFragment(links.in, route),
        expect: {
          ...arrives,
          packetOut: laterFragment(links.toA, named),
          maps: { sb_flows: {}, sb_counters: counted('from_overlay', 'PASS_LOCAL', undefined, 2) },
        },
      })
    })

    test('of an answer from outside all go by the stack, rewritten', () => {
      const served = kind('a host outside')
      const pair = pairOf(actors, served, UDP)
      const route = { src: stranger, dst: served.source }
      world.check({
        what: 'the first',
        program: 'sb_from_uplink',
        maps: { ...served.node(), sb_flows: standing(pair) },
        packet: firstFragment(links.wire, route, back),
        expect: {
          verdict: 'next',
          ctx: { mark: SB_DONE },
          packetOut: firstFragment(links.wire, { src: address, dst: a }, answered),
          maps: {
            sb_flows: { changed: [[keyOf(reverse(pair.seen)), {}]] },
            sb_counters: counted('from_uplink', 'PASS_STACK'),
          },
        },
      })
    })
  })

  test.each([
    ['on netkit', ENDPOINT_LOCAL_POD | ENDPOINT_NETKIT, ENDPOINT_LOCAL_POD],
    ['to one that is held to a rate', ENDPOINT_LOCAL_POD, ENDPOINT_LOCAL_POD | ENDPOINT_SHAPED],
  ])('pod to pod %s: by the device of the host end', (_what, flagsA, flagsB) => {
    const served = kind('a pod of this node')
    const pair = pairOf(actors, served, UDP)
    world.check({
      what: 'a → service',
      program: 'sb_from_pod',
      maps: { ...service(actors, [b]), ...served.node(), ...both(flagsA, flagsB) },
      packet: udpPacket(links.fromA, { src: a, dst: address }, asked),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_B },
        ctx: { mark: SB_DONE },
        packetOut: udpPacket(links.toB, { src: a, dst: b, ttl: 63 }, there),
        maps: {
          sb_flows: { added: begun(pair) },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })

  describe('nobody answers in the backend’s stead', () => {
    const wire = udpPacket(links.wire, { src: c, dst: a }, back)

    test('DROP_FOREIGN_SOURCE: another node', () => {
      const served = kind('a pod of another node')
      world.check({
        what: 'c → a from node 3',
        program: 'vector_from_overlay',
        maps: {
          ...served.node(),
          sb_node_ids: [['192.0.2.3', NODE_3]],
          test_tunnel: [[0, { ...tunnelIn, source: '192.0.2.3' }]],
          sb_flows: standing(pairOf(actors, served, UDP)),
        },
        packet: udpPacket(links.in, { src: c, dst: a }, back),
        expect: {
          verdict: 'shot',
          maps: { sb_flows: {}, sb_counters: counted('from_overlay', 'DROP_FOREIGN_SOURCE') },
        },
      })
    })

    test('but a node that has the backend’s range by now', () => {
      const served = kind('a pod of another node')
      const pair = pairOf(actors, served, UDP)
      const [row, answers] = standing(pair)
      world.check({
        what: 'c → a',
        program: 'vector_from_overlay',
        maps: {
          ...served.node(),
          test_tunnel: [[0, tunnelIn]],
          sb_flows: [row, [answers[0], { ...answers[1], sourceNode: NODE_3 }]],
        },
        packet: udpPacket(links.in, { src: c, dst: a }, back),
        expect: {
          verdict: 'redirect',
          redirect: { kind: 'peer', ifindex: IFINDEX_HERE },
          packetOut: udpPacket(links.toA, { src: address, dst: a, ttl: 63 }, answered),
          maps: {
            sb_flows: { changed: [[answers[0], { sourceNode: NODE_2 }]] },
            sb_counters: counted('from_overlay', 'PASS_LOCAL'),
          },
        },
      })
    })

    test.each(['a pod of another node', 'a pod of another node, by the kernel’s own tunnel'])(
      'DROP_NATIVE_SOURCE: a host on the wire, of %s',
      (name) => {
        const served = kind(name)
        world.check({
          what: 'c → a past the tunnel',
          program: 'sb_from_uplink',
          maps: { ...served.node(), sb_flows: standing(pairOf(actors, served, UDP)) },
          packet: wire,
          expect: {
            verdict: 'shot',
            maps: { sb_flows: {}, sb_counters: counted('from_uplink', 'DROP_NATIVE_SOURCE') },
          },
        })
      },
    )

    test('DROP_NATIVE_SOURCE: a host on the wire, of a pod of this node', () => {
      const served = kind('a pod of this node')
      world.check({
        what: 'b → a from outside',
        program: 'sb_from_uplink',
        maps: { ...served.node(), sb_flows: standing(pairOf(actors, served, UDP), FLOW_SEEN) },
        packet: udpPacket(links.wire, { src: b, dst: a }, back),
        expect: {
          verdict: 'shot',
          maps: { sb_flows: {}, sb_counters: counted('from_uplink', 'DROP_NATIVE_SOURCE') },
        },
      })
    })
  })
})
