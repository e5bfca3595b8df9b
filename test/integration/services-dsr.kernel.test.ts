// Direct server return on nodes with agents: a host outside asks one node, and a pod of the other answers it past that one. Without a
// tunnel a device beside the routes carries that, and nothing else.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, type Lab, type Pod } from '../lab/index.ts'
import { nodeObject } from '../lab/manifests.ts'
import { download, echoUdp, greet, upload } from '../lab/talk.ts'
import { HTTP_PORT } from '../lab/traffic.ts'
import { grown } from './hostile-frames.ts'
import {
  AGENT,
  addServers,
  BALANCED,
  balanceTo,
  clusterIPs,
  endpointOf,
  FAMILIES,
  type Family,
  NODE_PORT,
  nodeAddress,
  raiseWithServices,
  untilAnsweredBy,
  writeBalanced,
} from './service-stage.ts'
import { whatIsWrong } from './stage.ts'

const BULK_BYTES = 4 << 20
const CLIENT = { 4: '172.18.0.254', 6: 'fd18::fe' } as const
/** Agents on manifests have nobody to tell: the operator writes it down. */
const TAKEN = { 'sinabro.io/direct-server-return': 'taken' }

describe.each([
  ['bpf', 4],
  ['bpf', 6],
  ['none', 4],
  ['none', 6],
] as const)('--tunnel %s, outer IPv%i', (tunnel, outer) => {
  const forwarding = ['--service-forwarding', 'dsr', '--tunnel-family', `${outer}`]
  const args = [...(AGENT.args ?? []), '--tunnel', tunnel, ...forwarding]
  let lab: Lab
  let asking: Pod
  let there: Pod
  const outside = () => ({ machine: lab.outside, name: 'outside' })
  const ask = (family: Family) => greet(outside(), nodeAddress(lab, 1, family), NODE_PORT)

  beforeAll(async () => {
    lab = await raiseWithServices(`dsr-${tunnel}-${outer}`, { agent: { args } })
    if (tunnel === 'none') {
      for (const { plan } of lab.nodes) lab.manifests.write(nodeObject(plan, randomUUID(), TAKEN))
    }
    const [[one], [far]] = (await Promise.all([
      addServers(lab, 1, 'asking'),
      addServers(lab, 2, 'there'),
    ])) as [[Pod], [Pod]]
    asking = one
    there = far
    writeBalanced(lab, 1, [endpointOf(there)])
    for (const family of FAMILIES) {
      await untilAnsweredBy(asking, clusterIPs(1)[family], ['there'], HTTP_PORT)
      await eventually('the pod to see who asks', async () => {
        return (await ask(family)).client === CLIENT[family]
      })
    }
    await balanceTo(lab, 1)
  })

  afterAll(async () => {
    for (const node of lab?.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
    await lab?.down()
  })

  describe.each(FAMILIES)('IPv%i', (family) => {
    test('by a node port: TCP and datagrams, and the pod sees who asks', async () => {
      const answers = tunnel === 'none' ? 'from_uplink/out' : 'from_overlay/out'
      const passed = await grown(lab.node(1), [answers, 'from_uplink/node'], async () => {
        expect(await ask(family)).toEqual({ server: 'there', client: CLIENT[family] })
        const asked = nodeAddress(lab, 1, family)
        const report = await echoUdp(outside(), asked, 20, 1200, NODE_PORT + 2)
        expect(report).toEqual({ sent: 20, echoed: 20 })
      })
      expect(passed['from_uplink/node']).toBeGreaterThan(20)
      expect(passed[answers]).toBe(0)
    })

    test('by a balancer’s address: bulk both ways, and datagrams that need fragments', async () => {
      const asked = BALANCED[family]
      const sent = await upload(outside(), asked, BULK_BYTES)
      expect(sent.received).toEqual({ bytes: BULK_BYTES, sha256: sent.sha256 })
      expect((await download(outside(), asked, BULK_BYTES)).isWhole).toBe(true)
      // The longest that leaves the host whole, and is too long for the tunnel: the host is told, or it is cut up.
      for (const size of [1500 - (family === 4 ? 28 : 48), 5000]) {
        const report = await echoUdp(outside(), asked, 3, size)
        expect(report.echoed, `${size}`).toBeGreaterThan(0)
      }
    })

    test('pods go on by the link, or by the tunnel where there is one', async () => {
      const ways = ['from_uplink/local', 'from_overlay/local'] as const
      const [way, other] = tunnel === 'none' ? ways : ways.toReversed()
      const passed = await grown(lab.node(2), [...ways], async () => {
        const [address = ''] = there.addresses.filter((one) => one.includes(':') === (family === 6))
        expect(await greet(asking, address, HTTP_PORT)).toMatchObject({ server: 'there' })
      })
      expect(passed[way ?? '']).toBeGreaterThan(0)
      expect(passed[other ?? '']).toBe(0)
    })
  })

  test('it goes on while the agent is away, and when it is back', async () => {
    const answered = async () => {
      for (const family of FAMILIES) {
        expect(await ask(family)).toEqual({ server: 'there', client: CLIENT[family] })
      }
    }
    for (const { agent } of lab.nodes) {
      await agent.kill('SIGKILL')
      await answered()
      agent.start({ args })
      await agent.waitReady()
      await answered()
    }
  })
})
