// The packet builder against packets that a real kernel sent, and what the differ says of wrong ones.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { describePacket } from './describe.ts'
import { assertSamePacket, diffPackets } from './diff.ts'
import {
  arp,
  echoReply,
  echoRequest,
  neighbourAdvertisement,
  neighbourSolicitation,
  portUnreachable,
  routerAdvertisement,
} from './icmp.ts'
import { destinationOptions, fragment6, hopByHop, ip, ip4, ip6, routing } from './ip.ts'
import { eth, packet, payload, vxlan } from './packet.ts'
import { tcp, udp } from './transport.ts'

/** By name; see the head of the file for how they were captured. */
const captured = new Map(
  readFileSync(join(import.meta.dirname, 'testdata/packets.hex'), 'utf8')
    .split('\n\n')
    .slice(1)
    .map((part) => {
      const [head = '', ...lines] = part.trim().split('\n')
      const name = head.slice(2).split(' | ')[0] ?? ''
      return [name, new Uint8Array(Buffer.from(lines.join(''), 'hex'))] as const
    }),
)

function capturedPacket(name: string): Uint8Array {
  const bytes = captured.get(name)
  if (bytes === undefined) throw new Error(`no captured packet '${name}'`)
  return bytes
}

const a = { mac: '02:00:00:00:00:01', v4: '10.0.0.1', v6: 'fd00::1' }
const b = { mac: '02:00:00:00:00:02', v4: '10.0.0.2', v6: 'fd00::2' }
const there = eth({ src: a.mac, dst: b.mac })
const back = eth({ src: b.mac, dst: a.mac })
const there4 = { src: a.v4, dst: b.v4 }
const back4 = { src: b.v4, dst: a.v4 }
const there6 = { src: a.v6, dst: b.v6 }
const back6 = { src: b.v6, dst: a.v6 }
const hex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const pinged = payload(hex('7b89016b0000000021a4010000000000'))
const pinged6 = payload(hex('7b89016b0000000070b6010000000000'))
/** What ping fills packets with: each byte its own place. */
const places = (from: number, count: number) =>
  payload(Uint8Array.from({ length: count }, (_, i) => (from + i) & 255))
const udp4 = ip4({ ...there4, id: 22346, isDontFragment: true })
const udp6 = ip6({ ...there6, flowLabel: 913521 })
const hello = [udp({ sport: 4000, dport: 9 }), payload('hello')] as const

