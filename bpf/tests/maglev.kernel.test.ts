// Consistent hashing by packet vectors: a client from outside gets the backend that user space predicts, also in the middle of a connection; and what happens without a table.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  CLIENT_ADDRESS,
  CONFIG_DSR,
  CONFIG_MAGLEV,
  FLOW_SEEN,
  flow,
  flowKey,
  MAP_NAMES,
  SERVICE_AFFINITY,
  SERVICE_MAGLEV,
} from '../src/layouts.ts'
import { maglevBackend, maglevHash, maglevRows, maglevSpec } from '../src/maglev.ts'
import { BpfMap } from '../src/map.ts'
import { u32 } from '../src/struct.ts'
import { type Clock, clockOf } from './clock.ts'
import { type Outside, openServing } from './outside.ts'
import { links, tcpPacket, udpPacket } from './packets.ts'
import { BACKEND_PORT, begun, CLIENT_PORT, NODE_PORT } from './service-outside-rows.ts'
import { type Asked, SERVICES, serving } from './service-rows.ts'
import {
  counted,
  families,
  IFINDEX_B,
  IFINDEX_HERE,
  IFINDEX_OVERLAY,
  keyOf,
  readyConfig,
  SB_DONE,
  type World,
} from './world.ts'

const TCP = 6
const UDP = 17
const SERVICE = 7
/** As service-rows.ts numbers them. */
const A = 101
const B = 102
const program = 'sb_from_uplink'
const agreeing = { ...readyConfig, flags: SERVICES | CONFIG_MAGLEV }

let outside: Outside
let world: World
let clock: Clock
beforeAll(async () => {
  ;({ outside, world } = await openServing(agreeing))
  clock = await clockOf(world)
})
afterAll(() => {
  world?.close()
  outside?.close()
})
beforeEach(() => {
  world.map(MAP_NAMES.maglev).delete(u32.encode(SERVICE))
})

/** Puts it into the place of the one that is there. */
function putTable(entries: Uint32Array): void {
  const spec = maglevSpec(entries.length)
  using table = BpfMap.create({ ...spec, name: 'sb_maglev_table' })
  table.updateMany(maglevRows(entries))
  world.map(MAP_NAMES.maglev).update(u32.encode(SERVICE), u32.encode(table.fd))
}

/** Of two, in no order that hashing could have by chance. */
const mixed = (size: number) =>
  Uint32Array.from({ length: size }, (_, at) => ((at * at) % 5 < 2 ? A : B))
const all = (id: number) => new Uint32Array(251).fill(id)

/** By the kernel's own table. */
function predict(address: string, port: number, proto: number): number {
  const id = u32.decode(
    world.map(MAP_NAMES.maglev).lookup(u32.encode(SERVICE)) ?? new Uint8Array(4),
  )
  using table = BpfMap.openId(id)
  const hash = maglevHash({ address, port, servicePort: NODE_PORT, proto })
  return maglevBackend((row) => table.lookup(u32.encode(row)), hash)
}

