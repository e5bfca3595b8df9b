// Services asked for from outside, by packet vectors: datagrams in fragments, which follow their first.
import { afterAll, beforeAll, describe, test } from 'vitest'
import { IPCACHE_SERVICES, SERVICE_ADDRESS } from '../src/layouts.ts'
import type { Layer } from '../testing/index.ts'
import { type Outside, openServing, UPLINK_MTU } from './outside.ts'
import { firstFragment, laterFragment, links, udpPacket } from './packets.ts'
import { BACKEND_PORT, CLIENT_PORT, NODE_PORT, served } from './service-outside-rows.ts'
import {
  counted,
  families,
  IFINDEX_OVERLAY,
  SB_DONE,
  SB_TO_TRANSLATE,
  type World,
} from './world.ts'

let outside: Outside
let world: World
beforeAll(async () => {
  ;({ outside, world } = await openServing())
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const program = 'sb_from_uplink'
const UDP = 17
const asks = { sport: CLIENT_PORT, dport: NODE_PORT }
const gets = { sport: CLIENT_PORT, dport: BACKEND_PORT }
const answers = { sport: BACKEND_PORT, dport: CLIENT_PORT }
const isAnswered = { sport: NODE_PORT, dport: CLIENT_PORT }
const overlay = { kind: 'device', ifindex: IFINDEX_OVERLAY } as const

describe.each(families)('IPv$family', (actors) => {
  const { family, a, c, node1, own1, service, stranger } = actors
  const here = { where: 'here', proto: UDP, backend: a, service } as const
  const node = { where: 'node', proto: UDP, backend: node1, service } as const
  const tunnel = { where: 'tunnel', proto: UDP, backend: c, name: own1, service } as const

  test('fragments follow their first, to wherever the backend is', () => {
    const first = (link: Layer, src: string, dst: string, ports: typeof asks, ttl = 64) =>
      firstFragment(link, { src, dst, ttl }, ports)
    const later = (link: Layer, src: string, dst: string, ttl = 64) =>
      laterFragment(link, { src, dst, ttl })
    const cases = [
      [here, { verdict: 'next' }, 'PASS_STACK', SB_DONE, links.wire, stranger, a, 64],
      [node, { verdict: 'next' }, 'PASS_STACK', 0, links.wire, stranger, node1, 64],
      [
        tunnel,
        { verdict: 'redirect', redirect: overlay },
        'PASS_NODE',
        SB_DONE,
        links.out,
        own1,
        c,
        63,
      ],
    ] as const
    for (const [flow, verdict, outcome, mark, link, src, dst, ttl] of cases) {
      const rows = served(actors, flow)
      world.check({
        what: `the first, ${flow.where}`,
        program,
        maps: { sb_flows: rows },
        packet: first(links.wire, stranger, service, asks),
        expect: {
          ...verdict,
          packetOut: first(link, src, dst, gets, ttl),
          ctx: { mark },
          maps: {
            sb_flows: { changed: [[rows[0][0], {}]] },
            sb_counters: counted('from_uplink', outcome),
          },
        },
      })
      world.step({
        what: `the later, ${flow.where}`,
        program,
        maps: { sb_flows: rows },
        packet: later(links.wire, stranger, service),
        expect: {
          ...verdict,
          packetOut: later(link, src, dst, ttl),
          ctx: { mark },
          maps: {
            sb_flows: { changed: [[rows[0][0], {}]] },
            sb_counters: counted('from_uplink', outcome, undefined, 2),
          },
        },
      })
    }
  })

  test('a pod’s answer that is too long the kernel cuts up, and it leaves in the service’s name', () => {
    const sb_flows = served(actors, here, { answeredBy: outside.uplink })
    const [, [key]] = sb_flows
    world.reset()
    world.step({
      what: 'as the pod sends it',
      program: 'sb_from_pod',
      maps: { sb_flows },
      packet: udpPacket(links.fromA, { src: a, dst: stranger }, answers, UPLINK_MTU),
      expect: {
        verdict: 'next',
        ctx: { mark: SB_TO_TRANSLATE },
        maps: {
          sb_flows: { changed: [[key, {}]] },
          sb_counters: counted('from_pod', 'PASS_STACK_MTU'),
        },
      },
    })
    const [inside, out] = [a, service].map((src) => ({ src, dst: stranger, ttl: 63 }))
    if (inside === undefined || out === undefined) throw new TypeError('two routes')
    const pieces = [
      [firstFragment(links.wire, inside, answers), firstFragment(links.wire, out, isAnswered)],
      [laterFragment(links.wire, inside), laterFragment(links.wire, out)],
    ] as const
    for (const [index, [piece, packetOut]] of pieces.entries()) {
      world.step({
        what: `piece ${index}`,
        program: 'sb_to_uplink',
        packet: piece,
        ctx: { mark: SB_TO_TRANSLATE },
        expect: {
          verdict: 'next',
          packetOut,
          ctx: { mark: 0 },
          maps: {
            sb_flows: {},
            sb_counters: counted('to_uplink', 'PASS_SERVICE', undefined, index + 1),
          },
        },
      })
    }
  })

  test('a backend of the node’s own may answer in fragments', () => {
    const rows = served(actors, node)
    world.check({
      what: 'the first',
      program: 'sb_to_uplink',
      maps: { sb_flows: rows },
      packet: firstFragment(links.wire, { src: node1, dst: stranger }, answers),
      expect: {
        verdict: 'next',
        packetOut: firstFragment(links.wire, { src: service, dst: stranger }, isAnswered),
        maps: {
          sb_flows: { changed: [[rows[1][0], {}]] },
          sb_counters: counted('to_uplink', 'PASS_SERVICE'),
        },
      },
    })
    world.step({
      what: 'the later',
      program: 'sb_to_uplink',
      maps: { sb_flows: rows },
      packet: laterFragment(links.wire, { src: node1, dst: stranger }),
      expect: {
        verdict: 'next',
        packetOut: laterFragment(links.wire, { src: service, dst: stranger }),
        maps: {
          sb_flows: { changed: [[rows[1][0], {}]] },
          sb_counters: counted('to_uplink', 'PASS_SERVICE', undefined, 2),
        },
      },
    })
    world.check({
      what: 'another’s',
      program: 'sb_to_uplink',
      packet: laterFragment(links.wire, { src: node1, dst: stranger }),
      expect: { verdict: 'next', maps: { sb_counters: counted('to_uplink', 'PASS_FOREIGN') } },
    })
  })

  test('a later fragment to a cluster address has to follow its first', () => {
    world.check({
      what: 'alone',
      program,
      maps: {
        sb_ipcache: [
          [
            { prefixLen: family === 4 ? 96 + 16 : 64, addr: service },
            { node: 0, identity: 0, flags: IPCACHE_SERVICES },
          ],
        ],
        sb_services: [
          [
            { addr: service, port: 0, proto: 0 },
            { id: 0, flags: SERVICE_ADDRESS, internal: 0, external: 0, affinitySec: 0 },
          ],
        ],
      },
      packet: laterFragment(links.wire, { src: stranger, dst: service }),
      expect: {
        verdict: 'shot',
        maps: { sb_counters: counted('from_uplink', 'DROP_FRAGMENT_ORDER') },
      },
    })
  })
})
