// Messages that iproute2 and the kernel exchanged, decoded; and that nothing but DecodeError comes of damaged ones.
import { describe, expect, test } from 'vitest'
import { decode, encode } from '../../testing/codec-rows.ts'
import { decodeAll, fixture } from '../../testing/messages.ts'
import { pseudoRandom } from '../../testing/pseudo-random.ts'
import type { Codec } from '../codec/codec.ts'
import { DecodeError } from '../codec/decode-error.ts'
import { Reader } from '../codec/reader.ts'
import { decodeError, forEachMessage } from '../message.ts'
import { addressMessage, addressSpecToWire, decodeAddress } from './address-message.ts'
import { decodeFdbEntry, fdbMessage, fdbSpecToWire } from './fdb-message.ts'
import { parseHandle } from './handle.ts'
import { bridgeAttrs, vxlanAttrs } from './link-kinds.ts'
import { decodeLink, linkMessage, vethAttrs } from './link-message.ts'
import { decodeNeighbour, neighbourMessage, neighbourSpecToWire } from './neighbour-message.ts'
import { decodeNexthop, nexthopMessage, nexthopSpecToWire } from './nexthop-message.ts'
import { decodeRouteEvent } from './route-event.ts'
import { decodeRoute, routeMessage, routeSpecToWire } from './route-message.ts'
import { decodeRule, ruleMessage, ruleSpecToWire } from './rule-message.ts'
import { decodeFilter, decodeQdisc, decodeTrafficClass, trafficMessage } from './traffic-message.ts'

/** The payload of a capture that holds one message. */
function request<T>(name: string, codec: Codec<T>): T {
  const [only, ...more] = decodeAll(fixture(name), (payload) => codec.decode(payload))
  if (only === undefined || more.length > 0) throw new Error(`${name} does not hold one message`)
  return only
}

