// Dropped: nowhere to go, or no room for the flow.
import { OPENER_OUTSIDE, OPENER_POD, OPENER_REMOTE } from '../../src/layouts.ts'
import { links, udpPacket } from '../packets.ts'
import {
  flowRow,
  INCARNATION_A,
  INCARNATION_B,
  ipv4,
  keyOf,
  mac,
  NODE_2,
  readyConfig,
} from '../world.ts'
import { type Drop, fromA, fromTunnel, fullTable, halfOf, ports, toTunnel, tunnel } from './drop.ts'

export const nowhere: readonly Drop[] = [
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
]
