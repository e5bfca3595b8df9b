// ICMP errors go the way of the packets they answer, never begin a flow, and may come from routers on the way.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { icmp, icmp6, ip, type Layer, packet, portUnreachable, tcp, udp } from '../testing/index.ts'
import { links } from './packets.ts'
import {
  counted,
  families,
  flowRow,
  GENERATION,
  IFINDEX_B,
  IFINDEX_HERE,
  IFINDEX_OVERLAY,
  INCARNATION_A,
  INCARNATION_B,
  keyOf,
  loadWorld,
  NODE_2,
  type RowSpec,
  type World,
} from './world.ts'

const UDP = 17
const ports = { sport: 40000, dport: 53 }

let world: World
beforeAll(async () => {
  world = await loadWorld()
})
afterAll(() => world?.close())

/** An error from `src` to `dst` about what `dst` sent to `about`. */
function error(link: Layer, src: string, dst: string, about: string, ttl = 64): Uint8Array {
  return packet(
    link,
    ip({ src, dst, ttl }),
    portUnreachable(),
    ip({ src: dst, dst: about }),
    udp(ports),
  )
}

describe.each(families)('IPv$family', ({ a, b, c, d, own2, stranger, vacant, family }) => {
  // The packets that go where the error goes: from a, with a's port.
  const fromA = (target: string) => ({ source: a, target, proto: UDP, sport: 53, dport: 40000 })
  const rowOf = (target: string, row: RowSpec) => ({
    sb_flows: [
      [keyOf(fromA(target)), flowRow({ sourceIncarnation: INCARNATION_A, ...row })],
    ] as const,
  })
  const local: RowSpec = { kind: 'local', targetIncarnation: INCARNATION_B }

  test("a pod's error about a flow on this node goes in by the peer", () => {
    world.check({
      what: 'a tells b',
      program: 'sb_from_pod',
      maps: rowOf(b, local),
      packet: error(links.fromA, a, b, a),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_B },
        packetOut: error(links.toB, a, b, a, 63),
        maps: { sb_counters: counted('from_pod', 'PASS_LOCAL') },
      },
    })
  })

  test("a pod's error about a flow to another node goes by the tunnel", () => {
    world.check({
      what: 'a tells c',
      program: 'sb_from_pod',
      maps: rowOf(c, { kind: 'node', node: NODE_2 }),
      packet: error(links.fromA, a, c, a),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_OVERLAY },
        packetOut: error(links.out, a, c, a, 63),
        maps: { sb_counters: counted('from_pod', 'PASS_NODE') },
      },
    })
  })

  test("a pod's error about a flow on the stack way goes to the stack", () => {
    world.check({
      what: 'a tells the stranger',
      program: 'sb_from_pod',
      maps: rowOf(stranger, { kind: 'stack' }),
      packet: error(links.fromA, a, stranger, a),
      expect: { verdict: 'next', maps: { sb_counters: counted('from_pod', 'PASS_STACK') } },
    })
  })

  test.each([
    ['an unknown flow', {}],
    ['a flow of another generation', rowOf(b, { ...local, generation: GENERATION - 1 })],
  ])("a pod's error about %s goes to the stack and makes no row", (_what, maps) => {
    world.check({
      what: 'a tells b',
      program: 'sb_from_pod',
      maps,
      packet: error(links.fromA, a, b, a),
      expect: { verdict: 'next', maps: { sb_counters: counted('from_pod', 'PASS_STACK_ERROR') } },
    })
  })

  test("an error about somebody else's packet does not follow that flow", () => {
    world.check({
      what: 'a tells b about what the stranger sent',
      program: 'sb_from_pod',
      maps: rowOf(stranger, local),
      packet: packet(
        links.fromA,
        ip({ src: a, dst: b }),
        portUnreachable(),
        ip({ src: stranger, dst: a }),
        udp(ports),
      ),
      expect: { verdict: 'next', maps: { sb_counters: counted('from_pod', 'PASS_STACK_ERROR') } },
    })
  })

  test('an error cut short inside goes to the stack if it says whom it is about', () => {
    const whole = error(links.fromA, a, b, a)
    const headers = 14 + (family === 4 ? 20 : 40) + 8
    for (let left = headers; left < whole.length; left++) {
      const inner = whole.slice(headers, left)
      const type = family === 4 ? icmp({ type: 3, code: 3 }) : icmp6({ type: 1, code: 4 })
      // Whom it was for must be there to be read.
      const isTold = inner.length >= (family === 4 ? 20 : 40)
      world.check({
        what: `a tells b, ${inner.length} bytes inside`,
        program: 'sb_from_pod',
        maps: rowOf(b, local),
        packet: packet(links.fromA, ip({ src: a, dst: b }), type, { build: () => inner }),
        expect: isTold
          ? { verdict: 'next', maps: { sb_counters: counted('from_pod', 'PASS_STACK_ERROR') } }
          : { verdict: 'shot', maps: { sb_counters: counted('from_pod', 'DROP_TRUNCATED') } },
      })
    }
  })

  const toA = (source: string) => ({ source, target: a, proto: UDP, sport: 53, dport: 40000 })
  const known = {
    sb_flows: [
      [
        keyOf(toA(c)),
        flowRow({ kind: 'local', targetIncarnation: INCARNATION_A, sourceNode: NODE_2 }),
      ],
    ] as const,
  }

  test.each([
    ['the pod itself', c],
    ['its node', own2],
  ])('an error that comes by the tunnel from %s goes in by the peer', (_what, src) => {
    world.check({
      what: `${src} tells a`,
      program: 'vector_from_overlay',
      maps: known,
      packet: error(links.in, src, a, c),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_HERE },
        packetOut: error(links.toA, src, a, c, 63),
        maps: { sb_counters: counted('from_overlay', 'PASS_LOCAL') },
      },
    })
  })

  test('by the tunnel, the row of a flow does not vouch for who sends an error about it', () => {
    for (const [src, dst, outcome] of [
      [d, a, 'DROP_FOREIGN_SOURCE'],
      [stranger, a, 'DROP_FOREIGN_SOURCE'],
      [c, vacant, 'DROP_NO_ENDPOINT'],
    ] as const) {
      world.check({
        what: `${src} tells ${dst}`,
        program: 'vector_from_overlay',
        maps: known,
        packet: error(links.in, src, dst, c),
        expect: { verdict: 'shot', maps: { sb_counters: counted('from_overlay', outcome) } },
      })
    }
  })

  test('by the tunnel, an error about an unknown flow or one on the stack way goes to the stack', () => {
    const stack = flowRow({ kind: 'stack', targetIncarnation: INCARNATION_A, sourceNode: NODE_2 })
    for (const [maps, outcome] of [
      [{}, 'PASS_STACK_ERROR'],
      [{ sb_flows: [[keyOf(toA(c)), stack]] as const }, 'PASS_STACK'],
    ] as const) {
      world.check({
        what: 'c tells a',
        program: 'vector_from_overlay',
        maps,
        packet: error(links.in, c, a, c),
        expect: { verdict: 'next', maps: { sb_counters: counted('from_overlay', outcome) } },
      })
    }
  })

  test('an error from the node about what a remote pod sent gets its tunnel key and no row', () => {
    world.check({
      what: 'node tells c',
      program: 'sb_to_overlay',
      packet: packet(
        links.out,
        ip({ src: a, dst: c }),
        portUnreachable(),
        ip({ src: c, dst: a }),
        tcp({ sport: 1, dport: 2 }),
      ),
      expect: { verdict: 'next', maps: { sb_counters: counted('to_overlay', 'PASS_NODE') } },
    })
  })
})
