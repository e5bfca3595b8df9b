// Consistent hashing on nodes with agents: whichever node a client outside asks, and whatever becomes of agents and of other backends, it gets its own.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, type Lab, type Pod } from '../lab/index.ts'
import { serversOf, Upload } from '../lab/talk.ts'
import { HTTP_PORT } from '../lab/traffic.ts'
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
  PORTS,
  raiseWithServices,
  untilAnsweredBy,
  writeBalanced,
  writeService,
} from './service-stage.ts'
import { whatIsWrong } from './stage.ts'

const ANNOTATED = 1
const PLAIN = 2
const ANNOTATED_PORT = NODE_PORT
const PLAIN_PORT = NODE_PORT + 10
const MAGLEV = { 'sinabro.io/backend-choice': 'maglev' } as const
const RANDOM = { 'sinabro.io/backend-choice': 'random' } as const
const BY_FLAG = { args: [...(AGENT.args ?? []), '--backend-choice', 'maglev'] }
/** Of client ports asked with at once; by chance two nodes never agree on so many. */
const CLIENTS = 40
/** Of those whose backend stays, the share that may get another one: a hundredth is usual. */
const MOST_MOVED = 0.1
const TRANSFERS = 4
const BYTES = 6 << 20
const MIB_PER_SEC = 2

const outsideOf = (lab: Lab) => ({ machine: lab.outside, name: 'outside' })

