// Services of both families as pods, nodes and hosts outside meet them, with and without programs at their sockets.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Conversations } from '../lab/conversation.ts'
import { eventually, type Lab, type Pod } from '../lab/index.ts'
import { echoUdp, greet, type Place, serve } from '../lab/talk.ts'
import { WHO_PORT } from '../lab/who.ts'
import { grown } from './hostile-frames.ts'
import { knock, nodePlace } from './masquerade-stage.ts'
import {
  addServers,
  answerers,
  BALANCED,
  balanceTo,
  clusterIPs,
  dial,
  ECHO_PORT,
  endpointOf,
  FAMILIES,
  hostEndpoint,
  NODE_PORT,
  PORTS,
  raiseWithServices,
  SILENCE_SEC,
  unhooked,
  untilAnsweredBy,
  WEB_PORT,
  writeBalanced,
  writeService,
} from './service-stage.ts'
import { whatIsWrong } from './stage.ts'

/** Numbers of services, which are the ends of their addresses. */
const MANY = 10
const STICKY = 11
const EMPTY = 12
const OWN = 13
const HOST = 14
const NODE_PORTS = 15
const LOCAL = 16
const TERMINATING = 17
const DATAGRAMS = 18
const NOBODY = 99

let lab: Lab
let a: Pod
let b: Pod
let client: Pod
let far: Pod

beforeAll(async () => {
  lab = await raiseWithServices('behaviour')
  ;[[a, client], [b, far]] = (await Promise.all([
    addServers(lab, 1, 'a', 'client'),
    addServers(lab, 2, 'b', 'far'),
  ])) as [[Pod, Pod], [Pod, Pod]]
  for (const number of [1, 2]) await serve(nodePlace(lab, number))
  const both = [endpointOf(a), endpointOf(b)]
  writeService(lab, MANY, both)
  writeService(lab, STICKY, both, { spec: { sessionAffinity: 'ClientIP' } })
  writeService(lab, EMPTY, [])
  writeService(lab, OWN, [endpointOf(client)])
  writeService(lab, HOST, [hostEndpoint(lab, 1), hostEndpoint(lab, 2)])
  const ports = PORTS.map((port, i) => ({ ...port, nodePort: NODE_PORT + i }))
  writeService(lab, NODE_PORTS, both, { ports, spec: { type: 'NodePort' } })
  const localPorts = PORTS.map((port, i) => ({ ...port, nodePort: NODE_PORT + 10 + i }))
  writeService(lab, LOCAL, [endpointOf(b)], {
    ports: localPorts,
    spec: { type: 'NodePort', externalTrafficPolicy: 'Local' },
  })
  writeService(lab, TERMINATING, [endpointOf(b, { isTerminating: true })])
  // The last one that was written is the last that is known.
  for (const pod of [client, far]) {
    await untilAnsweredBy(pod, clusterIPs(TERMINATING)[4], ['b'])
    await untilAnsweredBy(pod, clusterIPs(TERMINATING)[6], ['b'])
  }
})

afterAll(async () => {
  for (const node of lab?.nodes ?? []) expect(await whatIsWrong(node)).toEqual([])
  await lab?.down()
})

const SEES = {
  sockets: (pod: Pod): Place => pod,
  packets: unhooked,
} as const

describe.each(['sockets', 'packets'] as const)('a pod whose %s are seen', (seen) => {
  const from = () => SEES[seen](client)

  describe.each(FAMILIES)('IPv%i', (family) => {
    const at = (number: number) => clusterIPs(number)[family]

    test('reaches each backend over TCP, on its own node and on another', async () => {
      await untilAnsweredBy(from(), at(MANY), ['a', 'b'])
    })

    test('is seen by backends as itself', async () => {
      const own = client.address(family)
      expect((await greet(from(), at(MANY), WEB_PORT)).client).toBe(own)
    })

    test('reaches backends over UDP', async () => {
      const report = await echoUdp(from(), at(MANY), 20, 1200, ECHO_PORT)
      expect(report).toEqual({ sent: 20, echoed: 20 })
    })

    test('keeps its backend where the service says so', async () => {
      const heard = await answerers(from(), at(STICKY), 12)
      expect(new Set(heard).size).toBe(1)
    })

    test('is refused at once where nobody serves', async () => {
      expect(await dial(from(), at(EMPTY))).toBe('refused')
      expect(await knock(from(), at(EMPTY), ECHO_PORT)).toContain('refused')
    })

    test('is refused at once at a port that no service has', async () => {
      expect(await dial(from(), at(MANY), 81)).toBe('refused')
      expect(await knock(from(), at(MANY), 8)).toContain('refused')
    })

    test('is dropped at an address that no service has', async () => {
      const names = ['from_pod/service_address'] as const
      const counts = await grown(lab.node(1), names, async () => {
        expect(await dial(from(), at(NOBODY), WEB_PORT, SILENCE_SEC)).toBe('silent')
      })
      expect(counts[names[0]]).toBeGreaterThan(0)
    })

    test('reaches itself', async () => {
      expect((await greet(from(), at(OWN), WEB_PORT)).server).toBe('client')
      const report = await echoUdp(from(), at(OWN), 3, 100, ECHO_PORT)
      expect(report).toEqual({ sent: 3, echoed: 3 })
    })

    test('reaches backends in the hosts’ network', async () => {
      await untilAnsweredBy(from(), at(HOST), ['node1', 'node2'])
    })

    test('reaches who is ending when nobody else is left', async () => {
      expect((await greet(from(), at(TERMINATING), WEB_PORT)).server).toBe('b')
    })

    test('reaches node ports of its own node and of another', async () => {
      for (const { plan } of lab.nodes) {
        const address = plan.internalIps[family === 4 ? 0 : 1] ?? ''
        await untilAnsweredBy(from(), address, ['a', 'b'], NODE_PORT)
      }
    })
  })
})

