// Each drop reason has a vector that causes it, in both families where it has both; a reason without one fails here.
// More than 500 lines: one table, which is checked for completeness as a whole.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isDrop, OUTCOMES, type Place } from '../src/drop-reasons.ts'
import { OPENER_OUTSIDE, OPENER_POD, OPENER_REMOTE, type Opener } from '../src/layouts.ts'
import {
  arp,
  destinationOptions,
  eth,
  icmp6,
  ip,
  ip4,
  ip6,
  type Layer,
  neighbourAdvertisement,
  neighbourSolicitation,
  packet,
  payload,
  portUnreachable,
  type Rows,
  routerAdvertisement,
  routerSolicitation,
  tooBig,
  udp,
} from '../testing/index.ts'
import { type Clock, clockOf } from './clock.ts'
import { links, udpPacket } from './packets.ts'
import {
  type Actors,
  counted,
  type FlowSpec,
  flowRow,
  INCARNATION_A,
  INCARNATION_B,
  ipv4,
  ipv6,
  keyOf,
  loadWorld,
  mac,
  NODE_2,
  nativeRows,
  readyConfig,
  type Shapes,
  TUNNEL_PORT,
  VNI,
  type World,
} from './world.ts'

interface Drop {
  readonly reason: string
  readonly what: string
  readonly place: Place
  readonly packet: (actors: Actors) => Uint8Array
  readonly maps?: (actors: Actors) => Rows<Shapes>
  /** The flow whose row the packet renews before it is dropped. */
  readonly renews?: (actors: Actors) => FlowSpec
  /** Default: both. */
  readonly family?: 4 | 6
}

const ports = { sport: 40000, dport: 53 }
const fromA = (src: string, dst: string) => udpPacket(links.fromA, { src, dst }, ports)
const fromTunnel = (src: string, dst: string) => udpPacket(links.in, { src, dst }, ports)
const fromWire = (src: string, dst: string) => udpPacket(links.wire, { src, dst }, ports)
const toTunnel = (src: string, dst: string) => udpPacket(links.out, { src, dst }, ports)
const tunnel = { source: ipv4.node2, destination: ipv4.node1, vni: VNI, tos: 0, ttl: 64, flags: 0 }

/** The solicited-node group of an address is enough like it for us: any multicast address. */
const nd = (src: string, ...layers: readonly Layer[]) =>
  packet(links.fromA, ip6({ src, dst: ipv6.multicast, hopLimit: 255 }), ...layers)
const arpFrom = (senderIp: string, senderMac: string, source: string = mac.a) =>
  packet(
    eth({ src: source, dst: 'ff:ff:ff:ff:ff:ff' }),
    arp({ op: 'request', senderIp, senderMac, targetIp: ipv4.linkLocal }),
  )

