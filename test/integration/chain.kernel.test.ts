// CNI as a runtime speaks it with lists, capabilities and several interfaces: the real executable, and Debian's tuning plug-in behind it.
import { existsSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Lab, type LabNode, Pod } from '../lab/index.ts'
import { readAllocations } from '../lab/node-state.ts'
import { Runtime } from '../lab/runtime.ts'
import { ping } from '../lab/talk.ts'
import { raise, whatIsWrong } from './stage.ts'

const NAME = 'chain'
const TUNING = '/usr/lib/cni/tuning'
let lab: Lab
let node: LabNode

beforeAll(async () => {
  lab = await raise(NAME, { nodes: 1 })
  node = lab.node(1)
})

afterAll(() => lab?.down())

afterEach(async () => {
  for (const pod of node.pods()) await pod.remove()
  expect(readAllocations(node.machine)).toEqual([])
})

interface Call {
  readonly verb: string
  readonly config?: Readonly<Record<string, unknown>>
  readonly pod?: Pod
  readonly ifname?: string
  readonly program?: string
  readonly cniVersion?: string
}

interface Answer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>> & {
    readonly code?: number
    readonly interfaces?: readonly { readonly name: string; readonly mac?: string }[]
    readonly ips?: readonly { readonly address: string; readonly interface?: number }[]
  }
}

/** One plug-in, once; what it says is the answer, whether it succeeds or not. */
async function call({ verb, config, pod, ifname, program, cniVersion }: Call): Promise<Answer> {
  const list = new Runtime(node.machine).networkList()
  const { capabilities: _, ...own } = list.plugins[0] ?? { type: '' }
  const input = { ...own, name: list.name, cniVersion: cniVersion ?? '1.0.0', ...config }
  const { status, stdout } = await node.machine.exec([program ?? '/opt/cni/bin/sinabro-cni'], {
    input: JSON.stringify(input),
    canFail: true,
    env: {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: pod?.attachment.containerId ?? '',
      CNI_NETNS: pod?.attachment.netns ?? '',
      CNI_IFNAME: ifname ?? pod?.attachment.ifname ?? '',
      CNI_PATH: '/opt/cni/bin',
    },
  })
  return { status, body: stdout.trim() === '' ? {} : JSON.parse(stdout) }
}

async function inside<T>(pod: Pod, argv: readonly string[]): Promise<T> {
  const { stdout } = await pod.exec(['ip', '-json', ...argv])
  return JSON.parse(stdout) as T
}

test('ADD behind another plug-in puts its result behind that one’s', async () => {
  const pod = await Pod.prepare(node.machine, 'behind')
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{ name: 'other0', sandbox: pod.attachment.netns }],
    ips: [{ address: '192.0.2.7/24', interface: 0 }],
    dns: { nameservers: ['192.0.2.53'] },
  }
  const { status, body } = await call({ verb: 'ADD', pod, config: { prevResult } })
  expect(status).toBe(0)
  expect(body.interfaces?.map(({ name }) => name)).toEqual([
    'other0',
    expect.stringMatching(/^sb/),
    'eth0',
  ])
  expect(body.ips?.map((ip) => ip.interface)).toEqual([0, 2, 2])
  expect(body.dns).toEqual({ nameservers: ['192.0.2.53'] })
  expect((await call({ verb: 'CHECK', pod, config: { prevResult: body } })).status).toBe(0)
})

test('capabilities: the addresses and the MAC that the runtime names are those of the pod, after a restart too', async () => {
  const pod = await Pod.prepare(node.machine, 'asked')
  const mac = '02:00:0a:01:00:04'
  const wanted = ['10.244.1.77', 'fd00:10:244:1::77']
  const config = { runtimeConfig: { ips: wanted, mac } }
  const { status, body } = await call({ verb: 'ADD', pod, config })
  expect({ status, code: body.code, msg: body.msg }).toEqual({ status: 0 })
  expect(body.ips?.map(({ address }) => address)).toEqual([`${wanted[0]}/32`, `${wanted[1]}/128`])
  const isMac = async () => {
    const [link] = await inside<{ address: string }[]>(pod, ['link', 'show', 'dev', 'eth0'])
    return link?.address === mac
  }
  expect(await isMac()).toBe(true)
  expect(await ping({ machine: node.machine, name: 'node1' }, wanted[0] ?? '')).toBe(true)
  await node.agent.kill('SIGKILL')
  node.agent.start()
  await node.agent.waitReady()
  expect((await call({ verb: 'CHECK', pod, config: { ...config, prevResult: body } })).status).toBe(
    0,
  )
  expect((await call({ verb: 'ADD', pod, config })).body).toEqual(body)
  expect(await isMac()).toBe(true)
})

test.each([
  ['an address that is none', { ips: ['10.244.1'] }, 7],
  ['an address of another node', { ips: ['10.244.99.5'] }, 106],
  ['the node’s own address', { ips: ['10.244.1.1'] }, 106],
  ['a list that is none', { ips: 'x' }, 7],
  ['a MAC that is none', { mac: '02:00' }, 7],
  ['the MAC of a group', { mac: '01:00:5e:00:00:01' }, 7],
])('ADD asking for %s is refused and leaves nothing', async (_, runtimeConfig, code) => {
  const pod = await Pod.prepare(node.machine, 'refused')
  const { status, body } = await call({ verb: 'ADD', pod, config: { runtimeConfig } })
  expect(status).not.toBe(0)
  expect(body.code).toBe(code)
  expect(await whatIsWrong(node, [])).toEqual([])
})

