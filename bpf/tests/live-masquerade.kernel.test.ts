// Pods talk to a host that has no route to them, on real devices: connections, datagrams, pings, and what routers on the way say.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { probeTcx } from '../src/index.ts'
import { FAR, FarHost, NARROW_MTU, OWN, ROUTER } from './far-host.ts'
import { echoIn, pods, SERVER_PORT, SLOW_MS, TwoNodes } from './two-nodes.ts'

const { a, b } = pods
const MIB = 1 << 20

const worlds = [
  ['ethernet', 'clsact'],
  ['l3', probeTcx() ? 'tcx' : 'clsact'],
] as const

describe.each(worlds)(
  'an uplink of kind %s, programs on %s',
  { timeout: SLOW_MS },
  (kind, mode) => {
    let world: TwoNodes
    let far: FarHost
    beforeAll(async () => {
      world = await TwoNodes.up({ outer: 4, mode })
      far = await FarHost.up(world.nodes[0], kind)
    }, SLOW_MS)
    afterAll(() => {
      far?.close()
      world?.close()
    })

    describe.each([
      ['IPv4', 0],
      ['IPv6', 1],
    ] as const)('%s', (_family, f) => {
      const target = FAR[f]

      test('a ping goes out and its reply comes in, one hop each', () => {
        const [node] = world.nodes
        const before = node.counts()
        expect(world.ping(a, target)).toContain('ttl=62')
        const grown = (name: string) => (node.counts().get(name) ?? 0) - (before.get(name) ?? 0)
        expect(grown('from_pod/out')).toBe(1)
        expect(grown('from_uplink/local')).toBe(1)
      })

      test('bulk TCP comes in whole, to two pods from one port of the host', () => {
        for (const pod of [a, b]) expect(world.fetch(pod, target, 8 * MIB)).toBe(`${8 * MIB} true`)
      })

      test('a router’s errors reach the pod that they are for: traceroute', () => {
        const exceeded = /Time to live exceeded|Hop limit/
        expect(world.ping(a, target, '-t', '1')).toMatch(exceeded)
        const second = world.ping(a, target, '-t', '2')
        expect(second).toMatch(exceeded)
        expect(second).toContain(ROUTER[f])
        expect(world.ping(a, target, '-t', '3')).toContain('1 received')
      })

      test('what is too long for a link on the way is said, and then comes in fitting pieces', () => {
        const tooLong = ['-M', 'do', '-s', `${NARROW_MTU - (f === 0 ? 28 : 48) + 1}`]
        const said = world.ping(a, target, ...tooLong)
        expect(said).toMatch(/Frag needed and DF set|Packet too big/)
        expect(said).toMatch(new RegExp(`mtu ?= ?${NARROW_MTU}`))
        const route = world.exec(a, 'ip', 'route', 'get', target)
        expect(route).toContain(`mtu ${NARROW_MTU}`)
      })

      test('a connection finds the narrow link by itself', () => {
        const request = 200_000
        expect(world.fetch(b, target, 10, SERVER_PORT, request)).toBe('10 true')
      })

      test('a datagram that nobody takes is refused', () => {
        expect(world.refused(a, target)).toBe('ECONNREFUSED')
      })

      test('datagrams arrive whole that need fragments, there and back', () => {
        for (const size of [100, 5000]) expect(world.echo(a, target, size)).toBe(`${size} true`)
      })

      test('a node that asks from the port of a pod is answered, and so is the pod', () => {
        const [node] = world.nodes
        const port = 45_000 + f
        const before = node.counts()
        expect(echoIn(world.netnsOf(a), target, 100, port)).toBe('100 true')
        expect(echoIn(node.netns, target, 100, port)).toBe('100 true')
        expect(echoIn(world.netnsOf(a), target, 100, port)).toBe('100 true')
        for (const name of ['to_uplink/translated', 'from_uplink/translated']) {
          expect((node.counts().get(name) ?? 0) - (before.get(name) ?? 0), name).toBeGreaterThan(0)
        }
      })

      test('nobody outside sees more of a pod than the node’s address', () => {
        const [node] = world.nodes
        const outside = Array.from(node.flows.entries()).filter(([{ saddr }]) => saddr === target)
        expect(outside.length).toBeGreaterThan(0)
        for (const [{ daddr }] of outside) expect(daddr).toBe(OWN[f])
      })
    })
  },
)
