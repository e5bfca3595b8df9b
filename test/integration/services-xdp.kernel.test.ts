// XDP on nodes with agents: what a host outside sends to a backend of another node goes on before the stack, in either mode, whatever becomes of the agent.
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { BpfLink, BpfObject, probeTcx } from '@sinabro/libbpf-ts'
import { testObject } from '@sinabro/libbpf-ts/testing'
import { NetworkNamespace } from '@sinabro/node-netlink'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { eventually, type Lab, type Machine, type Pod, TREE } from '../lab/index.ts'
import { download, echoUdp, greet, Upload, upload } from '../lab/talk.ts'
import { HTTP_PORT } from '../lab/traffic.ts'
import { grown } from './hostile-frames.ts'
import {
  AGENT,
  addServers,
  BALANCED,
  balanceTo,
  clusterIPs,
  endpointOf,
  FAMILIES,
  NODE_PORT,
  nodeAddress,
  raiseWithServices,
  untilAnsweredBy,
  writeBalanced,
} from './service-stage.ts'
import { whatIsWrong } from './stage.ts'

const BULK_BYTES = 4 << 20
const BYTES = 16 << 20
const MIB_PER_SEC = 8
/** tcx came with Linux 6.6. */
const isSafe = probeTcx()
const COUNTS = ['xdp_uplink/node', 'xdp_uplink/out'] as const

