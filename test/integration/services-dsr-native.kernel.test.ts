// Direct server return on nodes without a tunnel: the device beside the routes carries a client's packets, and nothing else does.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, type Lab, type Pod } from '../lab/index.ts'
import { nodeObject } from '../lab/manifests.ts'
import { download, echoUdp, greet, upload } from '../lab/talk.ts'
import { HTTP_PORT, TCP_PORT, UDP_PORT } from '../lab/traffic.ts'
import { grown } from './hostile-frames.ts'
import {
  AGENT,
  addServers,
  clusterIPs,
  endpointOf,
  FAMILIES,
  NODE_PORT,
  raiseWithServices,
  untilAnsweredBy,
  writeService,
} from './service-stage.ts'
import { whatIsWrong } from './stage.ts'

const BULK_BYTES = 4 << 20
const TAKEN = { 'sinabro.io/direct-server-return': 'taken' }
const args = [
  ...(AGENT.args ?? []),
  ...['--tunnel', 'none', '--service-forwarding', 'dsr', '--tunnel-family', '4'],
]
const PORTS = [
  { name: 'web', port: HTTP_PORT, targetPort: HTTP_PORT, nodePort: NODE_PORT },
  { name: 'bulk', port: TCP_PORT, targetPort: TCP_PORT, nodePort: NODE_PORT + 1 },
  {
    ...{ name: 'echo', port: UDP_PORT, targetPort: UDP_PORT, nodePort: NODE_PORT + 2 },
    protocol: 'UDP',
  },
] as const
/** Only the router knows them, and that node 1 has them. */
const BALANCED = { 4: '198.51.100.77', 6: '2001:db8:51::77' } as const
const CLIENT = { 4: '172.18.0.254', 6: 'fd18::fe' } as const

let lab: Lab
let asking: Pod
let there: Pod
const outside = () => ({ machine: lab.outside, name: 'outside' })
const askedOf = (family: 4 | 6) => lab.node(1).plan.internalIps[family === 4 ? 0 : 1] ?? ''

async function untilDirect(family: 4 | 6): Promise<void> {
  await eventually('the pod to see the client', async () => {
    const { client } = await greet(outside(), askedOf(family), NODE_PORT)
    return client === CLIENT[family]
  })
}

beforeAll(async () => {
  lab = await raiseWithServices('dsr-native', { agent: { args } })
  // Agents on manifests have nobody to tell: the operator writes it down.
  for (const { plan } of lab.nodes) lab.manifests.write(nodeObject(plan, randomUUID(), TAKEN))
  const [[one], [far]] = (await Promise.all([
    addServers(lab, 1, 'asking'),
    addServers(lab, 2, 'there'),
  ])) as [[Pod], [Pod]]
  asking = one
  there = far
  writeService(lab, 1, [endpointOf(there)], {
    ports: PORTS,
    spec: { type: 'LoadBalancer' },
    status: { loadBalancer: { ingress: FAMILIES.map((family) => ({ ip: BALANCED[family] })) } },
  })
  for (const family of FAMILIES) {
    await lab.outside.exec(['ip', 'route', 'add', BALANCED[family], 'via', askedOf(family)])
    await untilAnsweredBy(asking, clusterIPs(1)[family], ['there'], HTTP_PORT)
    await untilDirect(family)
  }
})

afterAll(async () => {
  for (const node of lab?.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
  await lab?.down()
})

describe.each(FAMILIES)('IPv%i', (family) => {
  test('the pod’s node answers the client itself, who is seen', async () => {
    const passed = await grown(lab.node(1), ['from_uplink/out', 'from_uplink/node'], async () => {
      expect(await greet(outside(), askedOf(family), NODE_PORT)).toEqual({
        server: 'there',
        client: CLIENT[family],
      })
      const report = await echoUdp(outside(), askedOf(family), 20, 1200, NODE_PORT + 2)
      expect(report).toEqual({ sent: 20, echoed: 20 })
    })
    expect(passed['from_uplink/node']).toBeGreaterThan(20)
    expect(passed['from_uplink/out']).toBe(0)
  })

  test('bulk both ways: who sends more than the device carries is told', async () => {
    const asked = BALANCED[family]
    const sent = await upload(outside(), asked, BULK_BYTES)
    expect(sent.received).toEqual({ bytes: BULK_BYTES, sha256: sent.sha256 })
    expect((await download(outside(), asked, BULK_BYTES)).isWhole).toBe(true)
    for (const size of [1500 - (family === 4 ? 28 : 48), 5000]) {
      const report = await echoUdp(outside(), asked, 3, size)
      expect(report.echoed, `${size}`).toBeGreaterThan(0)
    }
  })

  test('pods go on by the link', async () => {
    const passed = await grown(
      lab.node(2),
      ['from_overlay/local', 'from_uplink/local'],
      async () => {
        const [address = ''] = there.addresses.filter((one) => one.includes(':') === (family === 6))
        expect(await greet(asking, address, HTTP_PORT)).toMatchObject({ server: 'there' })
      },
    )
    expect(passed['from_uplink/local']).toBeGreaterThan(0)
    expect(passed['from_overlay/local']).toBe(0)
  })
})

test('it goes on while the agent is away, and when it is back', async () => {
  for (const number of [1, 2] as const) {
    const { agent } = lab.node(number)
    await agent.kill('SIGKILL')
    for (const family of FAMILIES) {
      const answer = await greet(outside(), askedOf(family), NODE_PORT)
      expect(answer).toEqual({ server: 'there', client: CLIENT[family] })
    }
    agent.start({ args })
    await agent.waitReady()
    for (const family of FAMILIES) {
      const answer = await greet(outside(), askedOf(family), NODE_PORT)
      expect(answer).toEqual({ server: 'there', client: CLIENT[family] })
    }
  }
})
