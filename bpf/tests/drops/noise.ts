// Dropped: normal noise, quiet.
import {
  eth,
  icmp6,
  ip6,
  neighbourSolicitation,
  packet,
  payload,
  routerSolicitation,
} from '../../testing/index.ts'
import { mac } from '../world.ts'
import { arpFrom, type Drop, fromA, fromTunnel, nd, toTunnel } from './drop.ts'

export const noise: readonly Drop[] = [
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
]
