// One pod, one port, one backend, several flows: by packet vectors, each of them has answers of its own.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { FLOW_RST } from '../src/layouts.ts'
import type { Rows } from '../testing/index.ts'
import { Outside } from './outside.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import { local, localBack } from './rows.ts'
import {
  asked,
  BACKEND,
  begun,
  CLIENT,
  kindsOf,
  type Pair,
  pairOf,
  type Served,
  service,
  standing,
  TCP,
  UDP,
} from './service-flows.ts'
import {
  counted,
  families,
  flowRow,
  IFINDEX_B,
  IFINDEX_HERE,
  INCARNATION_A,
  keyOf,
  loadWorld,
  podB,
  readyConfig,
  reverse,
  type Shapes,
  type World,
} from './world.ts'

/** The one port that is left for flows whose own is taken. */
const NEW_PORT = 50_000

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

const toB = { kind: 'peer', ifindex: IFINDEX_B } as const

describe.each(families)('IPv$family', (actors) => {
  const { a, b, c, service: address } = actors
  const kind = (name: string): Served => {
    const one = kindsOf(actors, outside).find((each) => each.kind === name)
    if (one === undefined) throw new RangeError(name)
    return one
  }
  const pod = () => kind('a pod of this node')
  const node = (): Rows<Shapes> => {
    const config = pod().node().sb_config?.[0]?.[1] ?? readyConfig
    return {
      ...service(actors, [b]),
      sb_uplinks: outside.uplinks,
      sb_config: [[0, { ...config, portMin: NEW_PORT, portMax: NEW_PORT }]],
    }
  }
  const direct = { source: a, target: b, proto: UDP, sport: CLIENT, dport: BACKEND }
  const another: Rows<Shapes>['sb_flows'] = [
    [keyOf(direct), flowRow(local)],
    [keyOf(reverse(direct)), flowRow(localBack)],
  ]
  const sent = udpPacket(links.fromA, { src: a, dst: address }, asked)
  const arrives = (sport: number) => ({
    verdict: 'redirect' as const,
    redirect: toB,
    packetOut: udpPacket(links.toB, { src: a, dst: b, ttl: 63 }, { sport, dport: BACKEND }),
  })

  test('a second service with that backend is asked from another port', () => {
    const first = pairOf(actors, pod(), UDP)
    const second: Pair = {
      ...pairOf(actors, pod(), UDP, NEW_PORT),
      out: { ...first.out, dport: 81 },
    }
    world.check({
      what: 'a → service:81',
      program: 'sb_from_pod',
      maps: { ...node(), ...service(actors, [b], 0, 81), sb_flows: standing(first) },
      packet: udpPacket(links.fromA, { src: a, dst: address }, { ...asked, dport: 81 }),
      expect: {
        ...arrives(NEW_PORT),
        maps: {
          sb_flows: { added: begun(second) },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
    world.check({
      what: 'and its answer comes to the pod’s own',
      program: 'sb_from_pod',
      maps: {
        ...node(),
        sb_endpoints: [[b, { ...podB, ifindex: IFINDEX_HERE }]],
        sb_flows: [...standing(first), ...standing(second, 0)],
      },
      packet: udpPacket(links.fromB, { src: b, dst: a }, { sport: BACKEND, dport: NEW_PORT }),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'peer', ifindex: IFINDEX_HERE },
        packetOut: udpPacket(
          links.toA,
          { src: address, dst: a, ttl: 63 },
          { sport: 81, dport: CLIENT },
        ),
        maps: {
          sb_flows: { changed: [[keyOf(reverse(second.seen)), {}]] },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('so is a service whose backend the pod talks to without it', () => {
    world.check({
      what: 'a → service, beside a → b',
      program: 'sb_from_pod',
      maps: { ...node(), sb_flows: another },
      packet: sent,
      expect: {
        ...arrives(NEW_PORT),
        maps: {
          sb_flows: { added: begun(pairOf(actors, pod(), UDP, NEW_PORT)) },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('who talks to the backend later, without the service, does so from another port', () => {
    const pair: Pair = {
      out: direct,
      seen: { ...direct, sport: NEW_PORT },
      row: pod().row,
      backRow: pod().backRow,
    }
    world.check({
      what: 'a → b, beside a → service',
      program: 'sb_from_pod',
      maps: { ...node(), sb_flows: standing(pairOf(actors, pod(), UDP)) },
      packet: udpPacket(links.fromA, { src: a, dst: b }, { sport: CLIENT, dport: BACKEND }),
      expect: {
        ...arrives(NEW_PORT),
        maps: {
          sb_flows: { added: begun(pair) },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('DROP_TRANSLATION_TAKEN: nobody knows the port of such a connection’s middle', () => {
    world.check({
      what: 'a → b, beside a → service',
      program: 'sb_from_pod',
      maps: { ...node(), sb_flows: standing(pairOf(actors, pod(), TCP)) },
      packet: tcpPacket(links.fromA, { src: a, dst: b }, { sport: CLIENT, dport: BACKEND }, [
        'ack',
      ]),
      expect: {
        verdict: 'shot',
        maps: { sb_flows: {}, sb_counters: counted('from_pod', 'DROP_TRANSLATION_TAKEN') },
      },
    })
  })

  test('rows of a flow that has ended are in nobody’s way', () => {
    const pair = pairOf(actors, pod(), UDP)
    const stale = standing(pair).map(
      ([key, row]) => [key, { ...row, flags: row.flags | FLOW_RST }] as const,
    )
    world.check({
      what: 'a → b, after a → service',
      program: 'sb_from_pod',
      maps: { ...node(), sb_flows: stale },
      packet: udpPacket(links.fromA, { src: a, dst: b }, { sport: CLIENT, dport: BACKEND }),
      expect: {
        ...arrives(CLIENT),
        maps: {
          sb_flows: {
            added: [[keyOf(direct), {}]],
            changed: [[keyOf(reverse(direct)), { flags: 0 }]],
            removed: [keyOf(pair.out)],
          },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('DROP_NO_PORT: all of them are in use', () => {
    const taken = { ...direct, sport: NEW_PORT }
    world.check({
      what: 'a → service',
      program: 'sb_from_pod',
      maps: {
        ...node(),
        sb_flows: [...another, [keyOf(reverse(taken)), flowRow(localBack)]],
      },
      packet: sent,
      expect: {
        verdict: 'shot',
        maps: { sb_flows: {}, sb_counters: counted('from_pod', 'DROP_NO_PORT') },
      },
    })
  })

  test('a port below the range is the pod’s own as well', () => {
    const low = { ...asked, sport: 123 }
    const pair = pairOf(actors, pod(), UDP, 123)
    world.check({
      what: 'a → service',
      program: 'sb_from_pod',
      maps: node(),
      packet: udpPacket(links.fromA, { src: a, dst: address }, low),
      expect: {
        ...arrives(123),
        maps: {
          sb_flows: { added: begun({ ...pair, out: { ...pair.out, sport: 123 } }) },
          sb_counters: counted('from_pod', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('DROP_FLOW_SHARE: of a pod that has as many flows as are free', () => {
    const flows = 256
    world.check({
      what: 'a → service',
      program: 'sb_from_pod',
      maps: {
        ...node(),
        sb_openers: [
          [
            { kind: 1, incarnation: INCARNATION_A, addr: '::' },
            { flows, recount: 0 },
          ],
        ],
        sb_opened: [[0, { flows, recount: 0 }]],
      },
      packet: sent,
      expect: {
        verdict: 'shot',
        maps: { sb_flows: {}, sb_counters: counted('from_pod', 'DROP_FLOW_SHARE') },
      },
    })
  })

  describe('by the stack to the overlay', () => {
    const remote = () => kind('a pod of another node')
    const forwarded = (src: string) =>
      udpPacket(links.out, { src, dst: c, ttl: 63 }, { sport: CLIENT, dport: BACKEND })

    test('a pod’s packet to a service, in its backend’s form, gets its key and no rows', () => {
      world.check({
        what: 'a → c',
        program: 'vector_to_overlay',
        maps: { ...node(), sb_flows: standing(pairOf(actors, remote(), UDP)) },
        packet: forwarded(a),
        expect: {
          verdict: 'next',
          maps: {
            sb_flows: {},
            test_tunnel: { changed: [[0, { vni: 7 }]] },
            sb_counters: counted('to_overlay', 'PASS_NODE'),
          },
        },
      })
    })
  })
})