const drops: readonly Drop[] = [
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
    reason: 'DROP_SPOOFED_SOURCE',
    what: 'the address of another pod',
    place: 'from_pod',
    packet: ({ b, c }) => fromA(b, c),
  },
  {
    reason: 'DROP_SPOOFED_SOURCE',
    what: "the node's address",
    place: 'from_pod',
    packet: ({ own1, c }) => fromA(own1, c),
  },
  {
    reason: 'DROP_SPOOFED_SOURCE',
    what: "a stranger's address",
    place: 'from_pod',
    packet: ({ stranger, c }) => fromA(stranger, c),
  },
  {
    reason: 'DROP_SPOOFED_SOURCE',
    what: 'no address at all',
    place: 'from_pod',
    packet: ({ family, c }) => fromA(family === 4 ? '0.0.0.0' : '::', c),
  },
  {
    reason: 'DROP_SPOOFED_ARP',
    what: "ARP with another pod's address",
    place: 'from_pod',
    family: 4,
    packet: ({ b }) => arpFrom(b, mac.a),
  },
  {
    reason: 'DROP_SPOOFED_ARP',
    what: "ARP with the gateway's address",
    place: 'from_pod',
    family: 4,
    packet: ({ linkLocal }) => arpFrom(linkLocal, mac.a),
  },
  {
    reason: 'DROP_SPOOFED_ARP',
    what: "ARP with another pod's MAC",
    place: 'from_pod',
    family: 4,
    packet: ({ a }) => arpFrom(a, mac.b),
  },
  {
    reason: 'DROP_SPOOFED_ARP',
    what: 'ARP in a frame from another MAC',
    place: 'from_pod',
    family: 4,
    packet: ({ a }) => arpFrom(a, mac.a, mac.b),
  },
  {
    reason: 'DROP_SPOOFED_ARP',
    what: 'ARP for another address than the gateway’s, all of it from another MAC',
    place: 'from_pod',
    family: 4,
    packet: ({ a, b }) =>
      packet(
        eth({ src: mac.b, dst: 'ff:ff:ff:ff:ff:ff' }),
        arp({ op: 'request', senderIp: a, senderMac: mac.b, targetIp: b }),
      ),
  },
  {
    reason: 'DROP_SPOOFED_ARP',
    what: 'an ARP reply in which the gateway is told another MAC',
    place: 'from_pod',
    family: 4,
    packet: ({ a, linkLocal }) =>
      packet(
        eth({ src: mac.b, dst: mac.aHost }),
        arp({ op: 'reply', senderIp: a, senderMac: mac.b, targetIp: linkLocal }),
      ),
  },
  {
    reason: 'DROP_SPOOFED_ND',
    what: "advertisement of another pod's address",
    place: 'from_pod',
    family: 6,
    packet: ({ a, b }) => nd(a, neighbourAdvertisement({ target: b, mac: mac.a })),
  },
  {
    reason: 'DROP_SPOOFED_ND',
    what: "advertisement of the gateway's address",
    place: 'from_pod',
    family: 6,
    packet: ({ linkLocal }) =>
      nd('fe80::bad', neighbourAdvertisement({ target: linkLocal, mac: mac.a })),
  },
  {
    reason: 'DROP_SPOOFED_ND',
    what: "advertisement with another pod's MAC",
    place: 'from_pod',
    family: 6,
    packet: ({ a }) => nd(a, neighbourAdvertisement({ target: a, mac: mac.b })),
  },
  {
    reason: 'DROP_SPOOFED_ND',
    what: "solicitation with another pod's MAC",
    place: 'from_pod',
    family: 6,
    packet: ({ a, b }) => nd(a, neighbourSolicitation({ target: b, mac: mac.b })),
  },
  {
    reason: 'DROP_SPOOFED_ND',
    what: "solicitation from another pod's address",
    place: 'from_pod',
    family: 6,
    packet: ({ b, linkLocal }) => nd(b, neighbourSolicitation({ target: linkLocal, mac: mac.a })),
  },
  {
    reason: 'DROP_SPOOFED_ND',
    what: "solicitation of the gateway with another pod's MAC",
    place: 'from_pod',
    family: 6,
    packet: ({ a, linkLocal }) => nd(a, neighbourSolicitation({ target: linkLocal, mac: mac.b })),
  },
  {
    reason: 'DROP_SPOOFED_ND',
    what: "advertisement of the own address from another pod's",
    place: 'from_pod',
    family: 6,
    packet: ({ a, b }) => nd(b, neighbourAdvertisement({ target: a, mac: mac.a })),
  },
  {
    reason: 'DROP_SPOOFED_ND',
    what: 'advertisement that has passed a router',
    place: 'from_pod',
    family: 6,
    packet: ({ a, b }) =>
      packet(
        links.fromA,
        ip6({ src: a, dst: b, hopLimit: 254 }),
        neighbourAdvertisement({ target: a, mac: mac.a }),
      ),
  },
  {
    reason: 'DROP_SPOOFED_ND',
    what: 'advertisement in a frame from another MAC',
    place: 'from_pod',
    family: 6,
    packet: ({ a }) =>
      packet(
        eth({ src: mac.b, dst: mac.aHost }),
        ip6({ src: a, dst: ipv6.multicast, hopLimit: 255 }),
        neighbourAdvertisement({ target: a, mac: mac.a }),
      ),
  },
  {
    reason: 'DROP_ROUTER_ADVERTISEMENT',
    what: 'router advertisement, link-local',
    place: 'from_pod',
    family: 6,
    packet: () => nd('fe80::a', routerAdvertisement({ mac: mac.a })),
  },
  {
    reason: 'DROP_ROUTER_ADVERTISEMENT',
    what: "router advertisement, the pod's own address",
    place: 'from_pod',
    family: 6,
    packet: ({ a }) => nd(a, routerAdvertisement({ mac: mac.a })),
  },
  {
    reason: 'DROP_ROUTER_ADVERTISEMENT',
    what: 'router advertisement behind an extension header',
    place: 'from_pod',
    family: 6,
    packet: () => nd('fe80::a', destinationOptions(), routerAdvertisement({ mac: mac.a })),
  },
  {
    reason: 'DROP_ROUTER_ADVERTISEMENT',
    what: 'ICMPv6 redirect',
    place: 'from_pod',
    family: 6,
    packet: ({ a }) => nd(a, icmp6({ type: 137 }), payload(32)),
  },
  {
    reason: 'DROP_UNKNOWN_NODE',
    what: 'tunnel packet from a stranger',
    place: 'from_overlay',
    packet: ({ a, c }) => fromTunnel(c, a),
    maps: ({ stranger }) => ({ test_tunnel: [[0, { ...tunnel, source: stranger }]] }),
  },
  {
    reason: 'DROP_FOREIGN_SOURCE',
    what: "inner source of this node's range",
    place: 'from_overlay',
    packet: ({ a, b }) => fromTunnel(b, a),
  },
  {
    reason: 'DROP_FOREIGN_SOURCE',
    what: "inner source of a third node's range",
    place: 'from_overlay',
    packet: ({ a, d }) => fromTunnel(d, a),
  },
  {
    reason: 'DROP_FOREIGN_SOURCE',
    what: 'inner source from outside the cluster',
    place: 'from_overlay',
    packet: ({ a, stranger }) => fromTunnel(stranger, a),
  },
  {
    reason: 'DROP_FOREIGN_SOURCE',
    what: "inner source of a third node, with that node's flow row here",
    place: 'from_overlay',
    packet: ({ a, d }) => fromTunnel(d, a),
    maps: ({ a, d }) => ({
      sb_flows: [
        [
          keyOf({ source: d, target: a, proto: 17, ...ports }),
          flowRow({ kind: 'local', targetIncarnation: 11, sourceNode: 3 }),
        ],
      ],
    }),
  },
  {
    reason: 'DROP_WRONG_VNI',
    what: 'tunnel packet of another VNI',
    place: 'from_overlay',
    packet: ({ a, c }) => fromTunnel(c, a),
    maps: () => ({ test_tunnel: [[0, { ...tunnel, vni: VNI + 1 }]] }),
  },
  {
    reason: 'DROP_DAD',
    what: 'duplicate address detection',
    place: 'from_pod',
    family: 6,
    packet: ({ a }) => nd('::', neighbourSolicitation({ target: a })),
  },
  {
    reason: 'DROP_DAD',
    what: 'ARP probe',
    place: 'from_pod',
    family: 4,
    packet: () => arpFrom('0.0.0.0', mac.a),
  },
  {
    reason: 'DROP_MULTICAST_LISTENER',
    what: 'MLDv2 report, no address yet',
    place: 'from_pod',
    family: 6,
    packet: () => nd('::', icmp6({ type: 143 }), payload(20)),
  },
  {
    reason: 'DROP_MULTICAST_LISTENER',
    what: 'MLD query, link-local',
    place: 'from_pod',
    family: 6,
    packet: () => nd('fe80::a', icmp6({ type: 130 }), payload(20)),
  },
  {
    reason: 'DROP_LINK_LOCAL',
    what: 'router solicitation',
    place: 'from_pod',
    family: 6,
    packet: () => nd('fe80::a', routerSolicitation({ mac: mac.a })),
  },
  {
    reason: 'DROP_LINK_LOCAL',
    what: 'solicitation from a link-local address',
    place: 'from_pod',
    family: 6,
    packet: ({ b }) => nd('fe80::a', neighbourSolicitation({ target: b, mac: mac.a })),
  },
  {
    reason: 'DROP_LINK_LOCAL',
    what: 'solicitation of the gateway from a link-local address, to its group',
    place: 'from_pod',
    family: 6,
    packet: ({ linkLocal }) =>
      packet(
        eth({ src: mac.a, dst: '33:33:ff:00:00:01' }),
        ip6({ src: 'fe80::a', dst: 'ff02::1:ff00:1', hopLimit: 255 }),
        neighbourSolicitation({ target: linkLocal, mac: mac.a }),
      ),
  },
  {
    reason: 'DROP_LINK_LOCAL',
    what: 'UDP from a link-local address',
    place: 'from_pod',
    family: 6,
    packet: ({ b }) => fromA('fe80::a', b),
  },
  {
    reason: 'DROP_LINK_LOCAL',
    what: 'UDP from a link-local address of the node',
    place: 'to_overlay',
    family: 6,
    packet: ({ c }) => toTunnel('fe80::a', c),
  },
  {
    reason: 'DROP_OVERLAY_MULTICAST',
    what: 'multicast from the node',
    place: 'to_overlay',
    packet: ({ own1, multicast }) => toTunnel(own1, multicast),
  },
  {
    reason: 'DROP_OVERLAY_MULTICAST',
    what: 'multicast from another node',
    place: 'from_overlay',
    packet: ({ c, multicast }) => fromTunnel(c, multicast),
  },
  {
    reason: 'DROP_OVERLAY_MULTICAST',
    what: 'ARP from the node',
    place: 'to_overlay',
    family: 4,
    packet: ({ own1 }) => arpFrom(own1, mac.overlay1),
  },
  {
    reason: 'DROP_OVERLAY_MULTICAST',
    what: 'neighbour discovery from the node',
    place: 'to_overlay',
    family: 6,
    packet: ({ own1, own2 }) => nd(own1, neighbourSolicitation({ target: own2 })),
  },
  {
    reason: 'DROP_NOT_READY',
    what: 'no configuration yet',
    place: 'from_pod',
    packet: ({ a, b }) => fromA(a, b),
    maps: () => ({ sb_config: [[0, { ...readyConfig, flags: 0 }]] }),
  },
  {
    reason: 'DROP_NOT_READY',
    what: 'no configuration yet',
    place: 'to_pod',
    packet: ({ a, b }) => udpPacket(links.toA, { src: b, dst: a }, ports),
    maps: () => ({ sb_config: [[0, { ...readyConfig, flags: 0 }]] }),
  },
  {
    reason: 'DROP_NOT_READY',
    what: 'no configuration yet',
    place: 'from_overlay',
    packet: ({ a, c }) => fromTunnel(c, a),
    maps: () => ({ sb_config: [[0, { ...readyConfig, flags: 0 }]] }),
  },
  {
    reason: 'DROP_NOT_READY',
    what: 'no configuration yet',
    place: 'to_overlay',
    packet: ({ own1, c }) => toTunnel(own1, c),
    maps: () => ({ sb_config: [[0, { ...readyConfig, flags: 0 }]] }),
  },
  {
    reason: 'DROP_NO_ENDPOINT',
    what: 'an address no pod has',
    place: 'from_overlay',
    packet: ({ c, vacant }) => fromTunnel(c, vacant),
  },
  {
    reason: 'DROP_NO_ENDPOINT',
    what: 'an address from outside the cluster',
    place: 'from_overlay',
    packet: ({ c, stranger }) => fromTunnel(c, stranger),
  },
  {
    reason: 'DROP_NO_NODE',
    what: 'an address no node has',
    place: 'to_overlay',
    packet: ({ own1, stranger }) => toTunnel(own1, stranger),
  },
  {
    reason: 'DROP_NO_NODE',
    what: "an address of this node's own range",
    place: 'to_overlay',
    packet: ({ own1, vacant }) => toTunnel(own1, vacant),
  },
  {
    reason: 'DROP_NO_NODE',
    what: 'the node of the row has no tunnel any more',
    place: 'from_pod',
    packet: ({ a, c }) => fromA(a, c),
    renews: ({ a, c }) => ({ source: a, target: c, proto: 17, ...ports }),
    maps: ({ a, c }) => ({
      sb_nodes: [[NODE_2, { tunnel: ipv4.node2, mac: mac.overlay2, mtu: 0, flags: 0 }]],
      sb_flows: [
        [
          keyOf({ source: a, target: c, proto: 17, ...ports }),
          flowRow({ kind: 'node', node: NODE_2, sourceIncarnation: 11, flags: 1 }),
        ],
      ],
    }),
  },
  {
    reason: 'DROP_NO_NODE',
    what: 'a row of when there was an overlay device',
    place: 'from_pod',
    packet: ({ a, c }) => fromA(a, c),
    renews: ({ a, c }) => ({ source: a, target: c, proto: 17, ...ports }),
    maps: ({ a, c }) => ({
      sb_config: [[0, { ...readyConfig, overlayIfindex: 0 }]],
      sb_flows: [
        [
          keyOf({ source: a, target: c, proto: 17, ...ports }),
          flowRow({ kind: 'node', node: NODE_2, sourceIncarnation: 11, flags: 1 }),
        ],
      ],
    }),
  },
  {
    reason: 'DROP_NO_TUNNEL_KEY',
    what: 'a packet on the overlay device that came by no tunnel',
    place: 'from_overlay',
    packet: ({ a, c }) => fromTunnel(c, a),
    maps: () => ({ test_tunnel: [[0, { ...tunnel, source: '::' }]] }),
  },
  {
    reason: 'DROP_FLOWS_FULL',
    what: 'no room for the rows of a new flow',
    place: 'from_pod',
    packet: ({ a, b }) => fromA(a, b),
    maps: fullTable,
  },
  {
    reason: 'DROP_FLOWS_FULL',
    what: 'no room for the rows of a new flow',
    place: 'to_pod',
    packet: ({ a, b }) => udpPacket(links.toA, { src: b, dst: a }, ports),
    maps: fullTable,
  },
  {
    reason: 'DROP_FLOWS_FULL',
    what: 'no room for the rows of a new flow',
    place: 'from_overlay',
    packet: ({ a, c }) => fromTunnel(c, a),
    maps: fullTable,
  },
  {
    reason: 'DROP_FLOWS_FULL',
    what: 'no room for the rows of a new flow',
    place: 'to_overlay',
    packet: ({ own1, c }) => toTunnel(own1, c),
    maps: fullTable,
  },
  {
    reason: 'DROP_FLOW_SHARE',
    what: 'a pod that has as many flows as are free',
    place: 'from_pod',
    packet: ({ a, b }) => fromA(a, b),
    maps: () => halfOf({ kind: OPENER_POD, incarnation: INCARNATION_A }),
  },
  {
    reason: 'DROP_FLOW_SHARE',
    what: 'the same by the stack',
    place: 'to_pod',
    packet: ({ a, b }) => udpPacket(links.toA, { src: b, dst: a }, ports),
    maps: () => halfOf({ kind: OPENER_POD, incarnation: INCARNATION_B }),
  },
  {
    reason: 'DROP_FLOW_SHARE',
    what: 'those outside have as many flows as are free',
    place: 'to_pod',
    packet: ({ a, stranger }) => udpPacket(links.toA, { src: stranger, dst: a }, ports),
    maps: () => halfOf({ kind: OPENER_OUTSIDE }),
  },
  {
    reason: 'DROP_FLOW_SHARE',
    what: 'a remote pod that has as many flows as are free',
    place: 'from_overlay',
    packet: ({ a, c }) => fromTunnel(c, a),
    maps: ({ c }) => halfOf({ kind: OPENER_REMOTE, addr: c }),
  },
  {
    reason: 'DROP_FLOW_SHARE',
    what: 'a pod that has as many flows as are free, by the stack',
    place: 'to_overlay',
    packet: ({ a, c }) => toTunnel(a, c),
    maps: () => halfOf({ kind: OPENER_POD, incarnation: INCARNATION_A }),
  },
  {
    reason: 'DROP_TUNNEL_PORT',
    what: "another node's address",
    place: 'from_pod',
    packet: ({ a, node2 }) => toTunnelPort(a, node2),
  },
  {
    reason: 'DROP_TUNNEL_PORT',
    what: "this node's address",
    place: 'from_pod',
    packet: ({ a, node1 }) => toTunnelPort(a, node1),
  },
  {
    reason: 'DROP_TUNNEL_PORT',
    what: 'an address that may be a node’s second one',
    place: 'from_pod',
    packet: ({ a, stranger }) => toTunnelPort(a, stranger),
  },
  {
    reason: 'DROP_TUNNEL_PORT',
    what: 'a flow that is known already',
    place: 'from_pod',
    packet: ({ a, node2 }) => toTunnelPort(a, node2),
    maps: ({ a, node2 }) => ({
      sb_flows: [
        [
          keyOf({ source: a, target: node2, proto: 17, sport: ports.sport, dport: TUNNEL_PORT }),
          flowRow({ kind: 'stack', sourceIncarnation: 11 }),
        ],
      ],
    }),
  },
  {
    reason: 'DROP_FOREIGN_ERROR',
    what: "a narrow path of the node's own",
    place: 'from_pod',
    packet: ({ a, node1, node2 }) =>
      packet(
        links.fromA,
        ip({ src: a, dst: node1 }),
        tooBig({ mtu: 576 }),
        ip({ src: node1, dst: node2 }),
        udp({ sport: 50000, dport: TUNNEL_PORT }),
      ),
  },
  {
    reason: 'DROP_FOREIGN_ERROR',
    what: "a closed port of somebody else's",
    place: 'from_pod',
    packet: ({ a, b, c }) =>
      packet(
        links.fromA,
        ip({ src: a, dst: b }),
        portUnreachable(),
        ip({ src: b, dst: c }),
        udp(ports),
      ),
  },
  {
    reason: 'DROP_LOOPBACK',
    what: 'UDP to loopback',
    place: 'from_pod',
    packet: ({ family, a }) => fromA(a, loopback(family)),
  },
  {
    reason: 'DROP_LOOPBACK',
    what: 'an ICMP error to loopback',
    place: 'from_pod',
    packet: ({ family, a }) =>
      packet(
        links.fromA,
        ip({ src: a, dst: loopback(family) }),
        portUnreachable(),
        ip({ src: loopback(family), dst: a }),
        udp(ports),
      ),
  },
  {
    reason: 'DROP_NATIVE_SOURCE',
    what: "another node's pod past the tunnel",
    place: 'from_uplink',
    packet: ({ a, c }) => fromWire(c, a),
  },
  {
    reason: 'DROP_NATIVE_SOURCE',
    what: "another node's pod past the tunnel, to this node",
    place: 'from_uplink',
    packet: ({ c, node1 }) => fromWire(c, node1),
  },
  {
    reason: 'DROP_NATIVE_SOURCE',
    what: "another node's pod past the tunnel, to the tunnel's port of a pod",
    place: 'from_uplink',
    packet: ({ a, c }) =>
      udpPacket(links.wire, { src: c, dst: a }, { ...ports, dport: TUNNEL_PORT }),
  },
  {
    reason: 'DROP_NATIVE_SOURCE',
    what: "this node's pod from outside",
    place: 'from_uplink',
    packet: ({ a, b }) => fromWire(b, a),
  },
  {
    reason: 'DROP_NATIVE_SOURCE',
    what: "a pod's name before more extension headers than are followed",
    place: 'from_uplink',
    family: 6,
    packet: ({ a, c }) =>
      packet(
        links.wire,
        ip6({ src: c, dst: a }),
        ...Array.from({ length: 7 }, () => destinationOptions()),
        udp(ports),
      ),
  },
  {
    reason: 'DROP_NATIVE_SOURCE',
    what: "without a tunnel: this node's pod from outside, to the node",
    place: 'from_uplink',
    packet: ({ b, node1 }) => fromWire(b, node1),
    maps: () => nativeRows,
  },
  {
    reason: 'DROP_NATIVE_SOURCE',
    what: "without a tunnel: this node's pod from outside, in a flow that lives",
    place: 'from_uplink',
    packet: ({ a, b }) => fromWire(b, a),
    maps: ({ a, b }) => ({
      ...nativeRows,
      sb_flows: [
        [
          keyOf({ source: b, target: a, proto: 17, ...ports }),
          flowRow({ kind: 'local', sourceIncarnation: 12, targetIncarnation: 11 }),
        ],
      ],
    }),
  },
  {
    reason: 'DROP_NATIVE_TARGET',
    what: 'to a pod of this node past the tunnel',
    place: 'from_uplink',
    packet: ({ a, stranger }) => fromWire(stranger, a),
  },
  {
    reason: 'DROP_NATIVE_TARGET',
    what: 'to a pod of another node past the tunnel',
    place: 'from_uplink',
    packet: ({ c, node2 }) => fromWire(node2, c),
  },
  {
    reason: 'DROP_TRUNCATED',
    what: 'without a tunnel: UDP header cut short',
    place: 'from_uplink',
    packet: ({ a, c }) => packet(links.wire, ip({ src: c, dst: a, protocol: 17 }), payload(7)),
    maps: () => nativeRows,
  },
]

