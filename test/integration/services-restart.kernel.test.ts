// The agent dies, and comes back: services go on meanwhile, and afterwards the maps say what the manifests say.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Conversations, FreshConnections } from '../lab/conversation.ts'
import type { Lab, Pod } from '../lab/index.ts'
import { greet, type Place, Upload } from '../lab/talk.ts'
import { TCP_PORT } from '../lab/traffic.ts'
import { type Opened, WHO_PORT } from '../lab/who.ts'
import {
  AGENT,
  addServers,
  answerers,
  clusterIPs,
  dial,
  endpointOf,
  FAMILIES,
  NODE_PORT,
  raiseWithServices,
  removeService,
  SILENCE_SEC,
  unhooked,
  untilAnsweredBy,
  WEB_PORT,
  writeService,
} from './service-stage.ts'

const BYTES = 16 << 20
const MIB_PER_SEC = 8
const PATIENTLY = { timeout: 20_000 }
const STEADY = 10
const LATE = 11
/** Of the services that come and go at once. */
const FIRST = 20
const COUNT = 200
const KILLS = 4
/** Of them under new connections that go on. */
const RETURNS = 2
const MOST_KILL_MS = 400
/** Of new connections to one target, in each state of the agent. */
const MANY = 20
const WHO_NODE_PORT = NODE_PORT + 1

/** Also the ports of transfers and of conversations, which talk to one port wherever they go. */
const PORTS = [
  { name: 'web', port: WEB_PORT, targetPort: 8080 },
  { name: 'transfer', port: TCP_PORT, targetPort: TCP_PORT },
  { name: 'who', port: WHO_PORT, targetPort: WHO_PORT, nodePort: WHO_NODE_PORT },
  { name: 'who-udp', port: WHO_PORT, targetPort: WHO_PORT, protocol: 'UDP' },
] as const
const STEADILY = { ports: PORTS, spec: { type: 'NodePort' } } as const

let lab: Lab
let client: Pod
let a: Pod
let b: Pod

beforeAll(async () => {
  lab = await raiseWithServices('restart')
  ;[client, a] = (await addServers(lab, 1, 'client', 'a')) as [Pod, Pod]
  ;[b] = (await addServers(lab, 2, 'b')) as [Pod]
  writeService(lab, STEADY, [endpointOf(a), endpointOf(b)], STEADILY)
  await untilAnsweredBy(client, clusterIPs(STEADY)[4], ['a', 'b'])
  await untilAnsweredBy(client, clusterIPs(STEADY)[6], ['a', 'b'])
})

afterAll(() => lab?.down())

/** They are held in the order in which their connections came about. */
function sorted(seen: Opened): Opened {
  return [...seen].sort((one, other) => (one?.port ?? 0) - (other?.port ?? 0))
}

async function restart(): Promise<void> {
  const { agent } = lab.node(1)
  agent.start(AGENT)
  await agent.waitReady()
}

