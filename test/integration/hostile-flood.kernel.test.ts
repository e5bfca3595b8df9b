// A pod that fills tables all pods share: what lives goes on, and others open what is new.
import { ip, ip4, packet, payload, udp } from '@sinabro/libbpf-ts/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { echoUdp, greet, ping, serve, upload } from '../lab/talk.ts'
import { grown, linkOf, Sender } from './hostile-frames.ts'
import { raiseWithPods, type Stage, whatIsWrong } from './stage.ts'

const NAME = 'hostile-flood'
/** Rows of sb_fragments, and of sb_flows by default: flows have two rows each. */
const FRAGMENTS = 4096
const FLOWS = 131_072 / 2
const ETHERNET_AND_IPV4 = 34
const OUTSIDE = '198.51.100.1'

let stage: Stage
let sender: Sender

beforeAll(async () => {
  sender = new Sender()
  stage = await raiseWithPods(NAME)
  await Promise.all([serve(stage.pods.c), serve(stage.pods.a)])
})

afterAll(async () => {
  await stage?.lab.down()
  sender?.remove()
})

/** One datagram after the other, each of a flow of its own. */
function* flows(whole: Uint8Array, count: number): Generator<Uint8Array> {
  for (let i = 0; i < count; i++) {
    const frame = whole.slice()
    new DataView(frame.buffer).setUint32(ETHERNET_AND_IPV4, i + 0x10_0001) // both ports
    yield frame
  }
}

test('a flood of first fragments leaves others their fragments', async () => {
  const { a, b, c } = stage.pods
  const { link } = await linkOf(a)
  const frames = Array.from({ length: 2 * FRAGMENTS }, (_, id) =>
    packet(
      link,
      ip4({ src: a.address(4), dst: OUTSIDE, id, protocol: 17, hasMoreFragments: true }),
      udp({ sport: 1, dport: 2, length: 64, checksum: 0 }),
    ),
  )
  await sender.send(a, frames)
  for (const family of [4, 6] as const) {
    expect(await echoUdp(b, c.address(family), 5, 8000)).toEqual({ sent: 5, echoed: 5 })
  }
})

test('a flood of flows breaks nobody’s living connection, and takes no node down', async () => {
  const { a, b, c } = stage.pods
  const { link } = await linkOf(a)
  const whole = packet(
    link,
    ip({ src: a.address(4), dst: OUTSIDE }),
    udp({ sport: 1, dport: 1, checksum: 0 }),
    payload(4),
  )
  const living = ['ping', '-n', '-q', '-i', '0.2', '-c', '40', '-W', '3', c.address(4)]
  const pinging = b.exec(living, { canFail: true })
  const uploading = upload(b, c.address(6), 64 << 20)
  const counts = await grown(
    stage.lab.node(1),
    ['from_pod/flow_share', 'from_pod/flows_full'],
    () => sender.send(a, flows(whole, FLOWS + 4096)),
  )
  expect(counts['from_pod/flow_share']).toBeGreaterThan(0)
  expect(counts['from_pod/flows_full']).toBe(0)
  const report = await uploading
  expect(report.received.sha256).toBe(report.sha256)
  expect((await pinging).stdout).toContain(' 0% packet loss')
  for (const node of stage.lab.nodes) expect(await whatIsWrong(node)).toEqual([])
})

test('after a flood of flows another pod still opens connections', async () => {
  expect(await ping(stage.pods.b, stage.pods.c.address(4))).toBe(true)
})

test('after a flood of flows the node still reaches its pods', async () => {
  const { a } = stage.pods
  const node = { machine: a.machine, name: a.machine.name }
  expect((await greet(node, a.address(6))).server).toBe('a')
})