test('of several interfaces of one container the first has the default route, and each its own addresses', async () => {
  const pod = await node.addPod('several')
  const second = await call({ verb: 'ADD', pod, ifname: 'net1' })
  expect(second.status).toBe(0)
  const routes = await inside<{ dev: string }[]>(pod, ['-4', 'route', 'show', 'default'])
  expect(routes.map(({ dev }) => dev)).toEqual(['eth0'])
  const six = await inside<{ dev: string }[]>(pod, ['-6', 'route', 'show', 'default'])
  expect(six.map(({ dev }) => dev)).toEqual(['eth0'])
  const config = { prevResult: second.body }
  expect((await call({ verb: 'CHECK', pod, ifname: 'net1', config })).status).toBe(0)
  expect((await call({ verb: 'DEL', pod, ifname: 'net1' })).status).toBe(0)
  await pod.check()
  expect(await ping({ machine: node.machine, name: 'node1' }, pod.address(4))).toBe(true)
})

test('ADD twice at once gives one answer, and a DEL during ADD leaves nothing', async () => {
  const pod = await Pod.prepare(node.machine, 'raced')
  const [one, two] = await Promise.all([call({ verb: 'ADD', pod }), call({ verb: 'ADD', pod })])
  expect(one.status).toBe(0)
  expect(two).toEqual(one)
  expect(readAllocations(node.machine)).toHaveLength(1)
  await call({ verb: 'DEL', pod })
  for (let round = 0; round < 5; round++) {
    const adding = call({ verb: 'ADD', pod })
    const deleting = call({ verb: 'DEL', pod })
    const [add, del] = await Promise.all([adding, deleting])
    expect(del.status).toBe(0)
    if (add.status !== 0) expect(add.body.code).toBe(11)
    await call({ verb: 'DEL', pod })
    expect(await whatIsWrong(node, [])).toEqual([])
  }
})

test('GC keeps what is listed, removes the rest, and removes nothing without a list', async () => {
  const [kept, lost] = [await node.addPod('kept'), await node.addPod('lost')]
  const gc = (list: unknown) =>
    call({ verb: 'GC', cniVersion: '1.1.0', config: { 'cni.dev/valid-attachments': list } })
  expect((await gc(null)).body.code).toBe(7)
  expect(await whatIsWrong(node, [kept, lost])).toEqual([])
  const { containerId: containerID, ifname } = kept.attachment
  expect((await gc([{ containerID, ifname }])).status).toBe(0)
  expect(await whatIsWrong(node, [kept])).toEqual([])
  await kept.check()
  expect((await gc([])).status).toBe(0)
  expect(await whatIsWrong(node, [])).toEqual([])
})

test('STATUS is fine for a ready agent, with and without an eye on the pool', async () => {
  for (const statusReportsFullPool of [undefined, false, true]) {
    const config = { statusReportsFullPool }
    expect((await call({ verb: 'STATUS', cniVersion: '1.1.0', config })).status).toBe(0)
  }
})

test('a queued DEL older than the latest ADD does not undo it, though the agent was restarted in between', async () => {
  const pod = await node.addPod('again')
  await node.agent.kill('SIGKILL')
  await pod.del()
  const queue = `${node.machine.places.stateDir}/queue`
  const stale = `${node.machine.places.stateDir}/stale`
  await node.machine.exec(['mv', queue, stale])
  node.agent.start()
  await node.agent.waitReady()
  await pod.add()
  await node.agent.kill('SIGKILL')
  await node.machine.exec(['sh', '-c', `mv ${stale}/* ${queue}/ && rmdir ${stale}`])
  node.agent.start()
  await node.agent.waitReady()
  await pod.check()
  expect(await ping({ machine: node.machine, name: 'node1' }, pod.address(4))).toBe(true)
})

test('tuning behind us sets what it is asked to, and CHECK accepts it', async (ctx) => {
  ctx.skip(!existsSync(TUNING), `${TUNING} is not installed (containernetworking-plugins)`)
  const pod = await node.addPod('tuned')
  const config = { type: 'tuning', sysctl: { 'net.ipv4.conf.eth0.log_martians': '1' }, mtu: 1300 }
  const tuned = await call({
    verb: 'ADD',
    pod,
    program: TUNING,
    config: { ...config, prevResult: pod.result },
  })
  expect({ status: tuned.status, msg: tuned.body.msg }).toEqual({ status: 0 })
  const [link] = await inside<{ mtu: number }[]>(pod, ['link', 'show', 'dev', 'eth0'])
  expect(link?.mtu).toBe(1300)
  expect((await call({ verb: 'CHECK', pod, config: { prevResult: tuned.body } })).status).toBe(0)
  expect(await ping({ machine: node.machine, name: 'node1' }, pod.address(4))).toBe(true)
})
