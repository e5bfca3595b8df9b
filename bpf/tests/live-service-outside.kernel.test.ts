// A host outside asks for services of a node, on real devices: by a node port and by an address that only its router knows, of backends here, there and on the node itself.
import type { ChildProcess } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { probeTcx } from '../src/index.ts'
import {
  backend,
  CONFIG_SERVICES,
  NODE_ADDR_NODE_PORTS,
  SERVICE_EXTERNAL_LOCAL,
  service,
  serviceConfig,
  serviceKey,
  slot,
  slotKey,
} from '../src/layouts.ts'
import { addr, u32 } from '../src/struct.ts'
import { TypedMap } from '../src/typed-map.ts'
import { FAR, FarHost, OWN } from './far-host.ts'
import {
  asker,
  execIn,
  type LiveNode,
  nodes,
  pods,
  SERVER_PORT,
  SLOW_MS,
  serveIn,
  TwoNodes,
} from './two-nodes.ts'

const { a, c } = pods
const MIB = 1 << 20
const BALANCED = ['198.51.100.77', '2001:db8:51::77'] as const
const PORTS = { here: 30_001, there: 30_002, node: 30_003, local: 30_004, nobody: 30_005 } as const
const PROTOCOLS = [6, 17] as const
/** What sb_overlay carries, of 1500 less what VXLAN over IPv6 adds. */
const MTU = '1430'

const worlds = [
  ['ethernet', 'clsact'],
  ['l3', probeTcx() ? 'tcx' : 'clsact'],
] as const

let lists = 0

/** Backends of one list, in both protocols. */
function list(node: LiveNode, addresses: readonly string[], proto: number): number {
  const slots = new TypedMap(node.map('sb_slots'), slotKey, slot)
  const backends = new TypedMap(node.map('sb_backends'), u32, backend)
  const id = ++lists
  slots.set({ list: id, slot: 0 }, { backend: addresses.length, weight: 0 })
  for (const [i, address] of addresses.entries()) {
    const backendId = id * 100 + i
    backends.set(backendId, { addr: address, port: SERVER_PORT, proto, flags: 0 })
    slots.set({ list: id, slot: i + 1 }, { backend: backendId, weight: 1 })
  }
  return id
}

/** By every address of the node, and by one of its own. */
function serve(
  node: LiveNode,
  f: 0 | 1,
  port: number,
  addresses: readonly string[],
  flags = 0,
): void {
  const services = new TypedMap(node.map('sb_services'), serviceKey, service)
  for (const proto of PROTOCOLS) {
    const external = list(node, addresses, proto)
    const row = { id: external, flags, internal: external, external, affinitySec: 0 }
    for (const asked of [f === 0 ? '0.0.0.0' : '::', BALANCED[f]]) {
      services.set({ addr: asked, port, proto }, row)
    }
  }
}

function serveAll(node: LiveNode): void {
  const [{ internal, own }] = nodes
  for (const f of [0, 1] as const) {
    serve(node, f, PORTS.here, [a.addresses[f]])
    serve(node, f, PORTS.there, [c.addresses[f]])
    serve(node, f, PORTS.node, [internal[f]])
    serve(node, f, PORTS.local, [a.addresses[f]], SERVICE_EXTERNAL_LOCAL)
    serve(node, f, PORTS.nobody, [])
    new TypedMap(node.map('sb_node_addrs'), addr, u32).set(OWN[f], NODE_ADDR_NODE_PORTS)
  }
  const [source4, source6] = own
  const row = { hostNetns: 1n, source4, source6 }
  new TypedMap(node.map('sb_svc_config'), u32, serviceConfig).set(0, row)
  const before = node.config.get(0)
  if (before === undefined) throw new TypeError('the node has no config yet')
  node.config.set(0, { ...before, flags: before.flags | CONFIG_SERVICES })
}

