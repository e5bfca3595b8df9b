// Dropped: what comes from outside in the name of a node or a pod.
import { destinationOptions, ip6, packet, udp } from '../../testing/index.ts'
import { links, udpPacket } from '../packets.ts'
import { flowRow, keyOf, nativeRows, TUNNEL_PORT, VNI } from '../world.ts'
import { type Drop, fromTunnel, fromWire, ports, tunnel } from './drop.ts'

export const outsideClaims: readonly Drop[] = [
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
]
