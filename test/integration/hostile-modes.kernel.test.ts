// A host on the underlay that is no node, against nodes in mode kernel and without a tunnel: what it can say in the name of pods.
import { eth, ip, type Layer, packet, payload, udp, vxlan } from '@sinabro/libbpf-ts/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ping } from '../lab/talk.ts'
import { grown, macOf, Sender, strayDatagrams } from './hostile-frames.ts'
import { raiseWithPods, type Stage } from './stage.ts'

const NAME = 'hostile-modes'
const TUNNEL_PORT = 8472
const closed = { sport: 40000, dport: 9 }

describe.each(['kernel', 'none'] as const)('mode %s', (mode) => {
  let stage: Stage
  let sender: Sender
  /** From the host outside to node1. */
  let link: Layer
  let inTunnel: Layer

  beforeAll(async () => {
    sender = new Sender()
    stage = await raiseWithPods(NAME, { agent: { args: ['--tunnel', mode] } })
    const [one, two] = stage.lab.nodes.map(({ machine }) => machine)
    if (one === undefined || two === undefined) throw new TypeError('two nodes')
    link = eth({ src: await macOf(stage.lab.outside, 'eth0'), dst: await macOf(one, 'eth0') })
    const device = mode === 'none' ? 'sb0' : 'sb-vxlan'
    inTunnel = eth({ src: await macOf(two, device), dst: await macOf(one, device) })
  }, 60_000)

  afterAll(async () => {
    await stage?.lab.down()
    sender?.remove()
  })

  describe.each([4, 6] as const)('IPv%i', (family) => {
    const of = (pod: 'a' | 'b' | 'c') => stage.pods[pod].address(family)
    const nodeAddress = (n: 1 | 2) => stage.lab.node(n).plan.internalIps[family === 4 ? 0 : 1] ?? ''
    const own = family === 4 ? '10.244.1.1' : 'fd00:10:244:1::1'

    /** Frames out of the host outside; then a ping, behind which nothing is on its way any more. What reached pod a of them. */
    async function attack(names: readonly string[], frames: readonly Uint8Array[]) {
      const before = await strayDatagrams(stage.pods.a)
      const counts = await grown(stage.lab.node(1), names, async () => {
        await sender.send(stage.lab.outside, frames)
        expect(await ping(stage.pods.c, of('a'))).toBe(true)
      })
      return { counts, arrived: (await strayDatagrams(stage.pods.a)) - before }
    }

    const tunnelled = (outer: string, source: string, to = nodeAddress(1)) =>
      packet(
        link,
        ip({ src: outer, dst: to }),
        udp({ sport: 50000, dport: TUNNEL_PORT }),
        vxlan({ vni: 1 }),
        payload(packet(inTunnel, ip({ src: source, dst: of('a') }), udp(closed))),
      )
    const native = (src: string) => packet(link, ip({ src, dst: of('a') }), udp(closed))

    test('the tunnel’s port takes nothing from a host that is no node', async () => {
      const stranger = family === 4 ? '172.18.0.66' : 'fd18::66'
      const frames = [of('c'), of('b'), nodeAddress(2), own].map((source) =>
        tunnelled(stranger, source),
      )
      const name = 'from_uplink/unknown_node'
      const { counts, arrived } = await attack([name], frames)
      expect(arrived).toBe(0)
      // Without a tunnel nobody listens there.
      expect(counts[name]).toBe(mode === 'kernel' ? frames.length : 0)
    })

    if (mode === 'kernel') {
      test('a node speaks for its own pods only', async () => {
        const frames = [of('b'), nodeAddress(1), own].map((source) =>
          tunnelled(nodeAddress(2), source),
        )
        const name = 'from_uplink/foreign_source'
        const { counts, arrived } = await attack([name], frames)
        expect(arrived).toBe(0)
        expect(counts[name]).toBe(frames.length)
      })
    }

    test('a native packet in the name of a pod of this node is dropped', async () => {
      const name = 'from_uplink/native_source'
      const { counts, arrived } = await attack([name], [native(of('b')), native(own)])
      expect(arrived).toBe(0)
      expect(counts[name]).toBe(2)
    })

    test('one in the name of a pod of another node is dropped, or believed if there is no tunnel', async () => {
      const { arrived } = await attack([], [native(of('c'))])
      // As docs/overlay.md says: a node without a tunnel trusts its link.
      expect(arrived).toBe(mode === 'kernel' ? 0 : 1)
    })
  })
})
