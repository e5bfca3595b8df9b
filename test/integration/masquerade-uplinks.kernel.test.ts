// The way out changes: two uplinks, several addresses, one that is taken away, a default route that moves while no agent runs.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Conversations } from '../lab/conversation.ts'
import { eventually, type Pod } from '../lab/index.ts'
import { addSecondUplink, SECOND_UPLINK, secondAddress } from '../lab/second-uplink.ts'
import { greet, ping } from '../lab/talk.ts'
import { grown } from './hostile-frames.ts'
import { FAMILIES, type MasqueradeStage, raiseMasquerading } from './masquerade-stage.ts'
import { whatIsWrong } from './stage.ts'

const ROUTER = { 4: '172.18.0.254', 6: 'fd18::fe' } as const
const LENGTH = { 4: 24, 6: 64 } as const
/** More of the first uplink. */
const OTHERS = { 4: ['172.18.0.101', '172.18.0.51'], 6: ['fd18::101', 'fd18::51'] } as const
/** Behind the router, as FarHost has it. */
const NARROW = { 4: '198.51.100.0/24', 6: '2001:db8:51::/64' } as const

let stage: MasqueradeStage
let pod: Pod

beforeAll(async () => {
  stage = await raiseMasquerading('uplinks', 'ebpf')
  await addSecondUplink(stage.lab)
  for (const family of FAMILIES) {
    await routes(family, `add default via ${secondAddress(family)} metric 4000`)
  }
  pod = await stage.lab.node(1).addPod('pod')
  await eventually('the second uplink to be found', async () => {
    const programs = await stage.lab.node(1).agent.get('/v1/programs')
    return JSON.stringify(programs).includes(`"${SECOND_UPLINK}"`)
  })
})

afterAll(() => stage?.lab.down())

afterEach(async () => {
  const node = stage.lab.node(1)
  for (const family of FAMILIES) {
    await node.exec(['ip', 'route', 'del', NARROW[family]], { canFail: true })
    for (const other of OTHERS[family]) await address(family, 'del', other)
    await address(family, 'replace', stage.nodeAddress(family))
    await routes(family, `replace default via ${ROUTER[family]}`)
  }
  if (node.agent.pids().length > 0) return
  node.agent.start({ args: ['--masquerade', 'ebpf'] })
  await node.agent.waitReady()
})

async function routes(family: 4 | 6, what: string): Promise<void> {
  await stage.lab.node(1).exec(['ip', `-${family}`, 'route', ...what.split(' ')])
}

/** On the first uplink; nobody minds one that is not there. */
async function address(family: 4 | 6, verb: 'add' | 'del' | 'replace', one: string): Promise<void> {
  const more = verb !== 'del' && family === 6 ? ['nodad'] : []
  const whole = [`${one}/${LENGTH[family]}`, 'dev', 'eth0', ...more]
  await stage.lab.node(1).exec(['ip', 'address', verb, ...whole], { canFail: verb === 'del' })
}

async function ownSource(host: string): Promise<string> {
  const { stdout } = await stage.lab.node(1).exec(['ip', '-j', 'route', 'get', host])
  const [route] = JSON.parse(stdout) as { prefsrc: string }[]
  return route?.prefsrc ?? ''
}

/** Of new connections, as soon as the agent has seen what changed; and it is our programs that translate them. */
async function expectSeenAs(family: 4 | 6, host: string, address: string): Promise<void> {
  const isSeen = async () => {
    const { client } = await greet(pod, host)
    return client
  }
  await expect.poll(isSeen, { timeout: 20_000 }).toBe(address)
  const counts = await grown(stage.lab.node(1), ['from_pod/out'], isSeen)
  expect(counts['from_pod/out'], `IPv${family} by our programs`).toBeGreaterThan(0)
}

describe.each(FAMILIES)('IPv%i', (family) => {
  const far = () => stage.far.address(family)
  const narrow = () => stage.far.narrowAddress(family)
  const first = () => stage.nodeAddress(family)
  const second = secondAddress(family, 1)
  const [other, renewed] =
    family === 4 ? ['172.18.0.101', '172.18.0.51'] : ['fd18::101', 'fd18::51']

  test('each destination by the uplink that its route names, under the address there', async () => {
    await routes(family, `add ${NARROW[family]} via ${secondAddress(family)}`)
    await expectSeenAs(family, far(), first())
    await expectSeenAs(family, narrow(), second)
    for (const address of [far(), narrow()]) expect(await ping(pod, address)).toBe(true)
  })

  test('the source that a route prefers', async () => {
    await address(family, 'add', other)
    await routes(family, `add ${NARROW[family]} via ${ROUTER[family]} src ${other}`)
    await expectSeenAs(family, narrow(), other)
    await routes(family, `del ${NARROW[family]}`)
    // Without one, that which the node itself would take.
    await expectSeenAs(family, narrow(), await ownSource(narrow()))
  })

  test('with strict reverse paths', async () => {
    const settings = ['all', 'eth0'].map((device) => `net.ipv4.conf.${device}.rp_filter`)
    const { stdout } = await stage.lab.node(1).exec(['sysctl', '-n', ...settings])
    const before = stdout.trim().split('\n')
    const set = (values: readonly string[]) =>
      stage.lab
        .node(1)
        .exec(['sysctl', '-qw', ...settings.map((setting, i) => `${setting}=${values[i]}`)])
    await set(['1', '1'])
    await expectSeenAs(family, far(), first())
    expect(await ping(pod, far())).toBe(true)
    await set(before)
  })

  test('an address that is taken away and replaced: TCP ends fast, datagrams and what is new go on', async () => {
    using tcp = new Conversations(pod, 'tcp', far())
    using udp = new Conversations(pod, 'udp', far())
    for (const each of [tcp, udp]) expect(await each.open()).toMatchObject([{ address: first() }])
    await address(family, 'del', first())
    await address(family, 'add', renewed)
    await routes(family, `replace default via ${ROUTER[family]} dev eth0`)
    await expectSeenAs(family, far(), renewed)
    await expect.poll(() => udp.ask()).toMatchObject([{ address: renewed }])
    // Reset, not left to wait: a second question finds it closed.
    expect(await tcp.ask()).toEqual([null])
    expect(await tcp.ask()).toEqual([null])
  })

  test('a default route that moves while no agent runs', async () => {
    const node = stage.lab.node(1)
    using old = new Conversations(pod, 'tcp', far())
    const seen = await old.open()
    expect(seen).toMatchObject([{ address: first() }])
    await node.agent.kill('SIGKILL')
    await routes(family, `replace default via ${secondAddress(family)}`)
    expect((await greet(pod, far())).client).toBe(second)
    // What is open keeps its address, and follows the route.
    await expect.poll(() => old.ask(), { timeout: 20_000 }).toEqual(seen)
    node.agent.start({ args: ['--masquerade', 'ebpf'] })
    await node.agent.waitReady()
    await expectSeenAs(family, far(), second)
    await expect.poll(() => old.ask(), { timeout: 20_000 }).toEqual(seen)
    await routes(family, `replace default via ${ROUTER[family]}`)
    await expectSeenAs(family, far(), first())
    await expect.poll(() => old.ask(), { timeout: 20_000 }).toEqual(seen)
  })

  test('nothing of it left under the pod’s own address, and the node is as it was', async () => {
    expect(await stage.leaks()).toBe(0)
    expect(await whatIsWrong(stage.lab.node(1))).toEqual([])
  })
})
