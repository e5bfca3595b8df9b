// A host on the underlay that is no node: what it puts into the tunnel, and what it sends as if there were none.
import { eth, ip, type Layer, packet, payload, udp, vxlan } from '@sinabro/libbpf-ts/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ping } from '../lab/talk.ts'
import { grown, macOf, Sender, strayDatagrams } from './hostile-frames.ts'
import { raiseWithPods, type Stage, whatIsWrong } from './stage.ts'

const NAME = 'hostile-outside'
const TUNNEL_PORT = 8472
const closed = { sport: 40000, dport: 9 }

let stage: Stage
let sender: Sender
/** From the host outside to node1. */
let link: Layer
/** From node2 to node1, inside the tunnel. */
let inTunnel: Layer

beforeAll(async () => {
  sender = new Sender()
  stage = await raiseWithPods(NAME)
  const { lab } = stage
  const [one, two] = lab.nodes.map(({ machine }) => machine)
  if (one === undefined || two === undefined) throw new TypeError('two nodes')
  link = eth({ src: await macOf(lab.outside, 'eth0'), dst: await macOf(one, 'eth0') })
  inTunnel = eth({ src: await macOf(two, 'sb-vxlan'), dst: await macOf(one, 'sb-vxlan') })
})

afterAll(async () => {
  for (const node of stage?.lab.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
  await stage?.lab.down()
  sender?.remove()
})

describe.each([4, 6] as const)('IPv%i', (family) => {
  const index = family === 4 ? 0 : 1
  const of = (pod: 'a' | 'b' | 'c') => stage.pods[pod].address(family)
  const nodeAddress = (n: 1 | 2) => stage.lab.node(n).plan.internalIps[index] ?? ''
  const own = family === 4 ? '10.244.1.1' : 'fd00:10:244:1::1'

  /** Frames out of the host outside; then a ping through the tunnel, behind which nothing is on its way any more. */
  async function attack(...frames: Uint8Array[]): Promise<void> {
    await sender.send(stage.lab.outside, frames)
    expect(await ping(stage.pods.c, of('a'))).toBe(true)
  }

  const tunnelled = (outer: string, source: string, target: string) =>
    packet(
      link,
      ip({ src: outer, dst: nodeAddress(1) }),
      udp({ sport: 50000, dport: TUNNEL_PORT }),
      vxlan({ vni: 1 }),
      payload(packet(inTunnel, ip({ src: source, dst: target }), udp(closed))),
    )

  test('the tunnel takes nothing from a host that is no node', async () => {
    const stranger = family === 4 ? '172.18.0.66' : 'fd18::66'
    const before = await strayDatagrams(stage.pods.a)
    const frames = [of('c'), of('b'), nodeAddress(2), own].map((source) =>
      tunnelled(stranger, source, of('a')),
    )
    const counts = await grown(stage.lab.node(1), ['from_overlay/unknown_node'], () =>
      attack(...frames),
    )
    expect(counts).toEqual({ 'from_overlay/unknown_node': frames.length })
    expect(await strayDatagrams(stage.pods.a)).toBe(before)
  })

  test('a node speaks for its own pods only', async () => {
    const before = await strayDatagrams(stage.pods.a)
    const frames = [of('b'), nodeAddress(1), own].map((source) =>
      tunnelled(nodeAddress(2), source, of('a')),
    )
    const counts = await grown(stage.lab.node(1), ['from_overlay/foreign_source'], () =>
      attack(...frames),
    )
    expect(counts).toEqual({ 'from_overlay/foreign_source': frames.length })
    expect(await strayDatagrams(stage.pods.a)).toBe(before)
  })

  test('a native packet in the name of a pod does not reach a pod of this node', async () => {
    const before = await strayDatagrams(stage.pods.a)
    const frames = [of('b'), of('c')].map((src) =>
      packet(link, ip({ src, dst: of('a') }), udp(closed)),
    )
    await attack(...frames)
    expect(await strayDatagrams(stage.pods.a)).toBe(before)
  })

  test('a native packet in the name of a pod does not reach a pod of another node', async () => {
    const before = await strayDatagrams(stage.pods.c)
    await attack(packet(link, ip({ src: of('b'), dst: of('c') }), udp(closed)))
    expect(await strayDatagrams(stage.pods.c)).toBe(before)
  })
})
