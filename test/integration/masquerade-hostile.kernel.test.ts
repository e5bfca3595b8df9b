// Who is not part of a masqueraded connection, outside or in a pod: what they send in its name, and what was meant for a pod that is gone.
import {
  echoRequest,
  eth,
  fragment6,
  ip,
  ip4,
  ip6,
  type Layer,
  packet,
  payload,
  tooBig,
  udp,
} from '@sinabro/libbpf-ts/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Conversations } from '../lab/conversation.ts'
import type { Pod } from '../lab/index.ts'
import { ping } from '../lab/talk.ts'
import { WHO_PORT } from '../lab/who.ts'
import { grown, linkOf, macOf, Sender, strayDatagrams } from './hostile-frames.ts'
import {
  addPods,
  countOf,
  FAMILIES,
  type MasqueradeStage,
  raiseMasquerading,
} from './masquerade-stage.ts'
import { whatIsWrong } from './stage.ts'

const PORT = 40_001
const STRANGER = { 4: '203.0.113.66', 6: '2001:db8:113::66' } as const

let stage: MasqueradeStage
let sender: Sender
let pod: Pod
let neighbour: Pod
/** From the router to the node. */
let fromRouter: Layer

beforeAll(async () => {
  sender = new Sender()
  stage = await raiseMasquerading('hostile', 'ebpf')
  const { lab } = stage
  ;[pod, neighbour] = (await addPods(lab, 'pod', 'neighbour')) as [Pod, Pod]
  fromRouter = eth({
    src: await macOf(lab.outside, 'eth0'),
    dst: await macOf(lab.node(1).machine, 'eth0'),
  })
  await lab.outside.exec(['nft', '-f', '-'], {
    input: `table inet probe {
      counter strangers { }
      counter echoes { }
      chain others {
        type filter hook prerouting priority raw
        ip saddr ${STRANGER[4]} counter name strangers
        ip6 saddr ${STRANGER[6]} counter name strangers
        ip daddr ${stage.far.address(4)} icmp type echo-reply counter name echoes
        ip6 daddr ${stage.far.address(6)} icmpv6 type echo-reply counter name echoes
      }
    }
    `,
  })
})

afterAll(async () => {
  expect(await stage?.leaks()).toBe(0)
  if (stage !== undefined) expect(await whatIsWrong(stage.lab.node(1))).toEqual([])
  await stage?.lab.down()
  sender?.remove()
})

