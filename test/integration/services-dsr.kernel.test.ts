// Direct server return on nodes with agents: a host outside asks one node, and a pod of the other answers it past that one.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Lab, Pod } from '../lab/index.ts'
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
  NODE_PORT,
  nodeAddress,
  raiseWithServices,
  untilAnsweredBy,
  writeBalanced,
} from './service-stage.ts'
import { whatIsWrong } from './stage.ts'

const BULK_BYTES = 4 << 20

describe.each([4, 6] as const)('outer IPv%i', (outer) => {
  let lab: Lab
  let there: Pod

  beforeAll(async () => {
    const forwarding = ['--service-forwarding', 'dsr', '--tunnel-family', `${outer}`]
    const args = [...(AGENT.args ?? []), ...forwarding]
    lab = await raiseWithServices(`dsr-${outer}`, { agent: { args } })
    const [[asking], [far]] = (await Promise.all([
      addServers(lab, 1, 'asking'),
      addServers(lab, 2, 'there'),
    ])) as [[Pod], [Pod]]
    there = far
    writeBalanced(lab, 1, [endpointOf(there)])
    for (const family of FAMILIES) {
      await untilAnsweredBy(asking, clusterIPs(1)[family], ['there'], HTTP_PORT)
    }
    await balanceTo(lab, 1)
  })

  afterAll(async () => {
    for (const node of lab?.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
    await lab?.down()
  })

  describe.each(FAMILIES)('IPv%i', (family) => {
    const outside = () => ({ machine: lab.outside, name: 'outside' })
    const client = family === 4 ? '172.18.0.254' : 'fd18::fe'

    test('by a node port: TCP and datagrams, and the pod sees who asks', async () => {
      const asked = nodeAddress(lab, 1, family)
      const passed = await grown(
        lab.node(1),
        ['from_overlay/out', 'from_uplink/node'],
        async () => {
          expect(await greet(outside(), asked, NODE_PORT)).toEqual({ server: 'there', client })
          const report = await echoUdp(outside(), asked, 20, 1200, NODE_PORT + 2)
          expect(report).toEqual({ sent: 20, echoed: 20 })
        },
      )
      expect(passed['from_uplink/node']).toBeGreaterThan(20)
      expect(passed['from_overlay/out']).toBe(0)
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
  })
})