const built: readonly [string, Uint8Array][] = [
  [
    'arp request',
    packet(
      eth({ src: a.mac, dst: 'ff:ff:ff:ff:ff:ff' }),
      arp({ op: 'request', senderMac: a.mac, senderIp: a.v4, targetIp: b.v4 }),
    ),
  ],
  [
    'arp reply',
    packet(
      back,
      arp({ op: 'reply', senderMac: b.mac, senderIp: b.v4, targetMac: a.mac, targetIp: a.v4 }),
    ),
  ],
  [
    'ip4 echo request',
    packet(
      there,
      ip4({ ...there4, id: 63136, isDontFragment: true }),
      echoRequest({ id: 0x782 }),
      pinged,
    ),
  ],
  ['ip4 echo reply', packet(back, ip4({ ...back4, id: 15897 }), echoReply({ id: 0x782 }), pinged)],
  [
    'ip6 neighbour solicitation',
    packet(
      eth({ src: a.mac, dst: '33:33:ff:00:00:02' }),
      ip6({ src: a.v6, dst: 'ff02::1:ff00:2', hopLimit: 255 }),
      neighbourSolicitation({ target: b.v6, mac: a.mac }),
    ),
  ],
  [
    'ip6 neighbour advertisement',
    packet(
      back,
      ip6({ ...back6, hopLimit: 255 }),
      neighbourAdvertisement({ target: b.v6, mac: b.mac }),
    ),
  ],
  [
    'ip6 echo request',
    packet(there, ip6({ ...there6, flowLabel: 154081 }), echoRequest({ id: 0x783 }), pinged6),
  ],
  [
    'ip6 echo reply',
    packet(back, ip6({ ...back6, flowLabel: 992543 }), echoReply({ id: 0x783 }), pinged6),
  ],
  [
    'ip4 later fragment',
    packet(
      there,
      ip4({ ...there4, id: 63137, protocol: 1, fragmentOffsetBytes: 1480 }),
      places(0xc0, 528),
    ),
  ],
  [
    'ip6 later fragment',
    packet(
      there,
      ip6({ ...there6, flowLabel: 154081 }),
      fragment6({ id: 2341063020, offsetBytes: 1448, hasMore: false, nextHeader: 58 }),
      places(0xa0, 560),
    ),
  ],
  ['ip4 udp', packet(there, udp4, ...hello)],
  [
    'ip4 port unreachable',
    packet(back, ip4({ ...back4, tos: 0xc0, id: 15899 }), portUnreachable(), udp4, ...hello),
  ],
  ['ip6 udp', packet(there, udp6, ...hello)],
  [
    'ip6 port unreachable',
    packet(back, ip6({ ...back6, flowLabel: 556403 }), portUnreachable(), udp6, ...hello),
  ],
  [
    'ip4 tcp syn',
    packet(
      there,
      ip4({ ...there4, id: 30456, isDontFragment: true }),
      tcp({
        sport: 5000,
        dport: 80,
        flags: ['syn'],
        seq: 1381756599,
        window: 64240,
        options: hex('02 04 05 b4 04 02 08 0a 88 9d a7 96 00 00 00 00 01 03 03 0a'),
      }),
    ),
  ],
  [
    'ip4 tcp data',
    packet(
      there,
      ip4({ ...there4, id: 30458, isDontFragment: true }),
      tcp({
        sport: 5000,
        dport: 80,
        flags: ['psh', 'ack'],
        seq: 1381756600,
        ack: 4024398269,
        window: 63,
        options: hex('01 01 08 0a 88 9d a7 96 ca 31 dc 17'),
      }),
      payload('ping'),
    ),
  ],
  [
    'ip6 tcp syn',
    packet(
      there,
      ip6({ ...there6, flowLabel: 89661 }),
      tcp({
        sport: 5001,
        dport: 80,
        flags: ['syn'],
        seq: 1334033223,
        window: 64800,
        options: hex('02 04 05 a0 04 02 08 0a 51 a6 ac c3 00 00 00 00 01 03 03 0a'),
      }),
    ),
  ],
  [
    'ip6 tcp fin',
    packet(
      back,
      ip6({ ...back6, flowLabel: 55106 }),
      tcp({
        sport: 80,
        dport: 5001,
        flags: ['fin', 'ack'],
        seq: 795461924,
        ack: 1334033228,
        window: 63,
        options: hex('01 01 08 0a 77 b5 a1 e6 51 a6 ac c3'),
      }),
    ),
  ],
  [
    'ip6 udp behind hop-by-hop',
    packet(
      there,
      ip6({ ...there6, flowLabel: 107913 }),
      hopByHop(),
      udp({ sport: 4001, dport: 4002 }),
      payload('hbh'),
    ),
  ],
  [
    'ip4 udp with options',
    packet(
      there,
      ip4({ ...there4, id: 22379, isDontFragment: true, options: hex('94040000') }),
      udp({ sport: 4003, dport: 4004 }),
      payload('ra'),
    ),
  ],
  [
    'vxlan',
    packet(
      there,
      ip4({ ...there4, id: 22412 }),
      udp({ sport: 57369, dport: 8472 }),
      vxlan({ vni: 42 }),
      eth({ src: '02:00:00:00:00:0a', dst: '02:00:00:00:00:0b' }),
      ip4({ src: '10.9.0.1', dst: '10.9.0.2', id: 53129, isDontFragment: true }),
      udp({ sport: 4005, dport: 4006 }),
      payload('in the tunnel'),
    ),
  ],
]

test.each(built)('packet() builds byte for byte what the kernel sent: %s', (name, bytes) => {
  assertSamePacket(bytes, capturedPacket(name), name)
})

test('every captured packet is built', () => {
  expect(built.map(([name]) => name)).toEqual([...captured.keys()])
})