describe.each(FAMILIES)('IPv%i', (family) => {
  const far = () => stage.far.address(family)
  const node = () => stage.nodeAddress(family)

  /** Frames that come to the node by its uplink; then a ping, behind which nothing of them is on its way. */
  async function arrive(...frames: Uint8Array[]): Promise<void> {
    await sender.send(stage.lab.outside, frames)
    expect(await ping(pod, far())).toBe(true)
  }

  const answer = (from: string, sport: number, dport: number) =>
    packet(fromRouter, ip({ src: from, dst: node() }), udp({ sport, dport }), payload('forged'))

  test('an answer from another host or port is no answer', async () => {
    using held = new Conversations(pod, 'udp', far())
    expect(await held.open(1, PORT)).toEqual([{ address: node(), port: PORT }])
    const before = await datagramsIn(pod)
    await arrive(answer(STRANGER[family], WHO_PORT, PORT), answer(far(), WHO_PORT + 1, PORT))
    expect(await datagramsIn(pod)).toBe(before)
    expect(await held.ask()).toEqual([{ address: node(), port: PORT }])
  })

  test('an echo request is no reply, whatever its id', async () => {
    const id = String(PORT)
    await pod.exec(['ping', '-n', '-q', '-c', '1', '-W', '3', '-e', id, far()])
    const before = await countOf(stage.lab, 'echoes')
    const request = echoRequest({ id: PORT })
    await sender.send(stage.lab.outside, [
      packet(fromRouter, ip({ src: far(), dst: node() }), request, payload(8)),
    ])
    // The node itself answers it.
    await expect.poll(() => countOf(stage.lab, 'echoes')).toBeGreaterThan(before)
  })

  test('a forged error about nobody’s connection narrows no path of a pod', async () => {
    const mtu = family === 4 ? 600 : 1280
    const about = [ip({ src: node(), dst: far() }), udp({ sport: PORT + 5, dport: 9 })] as const
    await arrive(
      packet(fromRouter, ip({ src: STRANGER[family], dst: node() }), tooBig({ mtu }), ...about),
    )
    const { stdout } = await pod.exec(['ip', 'route', 'get', far()])
    expect(stdout).not.toContain('mtu')
  })

  test('a pod on the address of another gets nothing that was meant for that one', async () => {
    const { lab } = stage
    const gone = await lab.node(1).addPod('gone')
    const { addresses } = gone
    {
      using held = new Conversations(gone, 'udp', far())
      expect(await held.open(1, PORT + 1)).toMatchObject([{ address: node() }])
    }
    await gone.remove()
    const plugin = { runtimeConfig: { ips: addresses } }
    const heir = await lab.node(1).addPod('heir', { plugin })
    expect(heir.addresses).toEqual(addresses)
    const before = await strayDatagrams(heir)
    await arrive(answer(far(), WHO_PORT, PORT + 1))
    expect(await strayDatagrams(heir)).toBe(before)
    using held = new Conversations(heir, 'udp', far())
    expect(await held.open(1, PORT + 1)).toMatchObject([{ address: node() }])
    await heir.remove()
  })

  test('a pod that sends under a foreign address gets nothing out', async () => {
    expect(await ping(pod, far())).toBe(true)
    const { link } = await linkOf(pod)
    const before = await countOf(stage.lab, 'strangers')
    const frames = [STRANGER[family], neighbour.address(family), node()].map((src) =>
      packet(link, ip({ src, dst: far() }), udp({ sport: 5, dport: 9 })),
    )
    const names = ['from_pod/spoofed_source'] as const
    const counts = await grown(stage.lab.node(1), names, async () => {
      await sender.send(pod, frames)
      expect(await ping(pod, far())).toBe(true)
    })
    expect(counts).toEqual({ 'from_pod/spoofed_source': frames.length })
    expect(await countOf(stage.lab, 'strangers')).toBe(before)
  })

  test('fragments whose first was never seen go nowhere', async () => {
    expect(await ping(pod, far())).toBe(true)
    const { link } = await linkOf(pod)
    const addresses = { src: pod.address(family), dst: far() }
    const offset = 1448
    const whole =
      family === 4
        ? packet(
            link,
            ip4({ ...addresses, id: 7, fragmentOffsetBytes: offset, protocol: 17 }),
            payload(64),
          )
        : packet(
            link,
            ip6(addresses),
            fragment6({ id: 7, offsetBytes: offset, hasMore: false, nextHeader: 17 }),
            payload(64),
          )
    const counts = await grown(stage.lab.node(1), ['from_pod/fragment_order'], async () => {
      await sender.send(pod, [whole])
      expect(await ping(pod, far())).toBe(true)
    })
    expect(counts).toEqual({ 'from_pod/fragment_order': 1 })
  })
})

/** Datagrams that came in, whether somebody waits for them or not. */
async function datagramsIn(place: Pod): Promise<number> {
  const { stdout } = await place.exec(['cat', '/proc/net/snmp', '/proc/net/snmp6'])
  const [names = '', values = ''] = stdout.split('\n').filter((line) => line.startsWith('Udp:'))
  const at = names.split(' ').indexOf('InDatagrams')
  const v6 = /^Udp6InDatagrams\s+(\d+)$/m.exec(stdout)?.[1] ?? '0'
  return Number(values.split(' ')[at] ?? 0) + Number(v6) + (await strayDatagrams(place))
}
