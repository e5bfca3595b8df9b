// The operator's commands against a real agent: what they show is what is there; addresses asked for, and those of pods that just vanish.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, type Lab, type LabNode } from '../lab/index.ts'
import { nodeObject } from '../lab/manifests.ts'
import { ping } from '../lab/talk.ts'
import { raise, whatIsWrong } from './stage.ts'

const NAME = 'commands'
let lab: Lab
let node: LabNode

beforeAll(async () => {
  lab = await raise(NAME, { nodes: 2, agent: { args: ['--reclaim-grace-sec', '1'] } })
  node = lab.node(1)
})

afterAll(() => lab?.down())

async function show(command: string, ...options: string[]): Promise<unknown> {
  const { stdout } = await node.exec(['sinabro', command, '-o', 'json', ...options])
  return JSON.parse(stdout)
}

const free = async () => {
  const { ranges } = (await show('addresses')) as { ranges: { used: number }[] }
  return ranges.map(({ used }) => used)
}

test('addresses, nodes, programs and flows tell of a pod, its way and its traffic', async () => {
  const here = await node.addPod('here')
  const there = await lab.node(2).addPod('there')
  for (const address of there.addresses) await ping(here, address)
  expect(await show('addresses')).toMatchObject({
    ranges: [{ range: '10.244.1.0/24', nodeAddress: '10.244.1.1', used: 1 }, { used: 1 }],
    addresses: here.addresses.map((address) => ({ address, pod: { name: 'here' } })),
    keptOutOfUse: [],
  })
  expect(await show('nodes')).toMatchObject([
    { name: 'node1', isSelf: true, way: 'self', mtu: 1450 },
    {
      name: 'node2',
      way: 'tunnel',
      mode: 'bpf',
      mtu: 1450,
      podCIDRs: ['10.244.2.0/24', 'fd00:10:244:2::/64'],
    },
  ])
  const { programs, attached } = (await show('programs')) as {
    programs: { name: string }[]
    attached: { device: string; program: string; state: string }[]
  }
  expect(programs.map(({ name }) => name)).toContain('sb_from_pod')
  const onUplink = attached.filter(({ device }) => device === 'eth0').map(({ program }) => program)
  expect(onUplink.sort()).toEqual(['sb_from_uplink', 'sb_to_uplink'])
  expect(attached).toHaveLength(onUplink.length + 4)
  expect(attached.every(({ state }) => state === 'current')).toBe(true)
  for (const to of there.addresses) {
    expect(await show('flows', '--to', to, '--pod', 'default/here')).toMatchObject({
      flows: [{ source: { pod: { name: 'here' } }, destination: { address: to }, way: 'node2' }],
    })
  }
  expect(await show('flows', '--state', 'closed')).toMatchObject({ flows: [] })
  const wrong = await node.exec(['sinabro', 'flows', '--to', '10.0.0.1/8'], { canFail: true })
  expect([wrong.status, wrong.stderr]).toEqual([1, expect.stringContaining('to: expected an')])
  await here.remove()
})

test('doctor finds what hides our configuration, with exit code 4, and is content when it is gone', async () => {
  const levels = async (): Promise<[number, string[]]> => {
    // The runtime that this machine may have is not the lab's.
    const argv = ['sinabro', 'doctor', '-o', 'json', '--containerd-config', '/run/none.toml']
    const { status, stdout } = await node.exec(argv, { canFail: true })
    const { findings } = JSON.parse(stdout) as { findings: { check: string; level: string }[] }
    return [status, findings.filter(({ level }) => level === 'error').map(({ check }) => check)]
  }
  expect(await levels()).toEqual([0, []])
  const hiding = '/etc/cni/net.d/00-old.conflist'
  await node.exec(['touch', hiding])
  expect(await levels()).toEqual([4, ['cni configuration']])
  await node.exec(['rm', hiding])
})

test('an address that is asked for is given, and refused with code 106 when it cannot be had', async () => {
  const ask = (...ips: string[]) => ({ plugin: { runtimeConfig: { ips } } })
  const pod = await node.addPod('asks', ask('10.244.1.77/24', 'fd00:10:244:1::abcd:77'))
  expect(pod.addresses).toEqual(['10.244.1.77', 'fd00:10:244:1::abcd:77'])
  const before = await free()
  for (const address of ['10.244.1.77', '10.244.1.1', '192.0.2.1']) {
    const attempt = node.addPod('late', ask(address))
    expect(await attempt.catch((error: unknown) => error)).toMatchObject({ cniCode: 106 })
  }
  expect(await free()).toEqual(before)
  expect(await whatIsWrong(node)).toEqual([])
  await pod.remove()
})

test('a pod that vanishes without a DEL gives its addresses back, one that lives keeps them', async () => {
  const stays = await node.addPod('stays')
  const vanishes = await node.addPod('vanishes')
  const name = vanishes.attachment.netns.split('/').at(-1) ?? ''
  await node.exec(['ip', 'netns', 'del', name])
  await eventually('the addresses to be free', async () => (await free()).every((n) => n === 1))
  expect(await show('status')).toMatchObject({
    events: expect.arrayContaining([
      expect.objectContaining({ reason: 'PodAddressReclaimed', type: 'Normal' }),
    ]),
  })
  await stays.check()
  await vanishes.remove()
  await stays.remove()
})

test('a full range is told as condition and event, and no more once it is larger', async () => {
  const whole = nodeObject(node.plan, randomUUID())
  const range = async () => {
    const { ranges, conditions } = (await show('status')) as {
      ranges: { capacity: number }[]
      conditions: { type: string; reason: string }[]
    }
    const { reason } = conditions.find(({ type }) => type === 'PodAddressesAvailable') ?? {}
    return { capacity: ranges[0]?.capacity, reason }
  }
  const small = { ...whole, spec: { podCIDRs: ['10.244.1.0/30', 'fd00:10:244:1::/64'] } }
  lab.manifests.write(small)
  await eventually('the small range', async () => (await range()).capacity === 1)
  const only = await node.addPod('only')
  expect((await range()).reason).toBe('PoolFull')
  const refused = await node.addPod('more').catch((error: unknown) => error)
  expect(refused).toMatchObject({ cniCode: 102 })
  expect(await show('status')).toMatchObject({
    events: expect.arrayContaining([
      expect.objectContaining({ type: 'Warning', reason: 'PodAddressesExhausted' }),
      expect.objectContaining({
        reason: 'NoPodAddress',
        about: expect.objectContaining({ kind: 'Pod', name: 'more' }),
      }),
    ]),
  })
  lab.manifests.write(whole)
  await eventually('the whole range', async () => (await range()).capacity === 253)
  expect((await range()).reason).toBe('AddressesAvailable')
  const more = await node.addPod('more')
  for (const pod of [only, more]) await pod.remove()
})
