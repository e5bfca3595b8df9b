// Dropped: what a pod may not say, besides who it is.
import { ip, packet, portUnreachable, tooBig, udp } from '../../testing/index.ts'
import { links } from '../packets.ts'
import { flowRow, keyOf, TUNNEL_PORT } from '../world.ts'
import { type Drop, fromA, loopback, ports, toTunnelPort } from './drop.ts'

export const notToSay: readonly Drop[] = [
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
]
