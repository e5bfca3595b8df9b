// A host outside asks a node for services whose backend is on another node, on real devices with one uplink: XDP goes on with what it may, and only with that.
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { NetworkNamespace } from '@sinabro/node-netlink'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { BpfLink, BpfObject, probeTcx, type XdpMode } from '../src/index.ts'
import {
  backend,
  CONFIG_SERVICES,
  NODE_ADDR_NODE_PORTS,
  service,
  serviceConfig,
  serviceKey,
  slot,
  slotKey,
} from '../src/layouts.ts'
import { addr, u32 } from '../src/struct.ts'
import { TypedMap } from '../src/typed-map.ts'
import { mountBpffs, type PrivateBpffs, testObject } from '../testing/index.ts'
import { FarHost, OWN, ROUTER, UPLINK } from './far-host.ts'
import {
  asker,
  execIn,
  type LiveNode,
  nodes,
  pods,
  SERVER_PORT,
  SLOW_MS,
  TwoNodes,
} from './two-nodes.ts'

const { c } = pods
const MIB = 1 << 20
/** tcx came with Linux 6.6. */
const isSafe = probeTcx()
const PORT = 30_002
const run = promisify(execFile)
const FAMILIES = [
  ['IPv4', 0],
  ['IPv6', 1],
] as const

/** Node 2 is beyond the same router as the host outside. */
function wireByRouter([one, two]: readonly [LiveNode, LiveNode], router: string): void {
  const [, far] = ['10.99.0.1', '10.99.0.2'] as const
  two.ip('link', 'add', 'up2', 'type', 'veth', 'peer', 'name', 'n2', 'netns', router)
  execIn(router, 'ip', 'addr', 'add', '10.99.0.1/24', 'dev', 'n2')
  two.ip('addr', 'add', `${far}/24`, 'dev', 'up2')
  execIn(router, 'ip', 'link', 'set', 'n2', 'up')
  two.ip('link', 'set', 'up2', 'up')
  const [node1, node2] = [one.spec.internal[0], two.spec.internal[0]]
  execIn(router, 'ip', 'route', 'add', node2, 'via', far)
  execIn(router, 'ip', 'route', 'add', node1, 'via', OWN[0])
  one.ip('route', 'add', node2, 'via', ROUTER[0], 'dev', UPLINK, 'src', node1)
  two.ip('route', 'add', node1, 'via', '10.99.0.1', 'dev', 'up2', 'src', node2)
}

/** On a veth, what XDP sends is taken by an end that has a program, too. */
async function passAt(netns: string, device: string, bpffs: PrivateBpffs): Promise<BpfObject> {
  const object = BpfObject.open(testObject('binding_xdp'), { pinDir: join(bpffs.path, 'maps') })
  await object.load()
  using namespace = NetworkNamespace.open(`/run/netns/${netns}`)
  const [link] = JSON.parse(execIn(netns, 'ip', '-j', 'link', 'show', device))
  const program = object.program('xdp_count')
  const place = { ifindex: link.ifindex, netns: namespace, program, mode: 'native' } as const
  using attached = await BpfLink.createXdp(place)
  attached.pin(join(bpffs.path, 'pass'))
  return object
}

function serve(node: LiveNode): void {
  const services = new TypedMap(node.map('sb_services'), serviceKey, service)
  const slots = new TypedMap(node.map('sb_slots'), slotKey, slot)
  const backends = new TypedMap(node.map('sb_backends'), u32, backend)
  let list = 0
  for (const [, f] of FAMILIES) {
    for (const proto of [6, 17]) {
      list++
      slots.set({ list, slot: 0 }, { backend: 1, weight: 0 })
      slots.set({ list, slot: 1 }, { backend: list, weight: 1 })
      backends.set(list, { addr: c.addresses[f], port: SERVER_PORT, proto, flags: 0 })
      const key = { addr: f === 0 ? '0.0.0.0' : '::', port: PORT, proto }
      services.set(key, { id: list, flags: 0, internal: list, external: list, affinitySec: 0 })
    }
    new TypedMap(node.map('sb_node_addrs'), addr, u32).set(OWN[f], NODE_ADDR_NODE_PORTS)
  }
  const [source4, source6] = nodes[0].own
  const row = { hostNetns: 1n, source4, source6 }
  new TypedMap(node.map('sb_svc_config'), u32, serviceConfig).set(0, row)
  const before = node.config.get(0)
  if (before === undefined) throw new TypeError('the node has no config yet')
  node.config.set(0, { ...before, flags: before.flags | CONFIG_SERVICES })
}