describe.each(['generic', 'native'] as const)('--xdp %s', (mode) => {
  let lab: Lab
  let there: Pod
  let taken: Disposable
  const withXdp = (xdp: string) => ({ args: [...(AGENT.args ?? []), '--xdp', xdp] })
  const outside = () => ({ machine: lab.outside, name: 'outside' })

  /** Of the only uplink, in the words of `ip`. */
  async function xdpOn(number: number): Promise<string | undefined> {
    const { stdout } = await lab.node(number).exec(['ip', '-j', 'link', 'show', 'eth0'])
    const [link] = JSON.parse(stdout) as { readonly xdp?: { readonly mode: number } }[]
    return link?.xdp && IP_MODES[link.xdp.mode]
  }

  async function restart(xdp: string, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const { agent } = lab.node(1)
    await agent.kill(signal)
    agent.start(withXdp(xdp))
    await agent.waitReady()
  }

  beforeAll(async () => {
    if (!isSafe) return
    lab = await raiseWithServices(`xdp-${mode}`, { agent: withXdp(mode) })
    const [[asking], [far]] = (await Promise.all([
      addServers(lab, 1, 'asking'),
      addServers(lab, 2, 'there'),
    ])) as [[Pod], [Pod]]
    there = far
    for (const place of [lab.outside, there]) await sumOwn(place)
    taken = await takeFrames(lab, 1)
    writeBalanced(lab, 1, [endpointOf(there)])
    for (const family of FAMILIES) {
      await untilAnsweredBy(asking, clusterIPs(1)[family], ['there'], HTTP_PORT)
    }
    await balanceTo(lab, 1)
    await eventually('XDP on eth0', async () => (await xdpOn(1)) === mode)
  })

  afterAll(async () => {
    for (const node of lab?.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
    await lab?.down()
    taken?.[Symbol.dispose]()
  })

  beforeEach(({ skip }) => skip(!isSafe, 'kernels before Linux 6.6 can crash of it (ADR 0092)'))

  describe.each(FAMILIES)('IPv%i', (family) => {
    test('a node port and a balancer’s address: datagrams, and bulk both ways', async () => {
      const asked = nodeAddress(lab, 1, family)
      const passed = await grown(lab.node(1), COUNTS, async () => {
        expect((await greet(outside(), asked, NODE_PORT)).server).toBe('there')
        const report = await echoUdp(outside(), asked, 20, 1200, NODE_PORT + 2)
        expect(report).toEqual({ sent: 20, echoed: 20 })
        const sent = await upload(outside(), BALANCED[family], BULK_BYTES)
        expect(sent.received).toEqual({ bytes: BULK_BYTES, sha256: sent.sha256 })
        expect((await download(outside(), BALANCED[family], BULK_BYTES)).isWhole).toBe(true)
      })
      // Segments of 1500 bytes at most.
      const segments = BULK_BYTES / 1500
      expect(passed['xdp_uplink/node']).toBeGreaterThan(segments / 2)
      expect(passed['xdp_uplink/out']).toBeGreaterThan(segments / 2)
    })
  })

  test('transfers live through kill -9, without an agent and with the next one', async () => {
    const transfers = FAMILIES.map(
      (family) => new Upload(outside(), BALANCED[family], BYTES, MIB_PER_SEC),
    )
    for (const transfer of transfers) await transfer.reached(2)
    await lab.node(1).agent.kill('SIGKILL')
    expect(await xdpOn(1)).toBe(mode)
    for (const transfer of transfers) await transfer.reached(4)
    lab.node(1).agent.start(withXdp(mode))
    await lab.node(1).agent.waitReady()
    for (const transfer of transfers) {
      const report = await transfer.report()
      expect(report.received).toEqual({ bytes: BYTES, sha256: report.sha256 })
    }
    await eventually('XDP on eth0', async () => (await xdpOn(1)) === mode)
  })

  test('turned off under transfers it leaves no program, and on again it goes on', async () => {
    const transfers = FAMILIES.map(
      (family) => new Upload(outside(), BALANCED[family], BYTES, MIB_PER_SEC),
    )
    for (const transfer of transfers) await transfer.reached(2)
    await restart('off', 'SIGTERM')
    expect(await xdpOn(1)).toBeUndefined()
    await restart(mode, 'SIGTERM')
    await eventually('XDP on eth0', async () => (await xdpOn(1)) === mode)
    for (const transfer of transfers) {
      const report = await transfer.report()
      expect(report.received).toEqual({ bytes: BYTES, sha256: report.sha256 })
    }
    await restart('off')
    expect(await xdpOn(1)).toBeUndefined()
    for (const family of FAMILIES) {
      const passed = await grown(lab.node(1), COUNTS, async () => {
        expect((await greet(outside(), BALANCED[family], HTTP_PORT)).server).toBe('there')
      })
      expect(passed).toEqual({ 'xdp_uplink/node': 0, 'xdp_uplink/out': 0 })
    }
  })
})

/** XDP_ATTACHED_DRV and XDP_ATTACHED_SKB of include/uapi/linux/if_link.h. */
const IP_MODES: Readonly<Record<number, 'native' | 'generic'>> = { 1: 'native', 2: 'generic' }

/** What it sends has its checksums, as on real wires: XDP leaves packets alone whose sums a device is yet to make. */
async function sumOwn(place: Pod | Machine): Promise<void> {
  const folder = join(TREE, 'bpf/build/tests')
  mkdirSync(folder, { recursive: true })
  const program = join(folder, `offload.${process.pid}`)
  const source = join(TREE, 'bpf/tests/offload.c')
  execFileSync('gcc', ['-O2', '-Wall', '-Werror', '-o', program, source])
  try {
    await place.exec([program, 'eth0'])
  } finally {
    rmSync(program)
  }
}

/** Of a node's cable, which is a veth: what XDP sends is taken by an end that has a program, too. */
async function takeFrames(lab: Lab, number: number): Promise<Disposable> {
  using stack = new DisposableStack()
  const object = BpfObject.open(testObject('binding_xdp'))
  stack.defer(() => object.close())
  await object.load()
  const { underlay } = lab
  const port = `p-${lab.node(number).name}`
  const { stdout } = await underlay.exec(['ip', '-j', 'link', 'show', port])
  const [link] = JSON.parse(stdout) as { readonly ifindex: number }[]
  using netns = NetworkNamespace.open(`/proc/${underlay.state.init.pid}/ns/net`)
  const program = object.program('xdp_count')
  const place = { ifindex: link?.ifindex ?? 0, netns, program, mode: 'native' } as const
  stack.use(await BpfLink.createXdp(place))
  return stack.move()
}
