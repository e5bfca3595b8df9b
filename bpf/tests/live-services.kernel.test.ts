// Pods ask services, on real devices and past every hook of sockets: each kind of backend, TCP and datagrams, and what is refused.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { probeTcx, TypedMap } from '../src/index.ts'
import {
  CONFIG_READY,
  CONFIG_SERVICES,
  CONFIG_TRANSLATED,
  decodeWay,
  FLOW_SERVICE,
  IPCACHE_SERVICES,
} from '../src/layouts.ts'
import type { Rows } from '../testing/index.ts'
import { serving } from './service-rows.ts'
import { type LiveNode, pods, SERVER_PORT, SLOW_MS, TwoNodes } from './two-nodes.ts'
import { type Shapes, shapes } from './world.ts'

const { a, b, c } = pods
const MIB = 1 << 20
const TCP = 6
const UDP = 17
/** In the node's own namespace, which the harness names like a pod's. */
const host = { ...a, name: 'n1', addresses: ['192.0.2.1', '2001:db8::1'] } as const

const served = [
  ['a pod of the same node', 20, b, ['local']],
  ['a pod of another node', 21, c, ['node']],
  ['the pod itself', 22, a, ['local']],
  ['the node', 23, host, ['stack']],
] as const
const NOBODY = 30
const UNKNOWN = 31
const prefixes = ['10.96.0.', 'fd00:96::'] as const

function put(node: LiveNode, rows: Rows<Shapes>): void {
  for (const [name, some] of Object.entries(rows)) {
    const { key, value } = shapes[name as keyof Shapes]
    const map = new TypedMap<unknown, unknown>(node.map(name), key as never, value as never)
    for (const [at, row] of some ?? []) map.set(at, row)
  }
}

/** One service of one backend per kind; its lists and backends have numbers of their own. */
function serve(node: LiveNode, f: 0 | 1): void {
  const family = f === 0 ? 4 : 6
  const one = (last: number, backends: readonly string[]) => {
    for (const proto of [TCP, UDP]) {
      const list = last * 4 + f * 2 + (proto === TCP ? 0 : 1)
      const asked = { family, address: `${prefixes[f]}${last}`, port: SERVER_PORT, proto } as const
      const answering = backends.map((address) => ({ address, port: SERVER_PORT }))
      const rows = serving({ ...asked, backends: answering, id: list })
      put(node, {
        ...rows,
        sb_node_addrs: [],
        sb_services: [
          ...(rows.sb_services ?? []).map(
            ([key, row]) => [key, { ...row, internal: list, external: list }] as const,
          ),
          [
            { addr: asked.address, port: 0, proto: 0 },
            { id: 0, flags: 1 << 5, internal: 0, external: 0, affinitySec: 0 },
          ],
        ],
        sb_slots: [
          [
            { list, slot: 0 },
            { backend: backends.length, weight: 0 },
          ],
          ...backends.map(
            (_, i) =>
              [
                { list, slot: i + 1 },
                { backend: list, weight: 1 },
              ] as const,
          ),
        ],
        sb_backends: (rows.sb_backends ?? []).map(([, row]) => [list, row] as const),
      })
    }
  }
  for (const [, last, pod] of served) one(last, [pod.addresses[f]])
  one(NOBODY, [])
  const prefixLen = f === 0 ? 96 + 16 : 64
  node.ipcache.set(
    { prefixLen, addr: `${prefixes[f]}0` },
    { node: 0, identity: 0, flags: IPCACHE_SERVICES },
  )
}

/** What the agent's rules of nftables do with what nobody serves. */
const refusing = `table inet services {
  chain prerouting {
    type filter hook prerouting priority raw;
    meta mark & 0x400000 != 0 meta l4proto tcp reject with tcp reset
    meta mark & 0x400000 != 0 reject with icmpx port-unreachable
  }
}`

const worlds = [
  [4, 'clsact'],
  [6, probeTcx() ? 'tcx' : 'clsact'],
] as const

describe.each(worlds)('tunnel over IPv%i, programs on %s', { timeout: SLOW_MS }, (outer, mode) => {
  let world: TwoNodes
  beforeAll(async () => {
    world = await TwoNodes.up({ outer, mode })
    const [node] = world.nodes
    const now = node.config.get(0)
    if (now === undefined) throw new Error('a node without a configuration')
    const flags = now.flags | CONFIG_READY | CONFIG_SERVICES | CONFIG_TRANSLATED
    node.config.set(0, { ...now, flags })
    for (const f of [0, 1] as const) serve(node, f)
    for (const pod of [a, b, c, host]) await world.serve(pod)
    node.exec('nft', refusing)
  }, SLOW_MS)
  afterAll(() => world?.close())

  describe.each([
    ['IPv4', 0],
    ['IPv6', 1],
  ] as const)('%s', (_family, f) => {
    const address = (last: number) => `${prefixes[f]}${last}`
    const ways = (node: LiveNode, target: string, proto: number) => {
      const found = new Set<string>()
      for (const [key, row] of node.flows.entries()) {
        if (key.daddr !== target || key.proto !== proto) continue
        if ((row.flags & FLOW_SERVICE) > 0) found.add(decodeWay(row.way)?.kind ?? 'none')
      }
      return [...found]
    }

    test.each(served)('%s answers', (_what, last, _pod, way) => {
      const [node] = world.nodes
      const service = address(last)
      expect(world.fetch(a, service, 4 * MIB)).toBe(`${4 * MIB} true`)
      expect(world.fetch(a, service, 10, SERVER_PORT, 200_000)).toBe('10 true')
      for (const size of [100, 5000]) expect(world.echo(a, service, size)).toBe(`${size} true`)
      for (const proto of [TCP, UDP]) expect(ways(node, service, proto)).toEqual(way)
    })

    test('a service that nobody serves refuses, connections and datagrams', () => {
      const service = address(NOBODY)
      expect(() => world.fetch(a, service, 1)).toThrow('ECONNREFUSED')
      expect(world.refused(a, service)).toBe('ECONNREFUSED')
      const [node] = world.nodes
      const rows = Array.from(node.flows.keys()).filter(
        ({ saddr, daddr }) => saddr === service || daddr === service,
      )
      expect(rows).toEqual([])
    })

    test('so does another port of one that somebody serves', () => {
      const [[, last]] = served
      expect(() => world.fetch(a, address(last), 1, 81)).toThrow('ECONNREFUSED')
      expect(world.refused(a, address(last))).toBe('ECONNREFUSED')
    })

    test('what no service has is dropped', () => {
      const [node] = world.nodes
      const before = node.count('from_pod', 'service_address')
      expect(world.ping(a, address(UNKNOWN))).toContain('0 received')
      expect(node.count('from_pod', 'service_address')).toBeGreaterThan(before)
    })

    test('a port that nobody listens on is refused in the name of the service', () => {
      const [node] = world.nodes
      const port = 7
      const list = 900 + f
      const at = address(served[0][1])
      for (const [, , pod] of served.slice(0, 2)) {
        put(node, {
          sb_services: [
            [
              { addr: at, port, proto: UDP },
              { id: list, flags: 0, internal: list, external: list, affinitySec: 0 },
            ],
          ],
          sb_slots: [
            [
              { list, slot: 0 },
              { backend: 1, weight: 0 },
            ],
            [
              { list, slot: 1 },
              { backend: list, weight: 1 },
            ],
          ],
          sb_backends: [[list, { addr: pod.addresses[f], port: 9, proto: UDP, flags: 0 }]],
        })
        expect(world.refused(a, at, port)).toBe('ECONNREFUSED')
      }
    })
  })
})
