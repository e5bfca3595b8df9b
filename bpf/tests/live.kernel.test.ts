// The programs on real devices: every redirect, both families inside and outside, the stack way with a kernel that translates.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { probeTcx } from '../src/index.ts'
import { decodeWay } from '../src/layouts.ts'
import {
  type LiveNode,
  pingIn,
  pods,
  SERVER_PORT,
  SLOW_MS,
  TUNNEL_PORT,
  TwoNodes,
} from './two-nodes.ts'

const { a, b, c } = pods
const MIB = 1 << 20
const TCP = 6

/** The ways of the flows a node knows from one address to another. */
function ways(node: LiveNode, source: string, target: string, proto?: number): string[] {
  const found = new Set<string>()
  for (const [key, { way }] of node.flows.entries()) {
    if (key.saddr !== source || key.daddr !== target) continue
    if (proto === undefined || key.proto === proto) found.add(decodeWay(way)?.kind ?? 'none')
  }
  return [...found].sort()
}

const worlds = [
  [4, 'clsact'],
  [6, probeTcx() ? 'tcx' : 'clsact'],
] as const

describe.each(worlds)('tunnel over IPv%i, programs on %s', { timeout: SLOW_MS }, (outer, mode) => {
  let world: TwoNodes
  beforeAll(async () => {
    world = await TwoNodes.up({ outer, mode })
    await world.serve(b)
    await world.serve(c)
  }, SLOW_MS)
  afterAll(() => world?.close())

  describe.each([
    ['IPv4', 0],
    ['IPv6', 1],
  ] as const)('%s', (_family, f) => {
    test('pods of one node talk by redirect_peer, one hop apart', () => {
      const [node] = world.nodes
      const before = node.count('from_pod', 'local')
      expect(world.ping(a, b.addresses[f])).toContain('ttl=63')
      expect(node.count('from_pod', 'local') - before).toBeGreaterThanOrEqual(2)
      expect(ways(node, a.addresses[f], b.addresses[f])).toEqual(['local'])
      expect(ways(node, b.addresses[f], a.addresses[f])).toEqual(['local'])
    })

    test('pods of two nodes talk by tunnel key and redirect, two hops apart', () => {
      const [one, two] = world.nodes
      const before = [one.counts(), two.counts()] as const
      expect(world.ping(a, c.addresses[f])).toContain('ttl=62')
      for (const [i, node] of world.nodes.entries()) {
        for (const name of ['from_pod/node', 'from_overlay/local']) {
          const grown = (node.counts().get(name) ?? 0) - (before[i]?.get(name) ?? 0)
          expect(grown, `node ${i + 1}, ${name}`).toBeGreaterThanOrEqual(1)
        }
      }
    })

    test('bulk TCP goes the short way, both on one node and across', () => {
      for (const server of [b, c]) {
        const [source, target] = [a.addresses[f], server.addresses[f]]
        const bytes = 8 * MIB
        expect(world.fetch(a, target, bytes)).toBe(`${bytes} true`)
        const [node] = world.nodes
        expect(ways(node, source, target, TCP)).toEqual([server === b ? 'local' : 'node'])
        expect(ways(node, target, source, TCP)).toEqual(['local'])
      }
    })

    test('datagrams that need fragments arrive whole', () => {
      for (const server of [b, c]) {
        expect(world.echo(a, server.addresses[f], 5000)).toBe('5000 true')
      }
    })

    test('a node and pods talk, its own and those of the other node', () => {
      const [one, two] = world.nodes
      for (const pod of [a, c]) expect(pingIn(one.netns, pod.addresses[f])).toContain('1 received')
      for (const node of [one, two]) {
        expect(world.ping(a, node.spec.own[f])).toContain('1 received')
      }
    })

    test('a service that the kernel translates works, to a pod of the same node and of the other', () => {
      const [one] = world.nodes
      const service = ['10.96.0.10', 'fd00:96::10'][f] ?? ''
      const family = ['ip', 'ip6'][f] ?? ''
      one.exec('nft', 'add', 'table', family, 'services')
      const chain = '{ type nat hook prerouting priority dstnat; }'
      one.exec('nft', `add chain ${family} services prerouting ${chain}`)
      for (const [port, server] of [
        [81, b],
        [82, c],
      ] as const) {
        const address = server.addresses[f]
        const to = f === 0 ? address : `[${address}]`
        const rule = `${family} daddr ${service} tcp dport ${port} dnat to ${to}:${SERVER_PORT}`
        one.exec('nft', `add rule ${family} services prerouting ${rule}`)
        expect(world.fetch(a, service, MIB, port)).toBe(`${MIB} true`)
        expect(ways(one, a.addresses[f], service, TCP)).toEqual(['stack'])
        expect(ways(one, address, a.addresses[f], TCP)).toEqual(['local', 'stack'])
      }
      one.exec('nft', 'delete', 'table', family, 'services')
    })

    test('a packet whose TTL ends is answered by the node', () => {
      for (const pod of [b, c]) {
        const said = world.ping(a, pod.addresses[f], '-t', '1')
        expect(said).toMatch(/Time to live exceeded|Hop limit/)
      }
      expect(world.ping(a, c.addresses[f], '-t', '2')).toMatch(/Time to live exceeded|Hop limit/)
      expect(world.ping(a, c.addresses[f], '-t', '3')).toContain('1 received')
    })

    test('DSCP and ECN go into the tunnel, and congestion met in the tunnel comes out', () => {
      const [one, two] = world.nodes
      const inside = ['ip', 'ip6'][f] ?? ''
      const outside = outer === 4 ? 'ip' : 'ip6'
      const seen = 'counter name seen'
      const field = outside === 'ip' ? 'ip' : 'ip6'
      two.exec('nft', `add table ${outside} wire`)
      two.exec('nft', `add counter ${outside} wire seen`)
      two.exec('nft', `add chain ${outside} wire in { type filter hook prerouting priority raw; }`)
      const marked = `udp dport ${TUNNEL_PORT} ${field} dscp ef ${field} ecn ect0`
      two.exec('nft', `add rule ${outside} wire in ${marked} ${seen}`)
      // 0xba is EF and ECT(0).
      expect(world.ping(a, c.addresses[f], '-Q', '0xba')).toContain('1 received')
      expect(two.exec('nft', `list counter ${outside} wire seen`)).toContain('packets 1 ')
      two.exec('nft', `delete table ${outside} wire`)

      one.exec('nft', `add table ${outside} wire`)
      one.exec('nft', `add chain ${outside} wire out { type filter hook output priority mangle; }`)
      one.exec('nft', `add rule ${outside} wire out udp dport ${TUNNEL_PORT} ${field} ecn set ce`)
      world.exec(c, 'nft', `add table ${inside} pod`)
      world.exec(c, 'nft', `add counter ${inside} pod seen`)
      const hook = '{ type filter hook input priority raw; }'
      world.exec(c, 'nft', `add chain ${inside} pod in ${hook}`)
      world.exec(c, 'nft', `add rule ${inside} pod in ${inside} ecn ce ${seen}`)
      expect(world.ping(a, c.addresses[f], '-Q', '0xba')).toContain('1 received')
      expect(world.exec(c, 'nft', `list counter ${inside} pod seen`)).toContain('packets 1 ')
      world.exec(c, 'nft', `delete table ${inside} pod`)
      one.exec('nft', `delete table ${outside} wire`)
    })
  })
})
