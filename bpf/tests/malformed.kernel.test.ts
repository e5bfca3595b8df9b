// Every prefix of every kind of packet and random bytes through every program: a verdict, a count, no surprise.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { DROP_FIRST, OUTCOMES, type PacketPlace, PLACES } from '../src/drop-reasons.ts'
import {
  arp,
  destinationOptions,
  encodeSkBuff,
  eth,
  fragment6,
  hopByHop,
  ip,
  ip4,
  ip6,
  neighbourAdvertisement,
  neighbourSolicitation,
  packet,
  payload,
  portUnreachable,
  tcp,
  udp,
} from '../testing/index.ts'
import { links, pingPacket, tcpPacket, udpPacket } from './packets.ts'
import { generator } from './random.ts'
import { families, ipv4, ipv6, loadWorld, mac, type World } from './world.ts'

const ports = { sport: 40000, dport: 53 }
const programs: Record<PacketPlace, string> = {
  from_pod: 'sb_from_pod',
  to_pod: 'sb_to_pod',
  from_overlay: 'vector_from_overlay',
  to_overlay: 'sb_to_overlay',
  from_uplink: 'sb_from_uplink',
  to_uplink: 'sb_to_uplink',
}

const places = Object.keys(programs) as PacketPlace[]

let world: World
beforeAll(async () => {
  world = await loadWorld({ maxFlows: 65536 })
})
afterAll(() => world?.close())

const kinds: readonly (readonly [what: string, bytes: Uint8Array])[] = [
  ...families.flatMap(({ family, a, b, c }) => {
    const route = { src: a, dst: b }
    return [
      [`IPv${family} UDP`, udpPacket(links.fromA, route, ports)],
      [`IPv${family} UDP to a`, udpPacket(links.toA, { src: b, dst: a }, ports)],
      [`IPv${family} UDP from c`, udpPacket(links.in, { src: c, dst: a }, ports)],
      [`IPv${family} UDP to c`, udpPacket(links.out, { src: a, dst: c }, ports)],
      [`IPv${family} TCP`, tcpPacket(links.fromA, route, ports, ['syn'], 10)],
      [`IPv${family} ping`, pingPacket(links.fromA, route, 7)],
      [
        `IPv${family} error`,
        packet(
          links.fromA,
          ip(route),
          portUnreachable(),
          ip({ src: b, dst: a }),
          tcp({ ...ports }),
        ),
      ],
    ] as const
  }),
  [
    'IPv4 options',
    packet(links.fromA, ip4({ src: ipv4.a, dst: ipv4.b, options: new Uint8Array(40) }), udp(ports)),
  ],
  [
    'IPv6 extension headers',
    packet(
      links.fromA,
      ip6({ src: ipv6.a, dst: ipv6.b }),
      hopByHop(),
      fragment6({ id: 1, offsetBytes: 0, hasMore: true }),
      destinationOptions(),
      tcp(ports),
    ),
  ],
  [
    'ARP',
    packet(
      eth({ src: mac.a, dst: mac.aHost }),
      arp({ op: 'request', senderMac: mac.a, senderIp: ipv4.a, targetIp: ipv4.b }),
    ),
  ],
  [
    'solicitation',
    packet(
      links.fromA,
      ip6({ src: ipv6.a, dst: ipv6.b }),
      neighbourSolicitation({ target: ipv6.b, mac: mac.a }),
    ),
  ],
  [
    'advertisement',
    packet(
      links.fromA,
      ip6({ src: ipv6.a, dst: ipv6.b }),
      neighbourAdvertisement({ target: ipv6.a, mac: mac.a }),
      payload(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0)),
    ),
  ],
]

const ctx = encodeSkBuff({})
const dropVerdict = 2

/** The one outcome counted since the reset; fails if it is none or several. */
function outcomeOf(place: PacketPlace, bytes: Uint8Array): number {
  const { retval } = world.program(programs[place]).testRun({ data: bytes, ctx })
  const at = PLACES.indexOf(place)
  const counters = world.map('sb_counters')
  const key = new Uint8Array(4)
  const view = new DataView(key.buffer)
  const counted = OUTCOMES.filter(({ number }) => {
    view.setUint32(0, at * 64 + number, true)
    const values = counters.lookupPerCpu(key) ?? []
    const isCounted = values.some((value) => value.some((byte) => byte !== 0))
    if (isCounted)
      counters.updatePerCpu(
        key,
        values.map(() => new Uint8Array(16)),
      )
    return isCounted
  })
  expect(counted.length).toBe(1)
  const number = counted[0]?.number ?? -1
  expect(retval === dropVerdict).toBe(number >= DROP_FIRST)
  return number
}

/** SINABRO_FUZZ_STEP: of all sizes, bytes and rounds each so many-th one. */
const STEP = Number(process.env.SINABRO_FUZZ_STEP ?? 1)

/** Shorter ones a test run refuses; live.kernel.test.ts sends them on a real device. */
function shortest(bytes: Uint8Array): number {
  const type = (bytes[12] ?? 0) * 256 + (bytes[13] ?? 0)
  return type === 0x0800 ? 34 : type === 0x86dd ? 54 : 14
}

test.each(places)('sb_%s: every prefix of every kind of packet has one outcome', (place) => {
  world.reset()
  for (const [, bytes] of kinds) {
    for (let size = shortest(bytes); size <= bytes.length; size += STEP) {
      outcomeOf(place, bytes.slice(0, size))
    }
  }
})

test.each(places)('sb_%s: packets with one byte changed have one outcome', (place) => {
  world.reset()
  const random = generator(1)
  for (const [, bytes] of kinds) {
    for (let at = 12; at < bytes.length; at += STEP) {
      const changed = bytes.slice()
      changed[at] = random() & 0xff
      if (changed.length >= shortest(changed)) outcomeOf(place, changed)
    }
  }
})

test.each(places)('sb_%s: random bytes have one outcome', (place) => {
  world.reset()
  const random = generator(2)
  for (let i = 0; i < 500; i += STEP) {
    const bytes = Uint8Array.from({ length: 60 + (random() % 200) }, () => random() & 0xff)
    bytes[12] = random() & 1 ? 0x08 : 0x86
    bytes[13] = bytes[12] === 0x08 ? 0 : 0xdd
    bytes[14] = bytes[12] === 0x08 ? 0x45 + (random() % 11) : 0x60
    outcomeOf(place, bytes)
  }
})
