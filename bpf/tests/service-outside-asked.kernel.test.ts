// Services asked for from outside, by packet vectors: who may ask what, who is told that nobody serves it, and what is none of a service's business.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  CONFIG_NATIVE,
  IPCACHE_SERVICES,
  NODE_ADDR_HOST_PORTS,
  NODE_ADDR_NODE_PORTS,
  OPENER_CLIENT,
  SERVICE_ADDRESS,
  SERVICE_AFFINITY,
  SERVICE_EXTERNAL_LOCAL,
  SERVICE_HOST_PORT,
  SERVICE_SOURCE_RANGES,
} from '../src/layouts.ts'
import type { Rows } from '../testing/index.ts'
import { type Outside, openServing, UPLINK_MTU } from './outside.ts'
import { laterFragment, links, pingPacket, tcpPacket, udpPacket } from './packets.ts'
import { BACKEND_PORT, begun, CLIENT_PORT, NODE_PORT, served } from './service-outside-rows.ts'
import { type Asked, SERVICES, serving } from './service-rows.ts'
import {
  counted,
  families,
  IFINDEX_HERE,
  IFINDEX_UPLINK,
  nativeRows,
  readyConfig,
  type Shapes,
  TUNNEL_PORT,
  type World,
} from './world.ts'

let outside: Outside
let world: World
beforeAll(async () => {
  ;({ outside, world } = await openServing())
})
afterAll(() => {
  world?.close()
  outside?.close()
})

const program = 'sb_from_uplink'
const TCP = 6
const UDP = 17
const SB_REFUSE = 0x40_0000
const asks = { sport: CLIENT_PORT, dport: NODE_PORT }

const passes = (outcome: string) => ({
  verdict: 'next' as const,
  maps: { sb_counters: counted('from_uplink', outcome) },
})
const foreign = passes('PASS_FOREIGN')

