// Node ports where the kernel carries what nodes send each other: a host outside reaches pods of the node that it did not ask.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Lab, Pod } from '../lab/index.ts'
import { echoUdp, greet } from '../lab/talk.ts'
import {
  AGENT,
  addServers,
  clusterIPs,
  endpointOf,
  FAMILIES,
  NODE_PORT,
  PORTS,
  raiseWithServices,
  untilAnsweredBy,
  writeService,
} from './service-stage.ts'
import { whatIsWrong } from './stage.ts'

describe.each(['kernel', 'none'] as const)('--tunnel %s', (tunnel) => {
  let lab: Lab
  let there: Pod

  beforeAll(async () => {
    const args = [...(AGENT.args ?? []), '--tunnel', tunnel]
    lab = await raiseWithServices(`by-stack-${tunnel}`, { agent: { args } })
    const [[asking], [far]] = (await Promise.all([
      addServers(lab, 1, 'asking'),
      addServers(lab, 2, 'there'),
    ])) as [[Pod], [Pod]]
    there = far
    const ports = PORTS.map((port, i) => ({ ...port, nodePort: NODE_PORT + i }))
    writeService(lab, 1, [endpointOf(there)], { ports, spec: { type: 'NodePort' } })
    for (const family of FAMILIES) {
      await untilAnsweredBy(asking, clusterIPs(1)[family], ['there'])
    }
  })

  afterAll(async () => {
    for (const node of lab?.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
    await lab?.down()
  })

  test.each(FAMILIES)(
    'IPv%i: TCP and datagrams, in the name of the node that is asked',
    async (family) => {
      const outside = { machine: lab.outside, name: 'outside' }
      const asked = lab.node(1).plan.internalIps[family === 4 ? 0 : 1] ?? ''
      const heard = await greet(outside, asked, NODE_PORT)
      expect(heard.server).toBe('there')
      expect(heard.client).not.toBe(family === 4 ? '172.18.0.254' : 'fd18::fe')
      const report = await echoUdp(outside, asked, 20, 1200, NODE_PORT + 1)
      expect(report).toEqual({ sent: 20, echoed: 20 })
    },
  )
})
