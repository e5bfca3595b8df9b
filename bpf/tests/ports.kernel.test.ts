// Which port a masqueraded flow gets, by packet vectors: its own, another, or none; beside pods, sockets of the node and the agent's wishes.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  FLOW_FIN,
  FLOW_FIN_REPLY,
  FLOW_RST,
  type FlowKey,
  flow as flowCodec,
} from '../src/layouts.ts'
import type { Rows } from '../testing/index.ts'
import { clockOf } from './clock.ts'
import { MASQUERADE, Outside } from './outside.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import {
  counted,
  type FlowSpec,
  families,
  keyOf,
  loadWorld,
  readyConfig,
  type Shapes,
  type World,
} from './world.ts'

const TCP = 6
const UDP = 17
const OWN = 40000

let outside: Outside
let world: World
const nodesOwn: ChildProcess[] = []
beforeAll(async () => {
  outside = await Outside.open()
  world = await loadWorld({ rows: outside.rows, netns: outside.netns, maxFlows: 4096 })
})
afterEach(async () => {
  for (const child of nodesOwn.splice(0)) {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
})
afterAll(() => {
  world?.close()
  outside?.close()
})

/** A node that may give out these ports. */
function range(portMin: number, portMax: number): Rows<Shapes> {
  return { sb_config: [[0, { ...readyConfig, flags: MASQUERADE, portMin, portMax }]] }
}

function reserve(...ports: readonly number[]): Rows<Shapes> {
  const rows = Map.groupBy(ports, (port) => port >> 6)
  return {
    sb_reserved: Array.from(rows, ([row, some]) => [
      row,
      some.reduce((bits, port) => bits | (1n << BigInt(port & 63)), 0n),
    ]),
  }
}

/** A process of the node that runs this until the test ends, and has said that it does. */
async function onNode(script: string): Promise<void> {
  const net = `--net=/proc/${process.pid}/fd/${outside.netns.fd}`
  const child = spawn('nsenter', [net, process.execPath, '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  nodesOwn.push(child)
  await once(child.stdout, 'data')
}

describe.each(families)('IPv$family', ({ family, a, b, stranger, node1, node2 }) => {
  const to = (port: number, proto = UDP, sport = OWN): FlowSpec => ({
    source: a,
    target: stranger,
    proto,
    sport,
    dport: port,
  })
  const sent = (flow: FlowSpec) => {
    const { source, target, sport = 0, dport = 0 } = flow
    const route = { src: source, dst: target }
    return flow.proto === TCP
      ? tcpPacket(links.fromA, route, { sport, dport }, ['syn'])
      : udpPacket(links.fromA, route, { sport, dport })
  }
  /** The packet leaves from that port. */
  const expectPort = (flow: FlowSpec, port: number, maps: Rows<Shapes>, total = 1) => ({
    what: `${flow.source} → ${flow.target}`,
    program: 'sb_from_pod',
    maps,
    packet: sent(flow),
    expect: {
      verdict: 'redirect' as const,
      redirect: { kind: 'neighbour' as const, ifindex: outside.uplink },
      packetOut: 'any' as const,
      maps: {
        sb_flows: { added: outside.opened(flow, port) },
        sb_counters: counted('from_pod', 'PASS_OUT', undefined, total),
      },
    },
  })
  /** Another pod's flow that has that port towards the same. */
  const taken = (port: number, flow: FlowSpec, flags = 0) => {
    const rows = outside.standing({ ...flow, source: b, sport: 1000 + (port & 0xff) }, port)
    return rows.map(([key, row]) => [key, { ...row, flags: row.flags | flags }] as const)
  }

  test('its own one, if nobody has it', () => {
    world.check(expectPort(to(53), OWN, range(32768, 65535)))
  })

  test('another one, if its own is not among them', () => {
    world.check(expectPort(to(53), 50000, range(50000, 50000)))
  })

  test('another one, if a pod has its own towards the same', () => {
    const flow = to(53)
    world.check(expectPort(flow, OWN + 1, { ...range(OWN, OWN + 1), sb_flows: taken(OWN, flow) }))
  })

  test('its own one, if a pod has that towards somebody else', () => {
    const rows = { ...range(OWN, OWN + 1), sb_flows: taken(OWN, to(54)) }
    world.check(expectPort(to(53), OWN, rows))
  })

  test('never a reserved one', () => {
    const rows = { ...range(OWN - 2, OWN + 2), ...reserve(OWN - 2, OWN - 1, OWN, OWN + 2) }
    for (let i = 0; i < 8; i++) world.check(expectPort(to(53), OWN + 1, rows))
  })

  test.each([
    ['UDP', UDP],
    ['TCP', TCP],
  ])('none that a socket of the node listens on, however old: %s', async (_name, proto) => {
    const ports = [OWN, OWN + 1, OWN + 2]
    const script =
      proto === TCP
        ? `for (const port of ${JSON.stringify(ports)}) require('node:net').createServer().listen(port, '::', said)`
        : `for (const port of ${JSON.stringify(ports)}) {
            const socket = require('node:dgram').createSocket('udp6')
            socket.bind(port, '::', said)
          }`
    await onNode(`let left = ${ports.length}
      const said = () => { if (--left === 0) console.log('listening') }
      ${script}`)
    world.check(expectPort(to(53, proto), OWN + 3, range(OWN, OWN + 3)))
    expectNone(to(53, proto), range(OWN, OWN + 2))
  })

  test('none from which the node itself talks to the same', async () => {
    const [host, gateway] =
      family === 4 ? ['198.51.100.7', '192.0.2.254'] : ['2001:db8:ffff::7', '2001:db8::fe']
    const at = { index: outside.uplink, address: gateway, mac: '02:00:00:00:99:99' }
    // So that its SYNs leave, and are not answered.
    await outside.netlink.neighbours.replace({ ...at, state: 'permanent' })
    const ports = [OWN, OWN + 1]
    await onNode(`for (const localPort of ${JSON.stringify(ports)}) {
        const at = { host: '${host}', port: 80, localAddress: '${node1}', localPort }
        require('node:net').connect(at).on('error', () => {})
      }
      setTimeout(() => console.log('connecting'), 0)
      setInterval(() => {}, 1000)`)
    expect(host).toBe(stranger)
    expectNone(to(80, TCP), range(OWN, OWN + 1))
    // Towards another port of it they are free.
    world.check(expectPort(to(81, TCP), OWN, range(OWN, OWN + 1)))
  })

  test('when all are in use new flows fail, counted; old ones and other destinations do not', () => {
    const flow = to(53)
    const rows = {
      ...range(OWN, OWN + 1),
      sb_flows: [...taken(OWN, flow), ...taken(OWN + 1, flow)],
    }
    expectNone(flow, rows)
    const pool = [
      { saddr: node1, daddr: stranger, dport: 53, proto: UDP },
      { used: 0, recount: 0, full: (tick: number) => tick > 0, failed: 2 },
    ] as const
    world.step({
      what: 'the next one',
      program: 'sb_from_pod',
      packet: sent({ ...flow, sport: 41000 }),
      expect: {
        verdict: 'shot',
        maps: {
          sb_pools: { changed: [pool] },
          sb_counters: counted('from_pod', 'DROP_NO_PORT', undefined, 2),
        },
      },
    })
    world.step(expectPort({ ...flow, target: node2 }, OWN, {}))
    world.step({
      what: 'a flow that has a port',
      program: 'sb_from_pod',
      maps: { sb_flows: outside.standing({ ...flow, sport: 42000 }, OWN) },
      packet: sent({ ...flow, sport: 42000 }),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'neighbour', ifindex: outside.uplink },
        packetOut: 'any',
        maps: {
          sb_flows: { changed: [[keyOf({ ...flow, sport: 42000 }), {}]] },
          sb_counters: counted('from_pod', 'PASS_OUT', undefined, 2),
        },
      },
    })
  })

  test.each([
    ['both ends have closed', FLOW_FIN | FLOW_FIN_REPLY],
    ['it was reset', FLOW_RST],
  ])("a closed connection's port goes to the next one: %s", (_what, flags) => {
    const flow = to(80, TCP)
    const old = taken(OWN, flow, flags)
    const [[oldKey], [backKey]] = old as [[FlowKey, unknown], [FlowKey, unknown]]
    const { expect: expected, ...step } = expectPort(flow, OWN, {
      ...range(OWN, OWN),
      sb_flows: old,
    })
    const [added] = outside.opened(flow, OWN)
    world.check({
      ...step,
      expect: {
        ...expected,
        maps: {
          ...expected.maps,
          sb_flows: {
            added: [added],
            // The same key, and another flow's row.
            changed: [[backKey, { to: { daddr: a, dport: OWN } }]],
            removed: [oldKey],
          },
        },
      },
    })
  })

  test('one that was reset just now keeps its port: whoever knows the ports can say so', async () => {
    const flow = to(80, TCP)
    const { now: seen } = await clockOf(world)
    const rows = taken(OWN, flow, FLOW_RST).map(([key, row]) => [key, { ...row, seen }] as const)
    expectNone(flow, { ...range(OWN, OWN), sb_flows: rows })
  })

  test('a free one is preferred to that of a closed connection', () => {
    const flow = to(80, TCP)
    const rows = { ...range(OWN, OWN + 1), sb_flows: taken(OWN, flow, FLOW_RST) }
    for (let i = 0; i < 8; i++) world.check(expectPort(flow, OWN + 1, rows))
  })

  test('every port is given out before one flow fails', () => {
    const size = 300
    world.reset()
    world.put({ ...range(OWN, OWN + size - 1), ...reserve(OWN + 7, OWN + 99) })
    const program = world.program('sb_from_pod')
    const verdicts = Array.from({ length: size }, (_, i) =>
      program.testRun({
        data: sent(to(53, UDP, 1 + i)),
        ctx: new Uint8Array(192),
        netns: outside.netns,
      }),
    ).map(({ retval }) => retval)
    expect(verdicts.filter((verdict) => verdict === 7)).toHaveLength(size - 2)
    expect(verdicts.slice(size - 2)).toEqual([2, 2])
    const given = portsGiven()
    expect(new Set(given).size).toBe(size - 2)
    expect(given).not.toContain(OWN + 7)
  })

  /** No port: dropped, and the table is as before. */
  function expectNone(flow: FlowSpec, rows: Rows<Shapes>): void {
    world.check({
      what: `${flow.source} → ${flow.target} without a port`,
      program: 'sb_from_pod',
      maps: rows,
      packet: sent(flow),
      expect: {
        verdict: 'shot',
        maps: {
          sb_flows: {},
          sb_pools: {
            added: [
              [
                { saddr: node1, daddr: stranger, dport: flow.dport ?? 0, proto: flow.proto },
                { used: 0, recount: 0, full: (tick: number) => tick > 0, failed: 1 },
              ],
            ],
          },
          sb_counters: counted('from_pod', 'DROP_NO_PORT'),
        },
      },
    })
  }

  /** Of all flows of pods. */
  function portsGiven(): number[] {
    return Array.from(world.map('sb_flows').entries(), ([, value]) => flowCodec.decode(value))
      .filter(({ sourceIncarnation }) => sourceIncarnation > 0)
      .map((row) => row.to.sport)
  }
})
