// The agent is killed, started again and started in the other mode under connections to the outside: they do not notice.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Conversations } from '../lab/conversation.ts'
import type { Pod } from '../lab/index.ts'
import { greet, ping, Upload } from '../lab/talk.ts'
import type { Opened } from '../lab/who.ts'
import { grown } from './hostile-frames.ts'
import {
  FAMILIES,
  type MasqueradeMode,
  type MasqueradeStage,
  raiseMasquerading,
} from './masquerade-stage.ts'
import { whatIsWrong } from './stage.ts'

const BYTES = 16 << 20
const MIB_PER_SEC = 8

let stage: MasqueradeStage
let pod: Pod

beforeAll(async () => {
  stage = await raiseMasquerading('restart', 'ebpf')
  pod = await stage.lab.node(1).addPod('pod')
})
afterAll(() => stage?.lab.down())

async function start(mode: MasqueradeMode): Promise<void> {
  const { agent } = stage.lab.node(1)
  agent.start({ args: ['--masquerade', mode] })
  await agent.waitReady()
}

async function isByPrograms(family: 4 | 6): Promise<boolean> {
  const counts = await grown(stage.lab.node(1), ['from_pod/out'], () =>
    greet(pod, stage.far.address(family)),
  )
  return counts['from_pod/out'] > 0
}

test('transfers live through kill -9 and the agent’s return, and new connections need no agent', async () => {
  const { agent } = stage.lab.node(1)
  const transfers = FAMILIES.map(
    (family) => new Upload(pod, stage.far.address(family), BYTES, MIB_PER_SEC),
  )
  for (const transfer of transfers) await transfer.reached(2)
  await agent.kill('SIGKILL')
  for (const family of FAMILIES) {
    const client = stage.nodeAddress(family)
    expect(await greet(pod, stage.far.address(family))).toEqual({ server: 'far', client })
    expect(await ping(pod, stage.far.address(family))).toBe(true)
  }
  await start('ebpf')
  for (const transfer of transfers) {
    const report = await transfer.report()
    expect(report.received).toEqual({ bytes: BYTES, sha256: report.sha256 })
  }
})

test('datagrams that are cut up on their way out are of their flow, from one mode to the other and back', async () => {
  const { machine } = stage.lab.node(1)
  const held: { readonly family: 4 | 6; readonly talk: Conversations; readonly seen: Opened }[] = []
  // A pod says "do not fragment" of what it thinks fits, unless told not to.
  await pod.exec(['sysctl', '-qw', 'net.ipv4.ip_no_pmtu_disc=1'])
  for (const family of FAMILIES) {
    const gateway = family === 4 ? '172.18.0.254' : 'fd18::fe'
    const route = [stage.far.address(family), 'via', gateway, 'dev', 'eth0', 'mtu', 'lock', '1300']
    await machine.exec(['ip', `-${family}`, 'route', 'replace', ...route])
    const talk = new Conversations(pod, 'udp', stage.far.address(family))
    held.push({ family, talk, seen: await talk.open() })
  }
  // In pieces of the kernel's, or of the pod's that the kernel cuts up; over IPv6 both ends are told the MTU first, and say it again.
  const expectAllFit = async () => {
    for (const { family, talk, seen } of held) {
      expect(seen).toMatchObject([{ address: stage.nodeAddress(family) }])
      for (const bytes of [1, 1400, 5000]) {
        const what = { message: `IPv${family}, ${bytes} bytes`, timeout: 15_000 }
        await expect.poll(() => talk.ask(bytes), what).toEqual(seen)
      }
    }
  }
  const counts = await grown(stage.lab.node(1), ['to_uplink/out'], expectAllFit)
  expect(counts['to_uplink/out']).toBeGreaterThan(0)
  for (const mode of ['nftables', 'ebpf'] as const) {
    await stage.lab.node(1).agent.kill('SIGTERM')
    await start(mode)
    await expectAllFit()
  }
  for (const { talk } of held) talk[Symbol.dispose]()
  expect(await stage.leaks()).toBe(0)
})

test('from one mode to the other and back under living TCP', async () => {
  const held: { readonly talk: Conversations; readonly seen: Opened }[] = []
  const openEach = async () => {
    for (const family of FAMILIES) {
      const talk = new Conversations(pod, 'tcp', stage.far.address(family))
      const seen = await talk.open()
      expect(seen).toMatchObject([{ address: stage.nodeAddress(family) }])
      held.push({ talk, seen })
    }
  }
  const expectAllLive = async () => {
    for (const { talk, seen } of held) expect(await talk.ask()).toEqual(seen)
  }
  await openEach()
  for (const [mode, byPrograms] of [
    ['nftables', false],
    ['ebpf', true],
  ] as const) {
    await stage.lab.node(1).agent.kill('SIGTERM')
    await start(mode)
    await expectAllLive()
    for (const family of FAMILIES) expect(await isByPrograms(family)).toBe(byPrograms)
    await openEach()
    await expectAllLive()
  }
  for (const { talk } of held) talk[Symbol.dispose]()
  expect(await stage.leaks()).toBe(0)
  expect(await whatIsWrong(stage.lab.node(1))).toEqual([])
})
