// The three tunnel modes on a lab: pods talk in each and between bpf and kernel, and a node goes from one to another under their feet.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, type LabNode } from '../lab/index.ts'
import { greet, ping, serve, Upload, upload } from '../lab/talk.ts'
import { raiseWithPods, type Stage, whatIsWrong } from './stage.ts'

type Mode = 'bpf' | 'kernel' | 'none'

const NAME = 'modes'
const BULK_BYTES = 8 << 20
/** At 1 MiB/s as long as four agents take to start on a busy machine. */
const BYTES = 48 << 20

const TUNNELS: readonly (readonly [Mode, Mode])[] = [
  ['bpf', 'kernel'],
  ['kernel', 'kernel'],
]
/** Back from none, too: what it leaves must be in nobody's way. */
const ALL: typeof TUNNELS = [...TUNNELS, ['none', 'none'], ['kernel', 'bpf']]

/** What a node of each mode has of a device. */
const DEVICES = { bpf: 'sb-vxlan', kernel: 'sb-vxlan', none: 'sb0' } as const

describe.each([4, 6] as const)('outer IPv%i', (outer) => {
  let stage: Stage

  beforeAll(async () => {
    stage = await raiseWithPods(NAME, { agent: { args: argsOf('bpf') } })
    const { lab, pods } = stage
    const nodes = lab.nodes.map(({ machine, name }) => ({ machine, name }))
    await Promise.all([...Object.values(pods), ...nodes].map(serve))
  }, 60_000)

  afterAll(() => stage?.lab.down())

  function argsOf(mode: Mode): string[] {
    return ['--tunnel', mode, '--tunnel-family', String(outer)]
  }

  /** As an operator does: the agent is stopped, and started with another setting. */
  async function change(node: LabNode, mode: Mode): Promise<void> {
    await node.agent.kill('SIGTERM')
    node.agent.start({ args: argsOf(mode) })
    await node.agent.waitReady()
  }

  async function changeAll(one: Mode, two: Mode): Promise<void> {
    await change(stage.lab.node(1), one)
    await change(stage.lab.node(2), two)
  }

  const mtuOf = (mode: Mode) => (mode === 'none' ? 1500 : outer === 4 ? 1450 : 1430)

  async function expectMode(node: LabNode, mode: Mode): Promise<void> {
    await eventually(`${node.name} in mode ${mode}`, async () => {
      const { stdout } = await node.exec(['ip', '-d', '-j', 'link', 'show'])
      const links = JSON.parse(stdout) as {
        ifname: string
        ifalias?: string
        linkinfo?: { info_data?: { external?: boolean } }
      }[]
      const ours = links.filter(({ ifalias }) => ifalias === 'sinabro:overlay')
      return (
        ours.length === 1 &&
        ours[0]?.ifname === DEVICES[mode] &&
        (ours[0].linkinfo?.info_data?.external === true) === (mode === 'bpf')
      )
    })
    for (const pod of node.pods()) {
      await eventually(`the MTU of ${pod.name}`, async () => {
        const { stdout } = await pod.exec(['ip', '-o', 'link', 'show', 'eth0'])
        return stdout.includes(` mtu ${mtuOf(mode)} `)
      })
    }
    expect(await whatIsWrong(node)).toEqual([])
  }

  /** Pods across, and nodes with pods of the other, in both directions and families, every byte checked. */
  async function expectTalk(): Promise<void> {
    const { lab, pods } = stage
    const places = [lab.node(1), lab.node(2)].map(({ machine, name }) => ({ machine, name }))
    const [node1, node2] = places
    if (node1 === undefined || node2 === undefined) throw new TypeError('two nodes')
    for (const family of [4, 6] as const) {
      for (const [from, to] of [
        [pods.a, pods.c],
        [pods.d, pods.b],
      ] as const) {
        const greeting = await greet(from, to.address(family))
        expect(greeting).toEqual({ server: to.name, client: from.address(family) })
        const report = await upload(from, to.address(family), BULK_BYTES)
        expect(report.received.sha256).toBe(report.sha256)
      }
      expect(await ping(node1, pods.c.address(family))).toBe(true)
      expect(await ping(node2, pods.a.address(family))).toBe(true)
      const other = lab.node(2).plan.internalIps[family === 4 ? 0 : 1] ?? ''
      expect(await ping(pods.a, other)).toBe(true)
    }
  }

  test.each(outer === 4 ? ALL : TUNNELS)(
    'pods talk with node1 in mode %s and node2 in mode %s',
    async (one, two) => {
      await changeAll(one, two)
      await expectMode(stage.lab.node(1), one)
      await expectMode(stage.lab.node(2), two)
      await expectTalk()
    },
  )

  if (outer !== 4) return

  test('connections live on while each node goes from bpf to kernel and back', async () => {
    const { lab, pods } = stage
    await changeAll('bpf', 'bpf')
    const uploads = ([4, 6] as const).map(
      (family) => new Upload(pods.a, pods.c.address(family), BYTES, 1),
    )
    await Promise.all(uploads.map((one) => one.reached(2)))
    for (const mode of ['kernel', 'bpf'] as const) {
      for (const node of lab.nodes) {
        await change(node, mode)
        const now = Math.max(...uploads.map(({ mib }) => mib))
        await Promise.all(uploads.map((one) => one.reached(now + 2)))
      }
    }
    for (const one of uploads) {
      const report = await one.report()
      expect(report.received).toEqual({ bytes: BYTES, sha256: report.sha256 })
    }
  }, 120_000)

  test('connections live on while the whole cluster gives up its tunnel', async () => {
    const { pods } = stage
    const transfer = new Upload(pods.a, pods.c.address(4), 24 << 20, 2)
    await transfer.reached(2)
    await changeAll('none', 'none')
    await transfer.reached(transfer.mib + 2)
    await changeAll('bpf', 'bpf')
    const report = await transfer.report()
    expect(report.received.sha256).toBe(report.sha256)
  }, 120_000)
})