describe('what ip sends', () => {
  test('ip link add … type veth', () => {
    const { attrs } = request('link-add-veth', linkMessage)
    expect(attrs.info?.kind).toBe('veth')
    expect(attrs).toMatchObject({ name: 'host0', mac: '02:00:00:00:00:01', mtu: 1400 })
    const { peer } = decode(vethAttrs, attrs.info?.data ?? new Uint8Array())
    expect(peer?.attrs).toEqual({ name: 'eth0', mac: '02:00:00:00:00:02', mtu: 1400 })
  })

  test('ip link add … type vxlan external', () => {
    const { attrs } = request('link-add-vxlan-external', linkMessage)
    expect(attrs.name).toBe('vx0')
    expect(decode(vxlanAttrs, attrs.info?.data ?? new Uint8Array())).toEqual({
      learning: false,
      port: 8472,
      udp6ZeroChecksumRx: true,
      collectMetadata: true,
    })
  })

  test('ip link add … type bridge', () => {
    const { attrs } = request('link-add-bridge', linkMessage)
    expect(decode(bridgeAttrs, attrs.info?.data ?? new Uint8Array())).toEqual({
      multicastSnooping: false,
    })
  })

  test('ip addr add is what replace() sends', () => {
    const theirs = request('address-add-6', addressMessage)
    const ours = addressSpecToWire({
      index: theirs.header.index,
      address: 'fd01::1',
      prefixLen: 64,
      flags: ['nodad'],
    })
    expect(decode(addressMessage, encode(addressMessage, ours))).toEqual({
      // ip repeats the low flags in the header; the kernel takes IFA_FLAGS where both are there.
      header: { ...theirs.header, flags: 0 },
      attrs: { ...theirs.attrs, flags: 2 },
    })
  })

  test.each([
    [
      'route-add-onlink',
      {
        dst: '10.244.1.0/24',
        via: '10.244.1.0',
        index: 3,
        onlink: true,
        protocol: 91,
        mtu: 1350,
        prefsrc: '10.1.0.1',
      },
    ],
    [
      'route-add-multipath',
      {
        dst: '10.10.0.0/16',
        protocol: 91,
        nextHops: [
          { index: 3, via: '10.1.0.2', weight: 3 },
          { index: 3, via: '10.1.0.3' },
        ],
      },
    ],
    [
      'route-add-via-inet6',
      { dst: '10.9.0.0/16', via: 'fd01::2', index: 3, metric: 5, table: 1000 },
    ],
  ])('%s is what add() sends', (name, spec) => {
    const theirs = request(name, routeMessage)
    const { table: _, ...ours } = decode(
      routeMessage,
      encode(routeMessage, routeSpecToWire(spec)),
    ).attrs
    const { table: __, ...attrs } = theirs.attrs
    expect(ours).toEqual(attrs)
    const header = routeSpecToWire(spec).header
    // Tables over 255 have no number here: ip leaves "unspecified", we write the kernel's RT_TABLE_COMPAT.
    expect({ ...header, type: 0, scope: 0, table: 0 }).toEqual({
      ...theirs.header,
      type: 0,
      scope: 0,
      table: 0,
    })
    const sent = decode(routeMessage, encode(routeMessage, routeSpecToWire(spec))).header
    expect([sent.type, sent.scope]).toEqual([theirs.header.type, theirs.header.scope])
  })

  test('ip neigh replace is what replace() sends', () => {
    const theirs = request('neighbour-add', neighbourMessage)
    const ours = neighbourSpecToWire({
      index: theirs.header.index,
      address: '10.1.0.2',
      mac: '02:00:00:00:00:02',
    })
    expect(decode(neighbourMessage, encode(neighbourMessage, ours))).toEqual(theirs)
  })

  test('ip rule add is what add() sends', () => {
    const theirs = request('rule-add', ruleMessage)
    const ours = ruleSpecToWire({
      src: '10.244.0.0/16',
      dst: '10.96.0.0/12',
      isInverted: true,
      inputName: 'lo',
      mark: 0x20,
      markMask: 0xf0,
      ipProtocol: 6,
      destinationPorts: { low: 80, high: 90 },
      priority: 91,
      table: 1000,
      suppressPrefixLen: 0,
      protocol: 91,
    })
    expect(decode(ruleMessage, encode(ruleMessage, ours))).toEqual(theirs)
  })

  test.each([
    ['nexthop-add', { id: 5, via: '10.1.0.2', index: 3, onlink: true, protocol: 91 }],
    [
      'nexthop-group-add',
      {
        id: 9,
        group: [
          { id: 1, weight: 3 },
          { id: 2, weight: 1 },
        ],
        resilient: { buckets: 8, idleCs: 6000 },
        protocol: 91,
      },
    ],
  ])('%s is what add() sends', (name, spec) => {
    const ours = nexthopSpecToWire(spec)
    expect(decode(nexthopMessage, encode(nexthopMessage, ours))).toEqual(
      request(name, nexthopMessage),
    )
  })

  test('bridge fdb append is what append() sends', () => {
    const ours = fdbSpecToWire({
      index: 2,
      mac: '00:00:00:00:00:00',
      dst: 'fd00::2',
      vni: 9,
      port: 8473,
      viaIndex: 1,
      state: 'permanent',
    })
    expect(decode(fdbMessage, encode(fdbMessage, ours))).toEqual(request('fdb-append', fdbMessage))
  })

  test('tc qdisc add … clsact', () => {
    expect(request('qdisc-add-clsact', trafficMessage)).toMatchObject({
      header: { handle: 0xffff_0000, parent: 0xffff_fff1 },
      attrs: { kind: 'clsact' },
    })
  })
})