describe.each(['generic', 'native'] as const satisfies readonly XdpMode[])(
  'in mode %s',
  { timeout: SLOW_MS },
  (mode) => {
    let world: TwoNodes
    let far: FarHost
    let router: string
    let folder: string
    let bpffs: PrivateBpffs
    let pass: BpfObject
    const sumItself = (netns: string) => execIn(netns, join(folder, 'offload'), 'eth0')
    beforeAll(async () => {
      if (!isSafe) return
      folder = mkdtempSync(join(tmpdir(), 'sinabro-xdp-'))
      const source = join(import.meta.dirname, 'offload.c')
      execFileSync('gcc', ['-O2', '-Wall', '-Werror', '-o', join(folder, 'offload'), source])
      world = await TwoNodes.up({ outer: 4, mode: 'clsact' })
      const [node] = world.nodes
      far = await FarHost.up(node, 'ethernet')
      router = `${node.netns}-r`
      wireByRouter(world.nodes, router)
      await world.serve(c)
      serve(node)
      bpffs = mountBpffs()
      pass = await passAt(router, UPLINK, bpffs)
      await node.attachXdp(UPLINK, mode)
    }, SLOW_MS)
    afterAll(() => {
      if (!isSafe) return
      far?.close()
      world?.close()
      pass?.close()
      bpffs?.unmount()
      rmSync(folder, { recursive: true, force: true })
    })

    beforeEach(({ skip }) => skip(!isSafe, 'kernels before Linux 6.6 can crash of it (ADR 0092)'))

    const argvOf = (verb: 'fetch' | 'echo', address: string, size: number, request = 0) => {
      const argv = [...asker, verb, address, `${PORT}`, `${size}`, `${request}`]
      return ['netns', 'exec', far.netns, ...argv]
    }
    const ask = (...what: Parameters<typeof argvOf>) =>
      execFileSync('ip', argvOf(...what), { encoding: 'utf8', stdio: 'pipe' }).trim()
    const counts = () => {
      const [node] = world.nodes
      return [node.count('xdp_uplink', 'node'), node.count('xdp_uplink', 'out')] as const
    }

    test.each(FAMILIES)('%s: what a device is to sum passes, and arrives', (_, f) => {
      const before = counts()
      expect(ask('fetch', OWN[f], MIB)).toBe(`${MIB} true`)
      expect(ask('echo', OWN[f], 100)).toBe('100 true')
      expect(counts()).toEqual(before)
    })

    test.each(FAMILIES)('%s: TCP in bulk both ways, and datagrams', (_, f) => {
      for (const netns of [far.netns, world.netnsOf(c)]) sumItself(netns)
      const [there, back] = counts()
      expect(ask('fetch', OWN[f], 4 * MIB, 100_000)).toBe(`${4 * MIB} true`)
      expect(ask('echo', OWN[f], 1000)).toBe('1000 true')
      const [sent, answered] = counts()
      // Of what is not the beginning or the end of it: segments of 1400 bytes at most, and their acknowledgements.
      expect(sent - there).toBeGreaterThan(100)
      expect(answered - back).toBeGreaterThan(2000)
    })

    test('the rows hear of it: connections end as any other', () => {
      const [node] = world.nodes
      const rows = Array.from(node.flows.entries()).filter(
        ([key]) => key.proto === 6 && key.dport === PORT,
      )
      expect(rows.length).toBeGreaterThan(0)
      const FIN = 1 << 1
      for (const [, { flags }] of rows) expect(flags & FIN).toBe(FIN)
    })

    test('the program is replaced and taken off while connections go on', async () => {
      const [node] = world.nodes
      const fetching = FAMILIES.map(([, f]) => run('ip', argvOf('fetch', OWN[f], 16 * MIB)))
      let isOver = false
      const all = Promise.all(fetching).finally(() => {
        isOver = true
      })
      while (!isOver) for (const next of [undefined, mode]) await node.attachXdp(UPLINK, next)
      for (const { stdout } of await all) expect(stdout.trim()).toBe(`${16 * MIB} true`)
    })
  },
)
