// Dropped: a pod that claims to be somebody else.
import {
  arp,
  destinationOptions,
  eth,
  icmp6,
  ip6,
  neighbourAdvertisement,
  neighbourSolicitation,
  packet,
  payload,
  routerAdvertisement,
} from '../../testing/index.ts'
import { links } from '../packets.ts'
import { ipv6, mac } from '../world.ts'
import { arpFrom, type Drop, fromA, nd } from './drop.ts'

export const podsClaims: readonly Drop[] = [
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
]