describe('by any node', () => {
  let lab: Lab
  let backends: Pod[]
  let nextPort = 10_000

  /** Client ports that nobody has asked with. */
  const freshPorts = (count = CLIENTS) => {
    nextPort += count
    return { first: nextPort - count, count }
  }
  const choices = (
    node: number,
    family: Family,
    local: { readonly first: number; readonly count: number },
    port = ANNOTATED_PORT,
  ) => serversOf(outsideOf(lab), nodeAddress(lab, node, family), port, local)

  function writeBoth(pods: readonly Pod[], annotated: Readonly<Record<string, string>> = MAGLEV) {
    const nodePorts = (first: number) => PORTS.map((port, i) => ({ ...port, nodePort: first + i }))
    const endpoints = pods.map((pod) => endpointOf(pod))
    writeService(lab, ANNOTATED, endpoints, {
      ports: nodePorts(ANNOTATED_PORT),
      spec: { type: 'NodePort' },
      annotations: annotated,
    })
    writeService(lab, PLAIN, endpoints, {
      ports: nodePorts(PLAIN_PORT),
      spec: { type: 'NodePort' },
    })
  }

  /** Until both nodes choose alike, of these alone; for other clients each time. A table is there a moment after its backends. */
  async function untilAlike(names: readonly string[], port = ANNOTATED_PORT): Promise<void> {
    for (const family of FAMILIES) {
      await eventually(`both nodes to choose alike of ${names}, by IPv${family}`, async () => {
        const local = freshPorts()
        const ask = (node: number) => choices(node, family, local, port).catch(() => undefined)
        const [one, two] = [await ask(1), await ask(2)]
        return one?.join() === two?.join() && one?.every((name) => names.includes(name)) === true
      })
    }
  }

  beforeAll(async () => {
    lab = await raiseWithServices('maglev')
    const pods = await Promise.all([
      addServers(lab, 1, 'a', 'b'),
      addServers(lab, 2, 'c', 'd', 'e'),
    ])
    backends = pods.flat()
    writeBoth(backends)
    await untilAlike(['a', 'b', 'c', 'd', 'e'])
  })
  afterAll(async () => {
    for (const node of lab?.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
    await lab?.down()
  })

  test.each(FAMILIES)('IPv%i: all backends get clients', async (family) => {
    const heard = await choices(1, family, freshPorts(100))
    expect([...new Set(heard)].sort()).toEqual(['a', 'b', 'c', 'd', 'e'])
  })

  test('a Service without the annotation is served by chance', async () => {
    const local = freshPorts()
    const [one, two] = [
      await choices(1, 4, local, PLAIN_PORT),
      await choices(2, 4, local, PLAIN_PORT),
    ]
    expect(one).not.toEqual(two)
  })

  test('when a backend goes, the clients of the others stay where they are, by another node too', async () => {
    const local = { 4: freshPorts(100), 6: freshPorts(100) }
    const before = { 4: await choices(1, 4, local[4]), 6: await choices(1, 6, local[6]) }
    writeBoth(backends.filter(({ name }) => name !== 'b'))
    await untilAlike(['a', 'c', 'd', 'e'])
    for (const family of FAMILIES) {
      // The other node, which has no rows of them.
      const after = await choices(2, family, local[family])
      const others = before[family].flatMap((name, i) => (name === 'b' ? [] : [[name, after[i]]]))
      const moved = others.filter(([was, is]) => was !== is)
      expect(others.length).toBeGreaterThan(50)
      expect(moved.length).toBeLessThanOrEqual(others.length * MOST_MOVED)
    }
    writeBoth(backends)
    await untilAlike(['a', 'b', 'c', 'd', 'e'])
  })

  test('an agent that is killed and comes back leaves every client where it is', async () => {
    const local = freshPorts()
    const [away, back] = [freshPorts(), freshPorts()]
    const whileAway = await choices(2, 4, away)
    const onceBack = { 4: await choices(2, 4, back), 6: await choices(2, 6, local) }
    const { agent } = lab.node(1)
    await agent.kill('SIGKILL')
    expect(await choices(1, 4, away)).toEqual(whileAway)
    agent.start(AGENT)
    await agent.waitReady()
    expect(await choices(1, 4, back)).toEqual(onceBack[4])
    expect(await choices(1, 6, local)).toEqual(onceBack[6])
  })

  test('--backend-choice says it for all, and the annotation counts before it', async () => {
    for (const { agent } of lab.nodes) {
      await agent.kill('SIGTERM')
      agent.start(BY_FLAG)
    }
    await Promise.all(lab.nodes.map(({ agent }) => agent.waitReady()))
    writeBoth(backends, RANDOM)
    await untilAlike(['a', 'b', 'c', 'd', 'e'], PLAIN_PORT)
    await eventually('both nodes to choose by chance', async () => {
      const local = freshPorts()
      const [one, two] = [await choices(1, 4, local), await choices(2, 4, local)]
      return one.join() !== two.join()
    })
  })
})

describe('with direct server return', () => {
  let lab: Lab

  beforeAll(async () => {
    const args = [...BY_FLAG.args, '--service-forwarding', 'dsr']
    lab = await raiseWithServices('maglev-dsr', { agent: { args } })
    const pods = await Promise.all([addServers(lab, 1, 'a', 'asking'), addServers(lab, 2, 'b')])
    const [a, asking, b] = pods.flat() as [Pod, Pod, Pod]
    writeBalanced(lab, 1, [endpointOf(a), endpointOf(b)])
    await balanceTo(lab, 1)
    for (const family of FAMILIES) {
      await untilAnsweredBy(asking, clusterIPs(1)[family], ['a', 'b'], HTTP_PORT)
    }
  })
  afterAll(async () => {
    for (const node of lab?.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
    await lab?.down()
  })

  test.each(FAMILIES)(
    'IPv%i: transfers go on when the router sends them by the other node, and back',
    async (family) => {
      const transfers = Array.from(
        { length: TRANSFERS },
        () => new Upload(outsideOf(lab), BALANCED[family], BYTES, MIB_PER_SEC),
      )
      for (const [at, node] of [2, 1].entries()) {
        for (const transfer of transfers) await transfer.reached(1 + 2 * at)
        await balanceTo(lab, node)
      }
      for (const transfer of transfers) {
        const report = await transfer.report()
        expect(report.received).toEqual({ bytes: BYTES, sha256: report.sha256 })
      }
    },
  )
})
