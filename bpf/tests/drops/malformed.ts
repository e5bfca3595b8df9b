// Dropped: something is wrong with the packet.
import { destinationOptions, eth, ip, ip4, ip6, packet, payload, udp } from '../../testing/index.ts'
import { links } from '../packets.ts'
import { ipv4, mac, nativeRows } from '../world.ts'
import { type Drop, ports } from './drop.ts'

export const malformed: readonly Drop[] = [
  {
    reason: 'DROP_TRUNCATED',
    what: 'UDP header cut short',
    place: 'from_pod',
    packet: ({ a, b }) => packet(links.fromA, ip({ src: a, dst: b, protocol: 17 }), payload(7)),
  },
  {
    reason: 'DROP_TRUNCATED',
    what: 'TCP header cut short',
    place: 'to_pod',
    packet: ({ a, b }) => packet(links.toA, ip({ src: b, dst: a, protocol: 6 }), payload(19)),
  },
  {
    reason: 'DROP_TRUNCATED',
    what: 'IP length beyond the packet',
    place: 'from_pod',
    packet: ({ family, a, b }) =>
      packet(
        links.fromA,
        family === 4
          ? ip4({ src: a, dst: b, totalLength: 100 })
          : ip6({ src: a, dst: b, payloadLength: 100 }),
        udp(ports),
      ),
  },
  {
    reason: 'DROP_TRUNCATED',
    what: 'ICMP header cut short',
    place: 'from_overlay',
    packet: ({ family, a, c }) =>
      packet(links.in, ip({ src: c, dst: a, protocol: family === 4 ? 1 : 58 }), payload(7)),
  },
  {
    reason: 'DROP_BAD_HEADER',
    what: 'IP version 5',
    place: 'from_pod',
    packet: ({ family, a, b }) =>
      packet(
        links.fromA,
        family === 4 ? ip4({ src: a, dst: b, version: 5 }) : ip6({ src: a, dst: b, version: 5 }),
        udp(ports),
      ),
  },
  {
    reason: 'DROP_BAD_HEADER',
    what: 'IPv4 header of 16 bytes',
    place: 'from_overlay',
    family: 4,
    packet: ({ a, c }) => packet(links.in, ip4({ src: c, dst: a, headerLength: 16 }), udp(ports)),
  },
  {
    reason: 'DROP_BAD_HEADER',
    what: 'IPv4-mapped source in an IPv6 header',
    place: 'from_pod',
    family: 6,
    packet: ({ b }) => packet(links.fromA, ip6({ src: `::ffff:${ipv4.a}`, dst: b }), udp(ports)),
  },
  {
    reason: 'DROP_BAD_HEADER',
    what: 'IPv4-mapped destination in an IPv6 header',
    place: 'from_overlay',
    family: 6,
    packet: ({ c }) => packet(links.in, ip6({ src: c, dst: `::ffff:${ipv4.a}` }), udp(ports)),
  },
  {
    reason: 'DROP_EXTENSION_HEADERS',
    what: 'seven extension headers',
    place: 'from_pod',
    family: 6,
    packet: ({ a, b }) =>
      packet(
        links.fromA,
        ip6({ src: a, dst: b }),
        ...Array.from({ length: 7 }, () => destinationOptions()),
        udp(ports),
      ),
  },
  {
    reason: 'DROP_NOT_IP',
    what: 'LLDP',
    place: 'from_pod',
    packet: () => packet(eth({ src: mac.a, dst: mac.aHost, type: 0x88cc }), payload(40)),
  },
  {
    reason: 'DROP_NOT_IP',
    what: 'a VLAN tag',
    place: 'from_overlay',
    packet: () => packet(eth({ src: mac.a, dst: mac.aHost, type: 0x8100 }), payload(40)),
  },
  {
    reason: 'DROP_TRUNCATED',
    what: 'without a tunnel: UDP header cut short',
    place: 'from_uplink',
    packet: ({ a, c }) => packet(links.wire, ip({ src: c, dst: a, protocol: 17 }), payload(7)),
    maps: () => nativeRows,
  },
]