describe.each(worlds)(
  'an uplink of kind %s, programs on %s',
  { timeout: SLOW_MS },
  (kind, mode) => {
    let world: TwoNodes
    let far: FarHost
    let server: ChildProcess
    beforeAll(async () => {
      world = await TwoNodes.up({ outer: 4, mode })
      const [node] = world.nodes
      for (const { netns } of world.nodes)
        execIn(netns, 'ip', 'link', 'set', 'sb-vxlan', 'mtu', MTU)
      far = await FarHost.up(node, kind)
      for (const address of BALANCED) far.route(address)
      for (const pod of [a, c]) await world.serve(pod)
      server = await serveIn(node.netns, node.spec.internal)
      const answer = 'meta mark & 0x400000 != 0 meta l4proto tcp reject with tcp reset'
      const unreachable = 'meta mark & 0x400000 != 0 reject with icmpx port-unreachable'
      execIn(node.netns, 'nft', 'add table inet refuse')
      execIn(
        node.netns,
        'nft',
        'add chain inet refuse raw { type filter hook prerouting priority raw; }',
      )
      for (const rule of [answer, unreachable]) {
        execIn(node.netns, 'nft', `add rule inet refuse raw ${rule}`)
      }
      serveAll(node)
    }, SLOW_MS)
    afterAll(() => {
      server?.kill('SIGKILL')
      far?.close()
      world?.close()
    })

    const ask = (verb: 'fetch' | 'echo' | 'refused', address: string, port: number, size = 0) =>
      execIn(far.netns, ...asker, verb, address, `${port}`, `${size}`).trim()
    /** In whose name backends have been asked for that port, by all addresses. */
    const names = (port: number) =>
      new Set(
        Array.from(world.nodes[0].flows.entries()).flatMap(([key, row]) =>
          key.dport === port && key.saddr !== key.daddr && row.to.sport !== 0 ? [row.to.saddr] : [],
        ),
      )

    describe.each([
      ['IPv4', 0],
      ['IPv6', 1],
    ] as const)('%s', (_family, f) => {
      const addresses = [OWN[f], BALANCED[f]] as const
      const named = (port: number) =>
        Array.from(names(port)).filter((one) => one.includes(':') === (f === 1))

      test.each([
        ['a pod of this node, which sees the client', PORTS.here, FAR[f]],
        ['a pod of another node, which sees this one', PORTS.there, nodes[0].own[f]],
        ['the node itself, which sees the client', PORTS.node, FAR[f]],
        ['one that must be here, and sees the client', PORTS.local, FAR[f]],
      ])('TCP in bulk, and datagrams: %s', (_what, port, name) => {
        for (const address of addresses) {
          expect(ask('fetch', address, port, 4 * MIB)).toBe(`${4 * MIB} true`)
          expect(ask('echo', address, port, 100)).toBe('100 true')
        }
        expect(named(port)).toEqual([name])
      })

      test.each([
        ['of this node', PORTS.here],
        ['of another', PORTS.there],
        ['on the node itself', PORTS.node],
      ])('datagrams that need fragments, there and back: %s', (_where, port) => {
        for (const address of addresses) expect(ask('echo', address, port, 5000)).toBe('5000 true')
      })

      test('a path that is too narrow is told in the service’s name', () => {
        for (const address of addresses) {
          // The longest that leaves the host whole; the tunnel takes less.
          const size = 1500 - (f === 0 ? 28 : 48)
          expect(ask('echo', address, PORTS.there, size)).toBe(`${size} true`)
        }
        const route = execIn(far.netns, 'ip', 'route', 'get', BALANCED[f])
        expect(route).toContain(`mtu ${MTU}`)
      })

      test('nobody serves it: connections and datagrams are refused', () => {
        for (const address of addresses) {
          expect(ask('refused', address, PORTS.nobody)).toBe('ECONNREFUSED')
          expect(() => ask('fetch', address, PORTS.nobody, 1)).toThrow(/ECONNREFUSED/)
        }
      })

      test('a backend that does not listen is heard: from there, and from here', () => {
        for (const pod of [a, c]) {
          const port = pod === a ? PORTS.here + 100 : PORTS.there + 100
          serve(world.nodes[0], f, port, [pod.addresses[f]])
          const backends = new TypedMap(world.nodes[0].map('sb_backends'), u32, backend)
          const [last, row] = Array.from(backends.entries())
            .filter(([, one]) => one.addr === pod.addresses[f] && one.proto === 17)
            .sort(([x], [y]) => y - x)[0] ?? [0, undefined]
          if (row === undefined) throw new TypeError('no backend')
          backends.set(last, { ...row, port: 9 })
          for (const address of addresses)
            expect(ask('refused', address, port)).toBe('ECONNREFUSED')
        }
      })
    })
  },
)