describe.each(families)('IPv$family', (actors) => {
  const { family, a, b, c, node1, stranger } = actors
  const pods = [a, b].map((address) => ({ address, port: BACKEND_PORT }))
  const rows = (more: Partial<Asked> = {}) =>
    serving({
      ...{ family, proto: TCP, port: NODE_PORT, id: SERVICE },
      ...{ flags: SERVICE_MAGLEV, backends: pods },
      ...more,
    })
  const segment = (flags: Parameters<typeof tcpPacket>[3] = ['syn'], sport = CLIENT_PORT) =>
    tcpPacket(links.wire, { src: stranger, dst: node1 }, { sport, dport: NODE_PORT }, flags)
  const datagram = (sport: number) =>
    udpPacket(links.wire, { src: stranger, dst: node1 }, { sport, dport: NODE_PORT })
  const client = (sport: number, proto: number, dst = node1) =>
    keyOf({ source: stranger, target: dst, sport, dport: NODE_PORT, proto })

  /** Which of the pods gets it, as the first packet of its flow; 0: none. */
  const chosen = (packet: Uint8Array, maps = rows(), proto = TCP, sport = CLIENT_PORT): number => {
    world.reset()
    world.put(maps)
    world.program(program).testRun({ data: packet, netns: outside.netns })
    const row = world.map('sb_flows').lookup(flowKey.encode(client(sport, proto)))
    if (row === undefined) return 0
    return flow.decode(row).to.daddr === a ? A : B
  }
  const foreign = {
    verdict: 'next',
    maps: { sb_counters: counted('from_uplink', 'PASS_FOREIGN') },
  } as const

  test.each([
    ['TCP', TCP],
    ['UDP', UDP],
  ])('a client gets the backend that its hash has in the table: %s', (_, proto) => {
    for (const size of [251, 2039]) {
      putTable(mixed(size))
      const got = new Set<number>()
      for (let sport = CLIENT_PORT; sport < CLIENT_PORT + 40; sport++) {
        const packet = proto === TCP ? segment(['syn'], sport) : datagram(sport)
        const id = predict(stranger, sport, proto)
        expect(chosen(packet, rows({ proto }), proto, sport)).toBe(id)
        got.add(id)
      }
      expect(got).toEqual(new Set([A, B]))
    }
  })

  test('the middle of a connection goes on at the backend that all nodes have for it', () => {
    for (const [id, address, ifindex] of [
      [A, a, IFINDEX_HERE],
      [B, b, IFINDEX_B],
    ] as const) {
      putTable(all(id))
      const half = (value: number) => (value & FLOW_SEEN) === 0
      const answer = { source: address, target: stranger, sport: BACKEND_PORT, dport: CLIENT_PORT }
      for (const flags of [['ack'], ['ack', 'psh'], ['fin', 'ack']] as const) {
        world.check({
          what: `${flags} for ${address}`,
          program,
          maps: rows(),
          packet: segment(flags),
          expect: {
            verdict: 'redirect',
            redirect: { kind: 'peer', ifindex },
            packetOut: 'any',
            maps: {
              // No more than half open, as by a SYN: anybody can send one under any address.
              sb_flows: {
                added: [
                  [client(CLIENT_PORT, TCP), { flags: half }],
                  [keyOf({ ...answer, proto: TCP }), { flags: half }],
                ],
              },
              sb_counters: counted('from_uplink', 'PASS_LOCAL'),
            },
          },
        })
      }
    }
  })

  test('with direct server return it goes on to a pod of another node, too', () => {
    putTable(all(A))
    const flags = SERVICES | CONFIG_MAGLEV | CONFIG_DSR
    world.check({
      what: 'stranger → c',
      program,
      maps: {
        ...rows({ backends: [{ address: c, port: BACKEND_PORT }] }),
        sb_config: [[0, { ...readyConfig, flags }]],
      },
      packet: segment(['ack']),
      expect: {
        verdict: 'redirect',
        redirect: { kind: 'device', ifindex: IFINDEX_OVERLAY },
        packetOut: 'any',
        ctx: { mark: SB_DONE },
        maps: {
          sb_flows: {
            added: begun(actors, { where: 'dsr', proto: TCP, backend: c }, outside.uplink),
          },
          sb_counters: counted('from_uplink', 'PASS_NODE'),
        },
      },
    })
  })

  test('what is no middle of a client’s connection, or none that can go on here, is the stack’s', () => {
    putTable(all(A))
    const remote = [{ address: c, port: BACKEND_PORT }]
    const silent = [[0, { ...agreeing, flags: SERVICES }]] as const
    const cases = [
      ['an answer to the node', rows(), segment(['syn', 'ack'])],
      ['a reset', rows(), segment(['rst'])],
      ['of a service that chooses by chance', rows({ flags: 0 }), segment(['ack'])],
      ['with no service that hashes', { ...rows(), sb_config: silent }, segment(['ack'])],
      // It knows the connection by the name that another node has lent the client.
      [
        'to a pod of another node, to which the kernel leads',
        {
          ...rows({ backends: remote }),
          sb_config: [[0, { ...agreeing, overlayIfindex: 0 }]] as const,
        },
        segment(['ack']),
      ],
      ['to a pod of another node', rows({ backends: remote }), segment(['ack'])],
      ['to nobody', rows({ backends: [] }), segment(['ack'])],
      ['to one that has left', rows({ backends: pods.slice(0, 1) }), segment(['ack'])],
    ] as const
    for (const [what, maps, packet] of cases) {
      if (what === 'to one that has left') putTable(all(B))
      world.check({ what, program, maps, packet, expect: foreign })
    }
  })

  test('without a table, or when it names one that has left, chance decides of connections that begin', () => {
    const tried = () => Array.from({ length: 40 }, () => chosen(segment()))
    expect(new Set(tried())).toEqual(new Set([A, B]))
    expect(chosen(segment(['ack']))).toBe(0)
    putTable(all(999))
    expect(new Set(tried())).toEqual(new Set([A, B]))
    expect(chosen(segment(['ack']))).toBe(0)
    putTable(all(B))
    expect(new Set(tried())).toEqual(new Set([B]))
  })

  test('a table takes the place of another whole, of whatever length', () => {
    for (const [size, id] of [
      [251, A],
      [2039, B],
      [17, A],
    ] as const) {
      putTable(new Uint32Array(size).fill(id))
      expect(chosen(segment())).toBe(id)
    }
  })

  test('a client that is to keep its backend is known by its address alone, and keeps the one it has', () => {
    putTable(mixed(2039))
    const affinity = { flags: SERVICE_MAGLEV | SERVICE_AFFINITY, affinitySec: 3600 }
    const id = predict(stranger, 0, TCP)
    for (let sport = CLIENT_PORT; sport < CLIENT_PORT + 16; sport++) {
      expect(chosen(segment(['syn'], sport), rows(affinity), TCP, sport)).toBe(id)
    }
    const other = id === A ? B : A
    const key = { client: stranger, kind: CLIENT_ADDRESS, service: SERVICE }
    const had = {
      ...rows(affinity),
      sb_affinity: [[key, { backend: other, seen: clock.now }]],
    } as const
    expect(chosen(segment(), had)).toBe(other)
    expect(chosen(segment(['ack']), had)).toBe(other)
  })

  test('a connection of the node itself is its own, whatever the port', async () => {
    putTable(all(A))
    const net = `--net=/proc/${process.pid}/fd/${outside.netns.fd}`
    const script = `require('node:net').connect({ host: '${stranger}', port: ${CLIENT_PORT},
        localAddress: '${node1}', localPort: ${NODE_PORT} }).on('error', () => process.exit(1))
      setImmediate(() => console.log('asked'))`
    const child = spawn('nsenter', [net, process.execPath, '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      await once(child.stdout, 'data')
      const [maps, packet] = [rows(), segment(['ack'])]
      world.check({ what: 'what it is answered', program, maps, packet, expect: foreign })
      expect(chosen(segment(['ack'], CLIENT_PORT + 1), maps, TCP, CLIENT_PORT + 1)).toBe(A)
    } finally {
      child.kill('SIGKILL')
    }
  })
})