describe.each(['sockets', 'packets'] as const)('%s', (seen) => {
  const from = (): Place => (seen === 'sockets' ? client : unhooked(client))

  test('transfers live through kill -9, and new connections need no agent', async () => {
    const transfers = FAMILIES.map(
      (family) => new Upload(from(), clusterIPs(STEADY)[family], BYTES, MIB_PER_SEC),
    )
    for (const transfer of transfers) await transfer.reached(2)
    await lab.node(1).agent.kill('SIGKILL')
    for (const family of FAMILIES) {
      for (const one of await answerers(from(), clusterIPs(STEADY)[family], 4)) {
        expect(['a', 'b']).toContain(one)
      }
    }
    await restart()
    for (const transfer of transfers) {
      const report = await transfer.report()
      expect(report.received).toEqual({ bytes: BYTES, sha256: report.sha256 })
    }
  })

  test('what changed while the agent was away is true when it is back', async () => {
    const at = clusterIPs(LATE)
    writeService(lab, LATE, [endpointOf(a)])
    await untilAnsweredBy(from(), at[4], ['a'])
    await lab.node(1).agent.kill('SIGKILL')
    writeService(lab, LATE, [endpointOf(b)])
    writeService(lab, LATE + 1, [endpointOf(a)])
    expect((await greet(from(), at[6], WEB_PORT)).server).toBe('a')
    await restart()
    for (const family of FAMILIES) {
      await untilAnsweredBy(from(), at[family], ['b'])
      await untilAnsweredBy(from(), clusterIPs(LATE + 1)[family], ['a'])
    }
    await lab.node(1).agent.kill('SIGKILL')
    for (const number of [LATE, LATE + 1]) removeService(lab, number)
    await restart()
    const isSilent = () => dial(from(), at[4], WEB_PORT, SILENCE_SEC)
    await expect.poll(isSilent, PATIENTLY).toBe('silent')
  })

  test('a conversation keeps its backend while others come and it leaves the list', async () => {
    for (const protocol of ['tcp', 'udp'] as const) {
      using held = new Conversations(from(), protocol, clusterIPs(STEADY)[4])
      // One that is late on a busy machine is not held.
      const opened = sorted(await held.open(6)).filter((seen) => seen !== null)
      expect(opened).not.toEqual([])
      writeService(lab, STEADY, [endpointOf(b)], STEADILY)
      await untilAnsweredBy(from(), clusterIPs(STEADY)[4], ['b'])
      // A connection that broke never answers again.
      const asked = async () => sorted(await held.ask())
      if (protocol === 'tcp') await expect.poll(asked, PATIENTLY).toEqual(opened)
      writeService(lab, STEADY, [endpointOf(a), endpointOf(b)], STEADILY)
      await untilAnsweredBy(from(), clusterIPs(STEADY)[4], ['a', 'b'])
    }
  })
})

test('no new connection is lost while the agent dies and comes back, by node ports from outside neither', async () => {
  const addresses = FAMILIES.map((family) => ({
    service: clusterIPs(STEADY)[family],
    node: lab.node(1).plan.internalIps[family === 4 ? 0 : 1] ?? '',
  }))
  const byNode = addresses.map(({ node }) => ({ address: node, port: WHO_NODE_PORT }))
  const byService = addresses.map(({ service }) => ({ address: service, port: WHO_PORT }))
  using outside = new FreshConnections({ machine: lab.outside, name: 'outside' }, byNode)
  using sockets = new FreshConnections(client, [...byService, ...byNode])
  using packets = new FreshConnections(unhooked(client), [...byService, ...byNode])
  const all = [outside, sockets, packets]
  const goOn = () => Promise.all(all.map((one) => one.goOn(MANY)))
  await goOn()
  for (let i = 0; i < RETURNS; i++) {
    await lab.node(1).agent.kill('SIGKILL')
    await goOn()
    await restart()
    await goOn()
  }
  expect(all.flatMap(({ lost }) => lost)).toEqual([])
})

test(`killed in the middle of ${COUNT} services coming and going, the next agent ends in the same state`, async () => {
  const { agent } = lab.node(1)
  const numbers = Array.from({ length: COUNT }, (_, i) => FIRST + i)
  let answering: Pod = a
  for (let kill = 0; kill < KILLS; kill++) {
    answering = kill % 2 === 0 ? a : b
    for (const number of numbers) writeService(lab, number, [endpointOf(answering)])
    await sleep((MOST_KILL_MS * kill) / KILLS) // somewhere in the middle of its work is the test
    await agent.kill('SIGKILL')
    agent.start(AGENT)
    await agent.waitReady()
  }
  for (const number of numbers.filter((n) => n % 17 === 0)) {
    for (const family of FAMILIES) {
      await untilAnsweredBy(client, clusterIPs(number)[family], [answering.name])
    }
  }
  for (const number of numbers) removeService(lab, number)
  await agent.kill('SIGKILL')
  await restart()
  const at = clusterIPs(FIRST)[4]
  const isSilent = () => dial(client, at, WEB_PORT, SILENCE_SEC)
  await expect.poll(isSilent, PATIENTLY).toBe('silent')
  await untilAnsweredBy(client, clusterIPs(STEADY)[4], ['a', 'b'])
})