describe('what the kernel answers', () => {
  test('a veth', () => {
    const links = decodeAll(fixture('link-veth'), decodeLink)
    const link = links.find((one) => one?.name === 'veth0')
    expect(link).toMatchObject({
      name: 'veth0',
      kind: 'veth',
      mac: '02:00:00:00:00:01',
      mtu: 1500,
      isUp: true,
      hasCarrier: true,
      operState: 'up',
      addrGenMode: 'eui64',
    })
    expect(link?.peerNetnsId).toBeUndefined()
  })

  test('a vxlan device', () => {
    const [link] = decodeAll(fixture('link-vxlan'), decodeLink)
    expect(link?.vxlan).toMatchObject({
      vni: 7,
      port: 4789,
      local: 'fd00::1',
      ttl: 9,
      learning: true,
      collectMetadata: false,
      sourcePorts: { low: 0, high: 0 },
    })
  })

  test('addresses', () => {
    const list = decodeAll(fixture('address-list'), decodeAddress)
    expect(list).toMatchObject([
      { address: '10.1.0.1', prefixLen: 24, family: 4, flags: ['permanent'], label: 'veth0' },
      { address: 'fd01::1', prefixLen: 64, family: 6, flags: ['nodad', 'permanent'] },
      { address: expect.stringMatching(/^fe80::/), scope: 'link' },
    ])
  })

  test('IPv6 routes of all tables', () => {
    const list = decodeAll(fixture('route-list-6'), decodeRoute)
    expect(list.find((route) => route?.dst === 'default')).toMatchObject({
      family: 6,
      via: 'fd01::2',
      viaFamily: 6,
      protocol: 91,
      metric: 1024,
      table: 254,
      type: 'unicast',
    })
    expect(
      list.filter((route) => route?.type === 'local').every((route) => route?.table === 255),
    ).toBe(true)
  })

  test('neighbours', () => {
    // The last message is NLMSG_DONE, which is none.
    const list: unknown[] = []
    forEachMessage(new Reader(fixture('neighbour-list')), (header, payload) => {
      if (header.type === 28) list.push(decodeNeighbour(payload))
      return true
    })
    expect(list).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ address: '10.1.0.2', state: 'permanent', flags: [] }),
        expect.objectContaining({
          address: 'fd01::2',
          state: 'noarp',
          flags: ['router'],
          protocol: 91,
        }),
      ]),
    )
  })

  test('IPv6 rules', () => {
    // The last message is NLMSG_DONE, which is none.
    const list: unknown[] = []
    forEachMessage(new Reader(fixture('rule-list-6')), (header, payload) => {
      if (header.type === 32) list.push(decodeRule(payload))
      return true
    })
    expect(list).toMatchObject([
      { priority: 0, table: 255, action: 'lookup' },
      {
        priority: 91,
        src: 'fd00::/64',
        outputName: 'lo',
        uids: { low: 1, high: 9 },
        sourcePorts: { low: 53, high: 53 },
        action: 'goto',
        goto: 32766,
        protocol: 91,
      },
      { priority: 92, dst: 'fd01::/64', action: 'prohibit' },
      { priority: 32766, table: 254 },
    ])
  })

  test('next hop objects', () => {
    const list: unknown[] = []
    forEachMessage(new Reader(fixture('nexthop-list')), (header, payload) => {
      if (header.type === 104) list.push(decodeNexthop(payload))
      return true
    })
    expect(list).toMatchObject([
      { id: 1, via: '10.1.0.2', index: 3, protocol: 0 },
      { id: 2, family: 6, via: 'fd01::2', protocol: 91 },
      { id: 3, isBlackhole: true },
      { id: 4, isFdb: true, via: '192.0.2.1' },
      {
        id: 9,
        group: [
          { id: 1, weight: 3 },
          { id: 2, weight: 1 },
        ],
      },
    ])
  })

  test('forwarding entries of a vxlan device that is a port', () => {
    const list = decodeAll(fixture('fdb-list'), decodeFdbEntry)
    expect(list).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          mac: '00:00:00:00:00:00',
          table: 'self',
          dst: '10.0.0.2',
          vni: 9,
          port: 8473,
        }),
        expect.objectContaining({ mac: '02:00:00:00:00:05', table: 'master', state: 'static' }),
      ]),
    )
  })

  test('a token bucket', () => {
    const list = decodeAll(fixture('qdisc-tbf'), decodeQdisc)
    expect(list.find((one) => one.kind === 'tbf')).toMatchObject({
      parent: 0xffff_ffff,
      // 80 Mbit/s for 25 ms, and the burst.
      tbf: { rateBitsPerSec: 80e6, burstBytes: 32768, limitBytes: 250_000 + 32768 },
      statistics: { bytes: 90n, packets: 1, drops: 0 },
    })
  })

  test('classes of htb, one of them over 32 bits', () => {
    const list: unknown[] = []
    forEachMessage(new Reader(fixture('class-htb')), (header, payload) => {
      if (header.type === 40) list.push(decodeTrafficClass(payload))
      return true
    })
    expect(list).toContainEqual(
      expect.objectContaining({
        handle: parseHandle('1:1'),
        parent: 0xffff_ffff,
        htb: expect.objectContaining({ rateBitsPerSec: 40e9, burstBytes: 64_960 }),
      }),
    )
    expect(list).toContainEqual(
      expect.objectContaining({
        handle: parseHandle('1:10'),
        parent: parseHandle('1:1'),
        htb: expect.objectContaining({
          rateBitsPerSec: 8e6,
          ceilBitsPerSec: 80e6,
          priority: 3,
          quantumBytes: 3000,
        }),
      }),
    )
  })

  test('a filter that redirects', () => {
    const list: unknown[] = []
    forEachMessage(new Reader(fixture('filter-redirect')), (header, payload) => {
      if (header.type === 44) list.push(decodeFilter(payload))
      return true
    })
    expect(list).toContainEqual(
      expect.objectContaining({ kind: 'bpf', priority: 7, handle: 3, toIndex: 4 }),
    )
  })

  test('a refusal, in its own words', () => {
    const [outcome] = decodeAll(fixture('error-with-words'), (payload, header) =>
      decodeError(header, payload),
    )
    expect(outcome).toEqual({
      errno: 22,
      extAck: { message: 'mtu less than device minimum', offset: 0 },
    })
  })
})

