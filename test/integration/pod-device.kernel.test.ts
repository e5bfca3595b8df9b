// Pods on netkit and on veth side by side: each keeps what it was born with over restarts, all of them talk, and neither says what is not so.
import { probeNetkit } from '@sinabro/libbpf-ts'
import { ip, packet, payload, udp } from '@sinabro/libbpf-ts/testing'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Lab, LabNode, Pod } from '../lab/index.ts'
import { ping } from '../lab/talk.ts'
import { grown, linkOf, Sender } from './hostile-frames.ts'
import { raise, whatIsWrong } from './stage.ts'

const NAME = 'pod-device'
const hasNetkit = probeNetkit()

async function startAgain(node: LabNode, kind: 'veth' | 'netkit'): Promise<void> {
  await node.agent.kill('SIGTERM')
  node.agent.start({ args: ['--pod-device', kind] })
  await node.agent.waitReady()
}

async function kindOf(pod: Pod): Promise<string | undefined> {
  const { stdout } = await pod.exec(['ip', '-j', '-d', 'link', 'show', 'eth0'])
  const [link] = JSON.parse(stdout) as { readonly linkinfo?: { readonly info_kind: string } }[]
  return link?.linkinfo?.info_kind
}

async function allTalk(pods: readonly Pod[]): Promise<void> {
  for (const from of pods) {
    for (const to of pods.filter((one) => one !== from)) {
      for (const address of to.addresses) {
        expect(await ping(from, address), `${from.name} → ${to.name} ${address}`).toBe(true)
      }
    }
  }
}

let lab: Lab
let sender: Sender
const pods: Record<string, Pod> = {}

beforeAll(async () => {
  if (!hasNetkit) return
  sender = new Sender()
  lab = await raise(NAME, { agent: { args: ['--pod-device', 'veth'] } })
  pods.veth = await lab.node(1).addPod('veth')
  pods.remote = await lab.node(2).addPod('remote')
  await startAgain(lab.node(1), 'netkit')
  pods.netkit = await lab.node(1).addPod('netkit')
})
afterAll(async () => {
  await lab?.down()
  sender?.remove()
})

beforeEach((ctx) => ctx.skip(!hasNetkit, 'this kernel has no netkit'))

/** Each has the kind it was born with, all of them talk, and both nodes are as they should be. */
async function expectAllWell(): Promise<void> {
  const { veth, remote, netkit } = pods as { veth: Pod; remote: Pod; netkit: Pod }
  const kinds = await Promise.all([veth, remote, netkit].map(kindOf))
  expect(kinds).toEqual(['veth', 'veth', 'netkit'])
  for (const node of lab.nodes) expect(await whatIsWrong(node)).toEqual([])
  await allTalk([veth, remote, netkit])
}

test('a new pod gets the new kind, and those that are there keep theirs', expectAllWell)

test('CHECK holds, and DEL leaves nothing', async () => {
  const pod = await lab.node(1).addPod('short')
  await pod.check()
  await pod.remove()
  expect(await whatIsWrong(lab.node(1))).toEqual([])
})

test.each([4, 6] as const)(
  'a packet that says it is something else than IPv%i is dropped',
  async (family) => {
    const { netkit, remote } = pods as { netkit: Pod; remote: Pod }
    const { link } = await linkOf(netkit)
    const frame = packet(
      link,
      ip({ src: netkit.address(family), dst: remote.address(family) }),
      udp({ sport: 40000, dport: 9 }),
      payload(32),
    )
    const names = ['from_pod/bad_header', 'from_pod/node'] as const
    const lied = await grown(lab.node(1), names, () => sender.send(netkit, [frame], 0x8100))
    expect(lied).toEqual({ 'from_pod/bad_header': 1, 'from_pod/node': 0 })
    const honest = await grown(lab.node(1), names, () => sender.send(netkit, [frame]))
    expect(honest['from_pod/bad_header']).toBe(0)
  },
)

test('without its program a pod sends nothing; an agent that makes the other kind puts it back', async () => {
  const { netkit, veth } = pods as { netkit: Pod; veth: Pod }
  const node = lab.node(1)
  await node.agent.kill('SIGTERM')
  await node.machine.exec([
    ...['sh', '-c', 'rm /sys/fs/bpf/sinabro/v*/links/"$1"-ingress', 'sh'],
    hostDeviceOf(netkit),
  ])
  expect(await ping(netkit, veth.address(4))).toBe(false)
  node.agent.start({ args: ['--pod-device', 'veth'] })
  await node.agent.waitReady()
  await expectAllWell()
})

function hostDeviceOf({ result }: Pod): string {
  const host = result.interfaces?.find(({ sandbox }) => sandbox === undefined)
  if (host === undefined) throw new TypeError('no interface on the node in the result')
  return host.name
}