describe.each(FAMILIES)('IPv%i', (family) => {
  const at = (number: number) => clusterIPs(number)[family]
  const nodeAddress = (number: number) =>
    lab.node(number).plan.internalIps[family === 4 ? 0 : 1] ?? ''

  test('processes of a node reach services', async () => {
    for (const number of [1, 2]) {
      const node = nodePlace(lab, number)
      await untilAnsweredBy(node, at(MANY), ['a', 'b'])
      expect((await echoUdp(node, at(MANY), 3, 100, ECHO_PORT)).echoed).toBe(3)
      await untilAnsweredBy(node, nodeAddress(number), ['a', 'b'], NODE_PORT)
      expect(await dial(node, at(EMPTY))).toBe('refused')
    }
  })

  test('of a node’s process nothing leaves for an address or port that no service has', async () => {
    const { machine } = nodePlace(lab, 1)
    const say = async (protocol: string, address: string, port: number) => {
      const script = `exec 3<>"/dev/${protocol}/$0/$1" && echo >&3`
      const argv = ['timeout', '1', 'bash', '-c', script, address, String(port)]
      await machine.exec(argv, { canFail: true })
    }
    const drop = 'to_uplink/service_address'
    for (const [protocol, address, port] of [
      ['tcp', at(NOBODY), WEB_PORT],
      ['udp', at(NOBODY), ECHO_PORT],
      ['udp', at(MANY), 8],
    ] as const) {
      const counts = await grown(lab.node(1), [drop], () => say(protocol, address, port))
      expect(counts[drop]).toBeGreaterThan(0)
    }
  })

  test('a host outside reaches every backend by every node', async () => {
    const { outside } = lab
    for (const number of [1, 2]) {
      const target = nodeAddress(number)
      await untilAnsweredBy({ machine: outside, name: 'outside' }, target, ['a', 'b'], NODE_PORT)
      const report = await echoUdp(
        { machine: outside, name: 'outside' },
        ...([target, 20, 1200, NODE_PORT + 1] as const),
      )
      expect(report).toEqual({ sent: 20, echoed: 20 })
    }
  })

  test('with externalTrafficPolicy Local a backend sees the host outside, and other nodes do not serve', async () => {
    const outside = { machine: lab.outside, name: 'outside' }
    const client = family === 4 ? '172.18.0.254' : 'fd18::fe'
    expect(await greet(outside, nodeAddress(2), NODE_PORT + 10)).toEqual({ server: 'b', client })
    expect(await dial(outside, nodeAddress(1), NODE_PORT + 10, SILENCE_SEC)).toBe('silent')
  })
})

test.each(FAMILIES)(
  'IPv%i: datagrams move when their backend leaves, a pod’s and those from outside',
  async (family) => {
    const ports = [{ name: 'who', port: WHO_PORT, targetPort: WHO_PORT, protocol: 'UDP' as const }]
    writeBalanced(lab, DATAGRAMS, [endpointOf(a)], { ports })
    await balanceTo(lab, 1)
    const addresses = [clusterIPs(DATAGRAMS)[family], BALANCED[family]] as const
    using inside = new Conversations(unhooked(client), 'udp', addresses[0])
    using outside = new Conversations(
      { machine: lab.outside, name: 'outside' },
      'udp',
      addresses[1],
    )
    for (const one of [inside, outside]) {
      await eventually('a datagram to be answered', async () => (await one.open())[0] !== null)
    }
    const backends = async (): Promise<string> => {
      // They go on all the time, so that nothing ends because it rests.
      for (const one of [inside, outside]) await one.ask()
      const found: string[] = []
      for (const to of addresses) {
        const { stdout } = await lab.node(1).exec(['sinabro', 'flows', '--to', to, '-o', 'json'])
        const { flows } = JSON.parse(stdout) as { flows: { backend?: { address: string } }[] }
        found.push([...new Set(flows.map(({ backend }) => backend?.address))].join('+'))
      }
      return found.join(' ')
    }
    const by = (pod: Pod): string => `${pod.address(family)} ${pod.address(family)}`
    expect(await backends()).toBe(by(a))
    writeBalanced(lab, DATAGRAMS, [endpointOf(b)], { ports })
    await eventually('both to ask another', async () => (await backends()) === by(b), 10_000)
    expect([await inside.ask(), await outside.ask()]).not.toContainEqual([null])
  },
)

test('a node’s own processes reach node ports at 127.0.0.1', async () => {
  await untilAnsweredBy(nodePlace(lab, 1), '127.0.0.1', ['a', 'b'], NODE_PORT)
})

test('a pod’s loopback is its own', async () => {
  expect(await dial(client, '127.0.0.1', NODE_PORT)).toBe('refused')
  expect(await dial(unhooked(client), '127.0.0.1', NODE_PORT)).toBe('refused')
})

test('an IPv6 socket reaches an IPv4 service', async () => {
  await untilAnsweredBy(client, `::ffff:${clusterIPs(MANY)[4]}`, ['a', 'b'])
})
