// A pod whose MAC a plug-in behind us has changed: `tuning` with `mac`, as it comes with the reference plug-ins; both families.
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, type Lab, type LabNode, type Pod } from '../lab/index.ts'
import { greet, ping, serve } from '../lab/talk.ts'
import { raiseWithPods, whatIsWrong } from './stage.ts'

const TUNING = '/usr/lib/cni/tuning'
const MAC = '02:11:22:33:44:55'
const LATER_MAC = '02:11:22:33:44:66'
const families = [4, 6] as const

let lab: Lab
let node: LabNode
let a: Pod
let b: Pod
let c: Pod

beforeAll(async () => {
  const stage = await raiseWithPods('pod-mac')
  ;({ a, b, c } = stage.pods)
  lab = stage.lab
  node = lab.node(1)
  for (const pod of [a, b, c]) await serve(pod)
})
afterAll(() => lab?.down())

/** The plug-in changes the MAC; the pod's kernel then forgets who its gateways are. */
async function tune(pod: Pod, mac: string): Promise<void> {
  const { containerId, netns, ifname } = pod.attachment
  const config = { cniVersion: '1.0.0', name: 'sinabro', type: 'tuning', mac }
  await node.exec([TUNING], {
    input: JSON.stringify({ ...config, prevResult: pod.result }),
    env: {
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: containerId,
      CNI_NETNS: netns,
      CNI_IFNAME: ifname,
      CNI_PATH: '/opt/cni/bin',
    },
  })
  const { stdout } = await pod.exec(['ip', '-json', 'link', 'show', 'dev', ifname])
  expect(JSON.parse(stdout)).toMatchObject([{ address: mac }])
}

/** Its node first: a pod that has not said a word since, as one that waits for its first probe. */
async function everybodyReaches(pod: Pod): Promise<void> {
  for (const family of families) {
    const address = pod.address(family)
    await eventually(`the node to reach ${address}`, () =>
      ping({ machine: node.machine, name: node.name }, address),
    )
    for (const other of [b, c]) {
      expect(await ping(other, address)).toBe(true)
      expect(await ping(pod, other.address(family))).toBe(true)
      expect(await greet(pod, other.address(family))).toMatchObject({ client: address })
      expect(await greet(other, address)).toMatchObject({ server: pod.name })
    }
  }
}

const isInstalled = existsSync(TUNING)

test('tuning with mac behind us: the pod talks on, its silent node first, and an agent that starts again knows', async (ctx) => {
  ctx.skip(!isInstalled, `${TUNING} is not installed (containernetworking-plugins)`)
  await tune(a, MAC)
  await everybodyReaches(a)
  expect(await whatIsWrong(node)).toEqual([])
  await node.agent.kill('SIGKILL')
  node.agent.start()
  await node.agent.waitReady()
  await everybodyReaches(a)
})

test('without an agent a new MAC keeps the way between pods, and the node’s own comes with the agent', async (ctx) => {
  ctx.skip(!isInstalled, `${TUNING} is not installed (containernetworking-plugins)`)
  await node.agent.kill('SIGKILL')
  await tune(a, LATER_MAC)
  for (const family of families) {
    for (const other of [b, c]) expect(await ping(a, other.address(family))).toBe(true)
  }
  node.agent.start()
  await node.agent.waitReady()
  await everybodyReaches(a)
})

test('a pod that has forgotten its gateways, or asks whether they live, is told', async () => {
  const { ifname } = b.attachment
  const gateways = [
    ['-4', '169.254.1.1'],
    ['-6', 'fe80::1'],
  ] as const
  for (const [family, gateway] of gateways) {
    const neighbour = async () => {
      const { stdout } = await b.exec(['ip', '-json', family, 'neigh', 'show', gateway])
      return JSON.parse(stdout) as { lladdr?: string; state: string[] }[]
    }
    const [born] = await neighbour()
    expect(born).toMatchObject({ state: ['PERMANENT'] })
    await b.exec(['ip', family, 'neigh', 'del', gateway, 'dev', ifname])
    expect(await ping(b, c.address(family === '-4' ? 4 : 6))).toBe(true)
    expect(await neighbour()).toMatchObject([{ lladdr: born?.lladdr }])
    const asking = ['lladdr', born?.lladdr ?? '', 'dev', ifname, 'nud', 'probe']
    await b.exec(['ip', family, 'neigh', 'replace', gateway, ...asking])
    await eventually(`${gateway} to have answered`, async () =>
      (await neighbour()).some(({ state }) => state.includes('REACHABLE')),
    )
  }
})