describe.each(families)('IPv$family', (actors) => {
  const { family, a, b, c, node1, node2, service, stranger } = actors
  const here = { address: a, port: BACKEND_PORT }
  const row = (more: Partial<Asked> = {}) =>
    serving({ family, proto: UDP, port: NODE_PORT, backends: [here], ...more })
  const ask = (dst = node1, src = stranger) => udpPacket(links.wire, { src, dst }, asks)
  const reached = (proto = UDP, to = a) => {
    const route = { src: stranger, dst: to, ttl: 63 }
    const ports = { sport: CLIENT_PORT, dport: BACKEND_PORT }
    return proto === UDP
      ? udpPacket(links.toA, route, ports)
      : tcpPacket(links.toA, route, ports, ['syn'])
  }
  const arrives = (to = node1, proto = UDP, backend = a) =>
    ({
      verdict: 'redirect',
      redirect: { kind: 'peer', ifindex: IFINDEX_HERE },
      packetOut: reached(proto, backend),
      maps: {
        sb_flows: {
          added: begun(actors, { where: 'here', proto, backend, service: to }, outside.uplink),
        },
        sb_counters: counted('from_uplink', 'PASS_LOCAL'),
      },
    }) as const
  const inRange: Rows<Shapes> = {
    sb_ipcache: [
      [
        { prefixLen: family === 4 ? 96 + 16 : 64, addr: service },
        { node: 0, identity: 0, flags: IPCACHE_SERVICES },
      ],
    ],
  }
  const refused = {
    verdict: 'next',
    ctx: { mark: SB_REFUSE },
    maps: { sb_counters: counted('from_uplink', 'PASS_REFUSED') },
  } as const

  test('an address of its own, a node port, and the port of a pod are all asked for alike', () => {
    const cases = [
      ['an address that the node does not have', row({ address: service }), service],
      [
        'a cluster address that is routed here',
        { ...inRange, ...row({ address: service }) },
        service,
      ],
      ['a node port', row(), node1],
      ['a host port', row({ flags: SERVICE_HOST_PORT }), node1],
      ['a host port of one address', row({ address: node1, flags: SERVICE_HOST_PORT }), node1],
    ] as const
    for (const [what, maps, to] of cases) {
      world.check({ what, program, maps, packet: ask(to), expect: arrives(to) })
    }
  })

  test('without a service for it, what comes is the node’s own business', () => {
    const cases = [
      ['another port', row({ port: NODE_PORT + 1 }), ask()],
      ['another protocol', row({ proto: TCP }), ask()],
      ['a ping', row(), pingPacket(links.wire, { src: stranger, dst: node1 }, NODE_PORT)],
      ['an address where node ports are not asked for', { ...row(), sb_node_addrs: [] }, ask()],
      [
        'an address for host ports only',
        { ...row(), sb_node_addrs: [[node1, NODE_ADDR_HOST_PORTS]] },
        ask(),
      ],
      [
        'an address for node ports only',
        { ...row({ flags: SERVICE_HOST_PORT }), sb_node_addrs: [[node1, NODE_ADDR_NODE_PORTS]] },
        ask(),
      ],
      ['services of somebody else', { ...row(), sb_config: [[0, readyConfig]] }, ask()],
      [
        'the middle of a connection',
        row({ proto: TCP }),
        tcpPacket(links.wire, { src: stranger, dst: node1 }, asks, ['ack'], 9),
      ],
      [
        'the answer to a connection of the node’s own',
        row({ proto: TCP }),
        tcpPacket(links.wire, { src: stranger, dst: node1 }, asks, ['syn', 'ack']),
      ],
      ['a later fragment alone', row(), laterFragment(links.wire, { src: stranger, dst: node1 })],
    ] as const
    for (const [what, maps, bytes] of cases) {
      world.check({ what, program, maps, packet: bytes, expect: foreign })
    }
  })

  test('what the node asks itself by the loopback, nobody asks from outside', () => {
    const loopback = family === 4 ? '127.0.0.1' : '::1'
    const packet = ask(loopback)
    const hostIP = row({ address: loopback, flags: SERVICE_HOST_PORT })
    const nodePort = { ...row(), sb_node_addrs: [[loopback, NODE_ADDR_NODE_PORTS] as const] }
    world.check({ what: 'a host port', program, maps: hostIP, packet, expect: foreign })
    world.check({ what: 'a node port', program, maps: nodePort, packet, expect: foreign })
  })

  test('nobody asks in a name that the node would not take from outside', () => {
    const sources = [
      ['the node itself', node1],
      ['nobody yet', family === 4 ? '127.0.0.1' : '::1'],
      ['a multicast group', actors.multicast],
    ] as const
    for (const [what, source] of sources) {
      world.check({ what, program, maps: row(), packet: ask(node1, source), expect: foreign })
    }
    const maps = { ...row(), sb_node_addrs: [node1, stranger].map((one) => [one, 1] as const) }
    world.check({
      what: 'the node, beside its pods',
      program,
      maps,
      packet: ask(),
      expect: foreign,
    })
    for (const [what, source] of [
      ['a pod of this node', b],
      ['a pod of another', c],
      ['a pod that is not there', actors.vacant],
    ] as const) {
      world.check({
        what,
        program,
        maps: row(),
        packet: ask(node1, source),
        expect: {
          verdict: 'shot',
          maps: { sb_counters: counted('from_uplink', 'DROP_NATIVE_SOURCE') },
        },
      })
    }
  })

  const native = {
    ...readyConfig,
    flags: SERVICES | CONFIG_NATIVE,
    overlayIfindex: 0,
    uplinkIfindex: IFINDEX_UPLINK,
  }

  test('without a tunnel, pods of other nodes ask from outside, too', () => {
    world.check({
      what: 'c → node 1',
      program,
      maps: { ...nativeRows, ...row(), sb_config: [[0, native]] },
      packet: ask(node1, c),
      expect: {
        ...arrives(),
        packetOut: udpPacket(
          links.toA,
          { src: c, dst: a, ttl: 63 },
          { sport: CLIENT_PORT, dport: BACKEND_PORT },
        ),
        maps: {
          sb_flows: {
            added: begun(
              actors,
              { where: 'here', proto: UDP, backend: a, client: c },
              outside.uplink,
            ),
          },
          sb_counters: counted('from_uplink', 'PASS_LOCAL'),
        },
      },
    })
  })

  test('where nobody serves it, the sender is told', () => {
    const cases = [
      ['no backends', row({ backends: [] }), ask()],
      ['none for those outside', row({ external: [] }), ask()],
      [
        'another port of a service’s address',
        {
          sb_services: [
            [
              { addr: service, port: 0, proto: 0 },
              { id: 0, flags: SERVICE_ADDRESS, internal: 0, external: 0, affinitySec: 0 },
            ],
          ],
        },
        ask(service),
      ],
      [
        'the middle of a connection to a cluster address, of which nobody knows',
        {
          ...inRange,
          sb_services: [
            [
              { addr: service, port: 0, proto: 0 },
              { id: 0, flags: SERVICE_ADDRESS, internal: 0, external: 0, affinitySec: 0 },
            ],
          ],
        },
        tcpPacket(links.wire, { src: stranger, dst: service }, asks, ['ack'], 9),
      ],
    ] as const
    for (const [what, maps, bytes] of cases) {
      world.check({ what, program, maps, packet: bytes, expect: refused })
    }
  })

  test('a backend where the tunnel’s packets come in is asked by nobody', () => {
    for (const address of [actors.own1, node1, stranger]) {
      world.check({
        what: address,
        program,
        maps: row({ backends: [{ address, port: TUNNEL_PORT }] }),
        packet: ask(),
        expect: {
          verdict: 'shot',
          maps: { sb_counters: counted('from_uplink', 'DROP_TUNNEL_PORT') },
        },
      })
    }
  })

  test('without a tunnel, nobody asks other nodes where they may have one; beyond the nodes it is a port like any', () => {
    const rows = (address: string) =>
      ({
        ...nativeRows,
        ...row({ backends: [{ address, port: TUNNEL_PORT }] }),
        sb_config: [[0, native]],
      }) as const
    for (const src of [c, stranger]) {
      world.check({
        what: `${src} → node 2`,
        program,
        maps: rows(node2),
        packet: ask(node1, src),
        expect: {
          verdict: 'shot',
          maps: { sb_counters: counted('from_uplink', 'DROP_TUNNEL_PORT') },
        },
      })
    }
    const host = family === 4 ? '192.0.2.77' : '2001:db8::77'
    const flow = {
      ...({ where: 'out', proto: UDP, backend: host, backendPort: TUNNEL_PORT } as const),
      ...{ name: node1, ifindex: outside.uplink, mtu: UPLINK_MTU },
    }
    world.check({
      what: `${stranger} → ${host}`,
      program,
      maps: rows(host),
      packet: ask(),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'neighbour', ifindex: outside.uplink },
        packetOut: udpPacket(
          links.wire,
          { src: node1, dst: host, ttl: 63 },
          { sport: CLIENT_PORT, dport: TUNNEL_PORT },
        ),
        maps: {
          sb_flows: { added: begun(actors, flow, outside.uplink) },
          sb_counters: counted('from_uplink', 'PASS_OUT'),
        },
      },
    })
  })

  test('those outside get the list that is for them', () => {
    const external = [here]
    const maps = row({
      backends: [{ address: b, port: 1 }],
      external,
      flags: SERVICE_EXTERNAL_LOCAL,
    })
    world.check({ what: 'external', program, maps, packet: ask(), expect: arrives() })
  })

  test('only sources that may ask are served', () => {
    const bits = 32 + 96 + (family === 4 ? 24 : 0)
    const prefix = (addr: string, prefixLen: number) =>
      ({
        ...row({ flags: SERVICE_SOURCE_RANGES, id: 9 }),
        sb_src_ranges: [[{ prefixLen, service: 9, addr }, 1]],
      }) as const
    const other = family === 4 ? '203.0.113.0' : '2001:db8:1::'
    const drops = {
      verdict: 'shot',
      maps: { sb_counters: counted('from_uplink', 'DROP_SOURCE_RANGE') },
    } as const
    const first = prefix(family === 4 ? '198.51.100.0' : '2001:db8:ffff::', bits)
    world.check({ what: 'in a range', program, maps: first, packet: ask(), expect: arrives() })
    world.check({
      what: 'in another',
      program,
      maps: prefix(other, bits),
      packet: ask(),
      expect: drops,
    })
    const anothers = {
      ...first,
      sb_src_ranges: [[{ prefixLen: bits, service: 8, addr: stranger }, 1]],
    } as const
    world.check({
      what: 'in another service’s',
      program,
      maps: anothers,
      packet: ask(),
      expect: drops,
    })
  })

  test('clients that have enough flows take no other’s place', () => {
    const many = { flows: 400, recount: 0 }
    const who = { kind: OPENER_CLIENT, incarnation: 0, addr: '::' }
    world.check({
      what: 'one more',
      program,
      maps: {
        ...row({ flags: SERVICE_AFFINITY, affinitySec: 3600 }),
        sb_openers: [[who, many]],
        sb_opened: [[0, many]],
      },
      packet: ask(),
      expect: {
        verdict: 'shot',
        maps: { sb_affinity: {}, sb_counters: counted('from_uplink', 'DROP_FLOW_SHARE') },
      },
    })
  })

  test('a flow to a pod that has gone begins anew with a datagram; a connection is the stack’s to reset', () => {
    const gone = (proto: number) =>
      served(actors, { where: 'here', proto, backend: b }, { incarnation: 99 })
    const [[key], [back]] = gone(UDP)
    world.check({
      what: 'a datagram',
      program,
      maps: { ...row(), sb_flows: gone(UDP) },
      packet: ask(),
      expect: {
        ...arrives(),
        maps: {
          sb_counters: counted('from_uplink', 'PASS_LOCAL'),
          sb_flows: {
            changed: [[key, {}]],
            added: begun(actors, { where: 'here', proto: UDP, backend: a }, outside.uplink).slice(
              1,
            ),
            removed: [back],
          },
        },
      },
    })
    const connection = gone(TCP)
    world.check({
      what: 'a segment',
      program,
      maps: { ...row({ proto: TCP }), sb_flows: connection },
      packet: tcpPacket(links.wire, { src: stranger, dst: node1 }, asks, ['ack'], 9),
      expect: {
        ...foreign,
        maps: { ...foreign.maps, sb_flows: { removed: connection.map(([one]) => one) } },
      },
    })
  })

  test('a process of the node that listens at a node port hears nobody from outside: the Service does', async () => {
    const net = `--net=/proc/${process.pid}/fd/${outside.netns.fd}`
    const script = `require('node:dgram').createSocket('udp${family}').bind(${NODE_PORT}, '${node1}', () =>
      require('node:net').createServer().listen(${NODE_PORT}, '${node1}', () => console.log('listens')))`
    const child = spawn('nsenter', [net, process.execPath, '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      await once(child.stdout, 'data')
      world.check({ what: 'a datagram', program, maps: row(), packet: ask(), expect: arrives() })
      const packet = tcpPacket(links.wire, { src: stranger, dst: node1 }, asks, ['syn'])
      const expected = arrives(node1, TCP)
      world.check({ what: 'a SYN', program, maps: row({ proto: TCP }), packet, expect: expected })
    } finally {
      child.kill('SIGKILL')
    }
  })

  test('a datagram that a connected socket of the node has asked for is its own, whatever the port', async () => {
    const net = `--net=/proc/${process.pid}/fd/${outside.netns.fd}`
    const script = `const socket = require('node:dgram').createSocket('udp${family}')
      socket.bind(${NODE_PORT}, '${node1}', () =>
        socket.connect(${CLIENT_PORT}, '${stranger}', () => console.log('connected')))`
    const child = spawn('nsenter', [net, process.execPath, '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      await once(child.stdout, 'data')
      world.check({ what: 'its answer', program, maps: row(), packet: ask(), expect: foreign })
      const other = { sport: CLIENT_PORT + 1, dport: NODE_PORT }
      const [[key, value], [back, backValue]] = begun(
        actors,
        {
          where: 'here',
          proto: UDP,
          backend: a,
          clientPort: other.sport,
        },
        outside.uplink,
      )
      world.check({
        what: 'who else asks',
        program,
        maps: row(),
        packet: udpPacket(links.wire, { src: stranger, dst: node1 }, other),
        expect: {
          ...arrives(),
          packetOut: 'any',
          maps: {
            ...arrives().maps,
            sb_flows: {
              added: [
                [key, value],
                [back, backValue],
              ],
            },
          },
        },
      })
    } finally {
      child.kill('SIGKILL')
    }
  })

  test('a client that asks for one pod by two services from one port is kept apart', () => {
    const first = served(actors, { where: 'here', proto: UDP, backend: a })
    world.reset()
    world.put({ ...row({ port: NODE_PORT + 1 }), sb_flows: first })
    const data = udpPacket(
      links.wire,
      { src: stranger, dst: node1 },
      { ...asks, dport: NODE_PORT + 1 },
    )
    const out = Buffer.from(world.program(program).testRun({ data, netns: outside.netns }).data)
    const ports = 14 + (family === 4 ? 20 : 40)
    expect(out.readUInt16BE(ports + 2)).toBe(BACKEND_PORT)
    expect(out.readUInt16BE(ports)).not.toBe(CLIENT_PORT)
    expect(Array.from(world.map('sb_flows').keys())).toHaveLength(4)
  })
})