test.each([...captured])('describePacket() finds nothing wrong with %s', (_, bytes) => {
  expect(describePacket(bytes).join('\n')).not.toMatch(/NOT|cut short|SUM|LEN|VERSION/)
})

test.each([...captured])('describePacket() survives every prefix of %s', (_, bytes) => {
  for (let size = 0; size < bytes.length; size++) {
    expect(describePacket(bytes.subarray(0, size)).length).toBeGreaterThan(0)
  }
})

test('describePacket() survives random bytes', () => {
  let state = 1
  const random = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return state >>> 16
  }
  for (const [, seed] of captured) {
    for (let round = 0; round < 200; round++) {
      const bytes = seed.slice()
      for (let i = 0; i < 4; i++) bytes[random() % bytes.length] = random()
      describePacket(bytes)
    }
  }
})

test('ip() takes the family from the addresses', () => {
  expect(packet(ip({ src: a.v4, dst: b.v4, ttl: 3, tos: 4 }))).toEqual(
    packet(ip4({ src: a.v4, dst: b.v4, ttl: 3, tos: 4 })),
  )
  expect(packet(ip({ src: a.v6, dst: b.v6, ttl: 3, tos: 4 }))).toEqual(
    packet(ip6({ src: a.v6, dst: b.v6, hopLimit: 3, trafficClass: 4 })),
  )
  expect(() => ip({ src: a.v4, dst: b.v6 })).toThrow('expected an IPv4 address')
})

test('describePacket() names a chain of extension headers', () => {
  const bytes = packet(
    there,
    ip6(there6),
    hopByHop(),
    routing({ type: 2, segmentsLeft: 0 }),
    destinationOptions(),
    fragment6({ id: 7, offsetBytes: 0, hasMore: true }),
    udp({ sport: 1, dport: 2 }),
  )
  expect(describePacket(bytes).slice(2)).toEqual([
    'hop-by-hop next 43 01 04 00 00 00 00',
    'routing next 60 02 00 00 00 00 00',
    'destination options next 44 01 04 00 00 00 00',
    'fragment next 17 id 7 offset 0 MF',
    'udp 1 → 2 len 8 sum 0x05d7',
  ])
})

test('packet() builds what is wrong when asked to', () => {
  const bytes = packet(
    there,
    ip4({ ...there4, checksum: 1, totalLength: 1000, version: 5 }),
    udp({ sport: 1, dport: 2, checksum: 3, length: 99 }),
  )
  expect(describePacket(bytes).slice(1)).toEqual([
    'ip4 10.0.0.1 → 10.0.0.2 VERSION 5 ttl 64 tos 0x00 id 0 proto 17 LEN 1000 NOT 28 SUM 0x0001 NOT 0x5303',
    'udp 1 → 2 LEN 99 NOT 8 SUM 0x0003 NOT 0xeb7d',
  ])
  const advertisement = packet(there, ip6(there6), routerAdvertisement({ mac: a.mac }))
  expect(describePacket(advertisement).at(-2)).toMatch(/^icmp6 type 134 /)
})

test('diffPackets() is silent about equal packets and shows both of different ones', () => {
  const expected = packet(there, ip4(there4), udp({ sport: 1, dport: 2 }))
  expect(diffPackets(expected.slice(), expected)).toBeUndefined()
  const actual = packet(there, ip4({ ...there4, ttl: 63 }), udp({ sport: 1, dport: 2 }))
  expect(diffPackets(actual, expected)).toBe(
    `packets differ: expected (-) 42 bytes, actual (+) 42
  eth 02:00:00:00:00:01 → 02:00:00:00:00:02 type 0x0800
- ip4 10.0.0.1 → 10.0.0.2 ttl 64 tos 0x00 id 0 proto 17 len 28 sum 0x66cf
+ ip4 10.0.0.1 → 10.0.0.2 ttl 63 tos 0x00 id 0 proto 17 len 28 sum 0x67cf
  udp 1 → 2 len 8 sum 0xebd8
- 0010  00 1c 00 00 00 00 40 11 66 cf 0a 00 00 01 0a 00
+ 0010  00 1c 00 00 00 00 3f 11 67 cf 0a 00 00 01 0a 00
                          ^^    ^^`,
  )
})