const names = [
  'link-veth',
  'link-vxlan',
  'link-add-veth',
  'address-list',
  'route-list-6',
  'route-add-multipath',
  'neighbour-list',
  'rule-add',
  'rule-list-6',
  'nexthop-group-add',
  'nexthop-list',
  'fdb-list',
  'qdisc-tbf',
  'class-htb',
  'filter-redirect',
  'qdisc-add-clsact',
  'error-with-words',
]

/** Decodes a datagram by the types its messages claim to be. */
function decodeAnything(bytes: Uint8Array): void {
  forEachMessage(new Reader(bytes), (header, payload) => {
    if (header.type === 2) decodeError(header, payload)
    else decodeRouteEvent(header, payload)
    return true
  })
}

describe('damage', () => {
  test.each(names)('every strict prefix of %s is an error', (name) => {
    const bytes = fixture(name)
    const ends = messageEnds(bytes)
    for (let length = 1; length < bytes.length; length++) {
      // Cut between two messages there is nothing wrong with what came before.
      if (ends.has(length)) continue
      expect(() => decodeAnything(bytes.slice(0, length)), `${length} bytes`).toThrow(DecodeError)
    }
  })

  test.each(names)('%s with bytes changed is decoded or a DecodeError', (name) => {
    const bytes = fixture(name)
    const random = pseudoRandom(bytes.length)
    for (let round = 0; round < 3000; round++) {
      const damaged = bytes.slice()
      for (let count = random(4); count >= 0; count--) damaged[random(damaged.length)] = random(256)
      expectDecodedOrDecodeError(damaged)
    }
  })

  test('random bytes of every type are decoded or a DecodeError', () => {
    const random = pseudoRandom(1)
    for (let round = 0; round < 20_000; round++) {
      const bytes = Uint8Array.from({ length: 16 + random(120) }, () =>
        random(3) === 0 ? random(256) : random(12),
      )
      const view = new DataView(bytes.buffer)
      view.setUint32(0, bytes.length, true)
      view.setUint16(4, random(110), true)
      expectDecodedOrDecodeError(bytes)
    }
  })
})

function expectDecodedOrDecodeError(bytes: Uint8Array): void {
  try {
    decodeAnything(bytes)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
  }
}

/** Where a message ends, with and without the zeros up to the next multiple of four. */
function messageEnds(bytes: Uint8Array): Set<number> {
  const view = new DataView(bytes.buffer)
  const ends = new Set<number>()
  for (let at = 0; at + 4 <= bytes.length; ) {
    const end = at + view.getUint32(at, true)
    at = (end + 3) & ~3
    for (let legal = end; legal <= at; legal++) ends.add(legal)
  }
  return ends
}