function loopback(family: 4 | 6): string {
  return family === 4 ? '127.0.0.1' : '::1'
}

function toTunnelPort(src: string, dst: string): Uint8Array {
  return udpPacket(links.fromA, { src, dst }, { ...ports, dport: TUNNEL_PORT })
}

const MAX_FLOWS = 16

/** Live rows of others, and one place left: a flow needs two. */
function fullTable({ own1, own2 }: Actors): Rows<Shapes> {
  const row = { ...flowRow({ kind: 'stack' }), seen: clock.now }
  return {
    sb_flows: Array.from({ length: MAX_FLOWS - 1 }, (_, i) => [
      keyOf({ source: own1, target: own2, proto: 17, sport: i + 1, dport: 1 }),
      row,
    ]),
  }
}

/** Half of the table's flows are this opener's. */
function halfOf(who: Partial<Opener>): Rows<Shapes> {
  const flows = MAX_FLOWS / 4
  return {
    sb_openers: [
      [
        { kind: 0, incarnation: 0, addr: '::', ...who },
        { flows, recount: 0 },
      ],
    ],
    sb_opened: [[0, { flows, isRecounting: 0 }]],
  }
}

const programs: Record<Place, string> = {
  from_pod: 'sb_from_pod',
  to_pod: 'sb_to_pod',
  from_overlay: 'vector_from_overlay',
  to_overlay: 'sb_to_overlay',
  from_uplink: 'sb_from_uplink',
}

let world: World
let clock: Clock
beforeAll(async () => {
  world = await loadWorld({ maxFlows: MAX_FLOWS })
  clock = clockOf(world)
})
afterAll(() => world?.close())

const seen = new Set<string>()
const cases = drops.flatMap((drop) =>
  [ipv4, ipv6]
    .filter(({ family }) => drop.family === undefined || drop.family === family)
    .map((actors) => ({ ...drop, actors, title: `IPv${actors.family}` })),
)

test.each(cases)('$place drops with $reason: $what ($title)', (drop) => {
  const { actors, reason, what, place } = drop
  const sent = drop.packet(actors)
  const renewed = drop.renews?.(actors)
  world.check({
    what,
    program: programs[place],
    packet: sent,
    maps: drop.maps?.(actors) ?? {},
    expect: {
      verdict: 'shot',
      maps: {
        sb_counters: counted(place, reason, sent.length),
        sb_flows: renewed === undefined ? {} : { changed: [[keyOf(renewed), {}]] },
      },
    },
  })
  seen.add(reason)
})

test('every drop reason has a vector that causes it', () => {
  const all = OUTCOMES.filter(isDrop).map(({ symbol }) => symbol)
  expect([...seen].sort()).toEqual(all.sort())
})
